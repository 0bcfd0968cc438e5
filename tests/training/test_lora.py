import json
from pathlib import Path
from typing import Any

import pytest

from llm_assets.errors import UserError
from llm_assets.training import loop, lora
from llm_assets.training.config import TrainingConfig
from llm_assets.training.rows import Row, TokenRow, tokenize
from tests.training.conftest import SYSTEM_PROMPT

# PEFT asks transformers by a name that is going to change.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is:FutureWarning")


@pytest.fixture
def tokens(tokenizer: Any) -> list[TokenRow]:
    rows = [Row(f"Question {n}{' more' * n}?", answer) for n, answer in enumerate("abcdef")]
    return tokenize(rows, tokenizer, system_prompt=SYSTEM_PROMPT, config=TrainingConfig())


def _randomize(upper: lora.Upper) -> None:
    """Give the B matrices, which start at zero, something to say."""
    import torch

    for name, weight in upper.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)


@pytest.mark.parametrize("num_top_layers", [1, 3, None])
def test_the_loss_equals_that_of_the_whole_model_with_the_saved_adapter(
    tiny_hf: Path, tokens: list[TokenRow], tmp_path: Path, num_top_layers: int | None
):
    import peft
    import torch

    config = TrainingConfig(r=4, num_top_layers=num_top_layers)
    model = lora.load_base(tiny_hf)
    num_frozen = lora.num_frozen_layers(model, config)
    states = lora.frozen_states(model, tokens, num_layers=num_frozen, batch_size=4)
    upper = lora.add_adapter(model, config)
    _randomize(upper)
    lora.save_adapter(upper.model, tmp_path)
    found = loop.mean_loss(
        upper.model, upper.head, loop.Examples(tokens, states), batch_size=len(tokens)
    )

    whole: Any = peft.PeftModel.from_pretrained(lora.load_base(tiny_hf), tmp_path)
    total, num_answer = 0.0, 0
    for row in tokens:
        with torch.no_grad():
            logits = whole(input_ids=torch.tensor([row.ids])).logits[0, row.num_prompt - 1 : -1]
        targets = torch.tensor(row.ids[row.num_prompt :])
        total += torch.nn.functional.cross_entropy(logits, targets, reduction="sum").item()
        num_answer += len(targets)
    assert found == pytest.approx(total / num_answer, rel=1e-5)


def test_only_the_upper_layers_get_an_adapter(tiny_hf: Path):
    upper = lora.add_adapter(lora.load_base(tiny_hf), TrainingConfig(r=4, num_top_layers=2))
    trained = [name for name, weight in upper.model.named_parameters() if weight.requires_grad]
    assert {name.split("layers.")[1][0] for name in trained} == {"2", "3"}
    assert all("lora_" in name for name in trained)


def test_the_saved_config_names_no_path_and_has_an_order(tiny_hf: Path, tmp_path: Path):
    upper = lora.add_adapter(lora.load_base(tiny_hf), TrainingConfig(r=4, num_top_layers=1))
    _randomize(upper)
    lora.save_adapter(upper.model, tmp_path)
    text = (tmp_path / "adapter_config.json").read_text()
    config = json.loads(text)
    assert config["target_modules"] == sorted(TrainingConfig().target_modules)
    assert config["layers_to_transform"] == [3]
    assert "/" not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


def test_an_adapter_that_is_as_it_was_is_refused(tiny_hf: Path, tmp_path: Path):
    upper = lora.add_adapter(lora.load_base(tiny_hf), TrainingConfig(r=4, num_top_layers=1))
    with pytest.raises(UserError, match="the adapter has not changed in training"):
        lora.save_adapter(upper.model, tmp_path)


def test_a_target_module_that_the_model_lacks_is_named(tiny_hf: Path):
    config = TrainingConfig(target_modules=["q_proj", "q_porj"], num_top_layers=1)
    with pytest.raises(UserError, match="'q_porj' is none of the model's"):
        lora.add_adapter(lora.load_base(tiny_hf), config)


def test_more_layers_than_the_model_has_are_refused(tiny_hf: Path):
    with pytest.raises(UserError, match="at most the model's 4 layers, got 5"):
        lora.num_frozen_layers(lora.load_base(tiny_hf), TrainingConfig(num_top_layers=5))
