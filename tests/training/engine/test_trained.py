import json
from pathlib import Path
from typing import Any

import pytest

from llm_assets.errors import UserError
from llm_assets.training.config import TrainingConfig
from llm_assets.training.rows import Row
from tests.training.engine.conftest import MakeLoop, randomized

# PEFT asks transformers by a name that is going to change.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is:FutureWarning")

ROWS = [Row(f"Question {n}{' more' * n}?", (answer,)) for n, answer in enumerate("abcdef")]


def _loss_of_whole_model(model: Any, loop: Any) -> float:
    """Return the mean loss over answer tokens, one row at a time and nothing shared."""
    import torch

    total, num_answer = 0.0, 0
    for example in loop.examples.examples:
        (row,) = example.sequences
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([row.ids])).logits[0, row.num_prompt - 1 : -1]
        targets = torch.tensor(row.ids[row.num_prompt :])
        total += torch.nn.functional.cross_entropy(logits, targets, reduction="sum").item()
        num_answer += len(targets)
    return total / num_answer


@pytest.mark.parametrize(
    "settings",
    [
        {"num_top_layers": 1},
        {"num_top_layers": 3, "use_rslora": True},
        {"num_top_layers": None, "use_dora": True},
    ],
)
def test_the_loss_equals_that_of_the_whole_model_with_the_saved_adapter(
    make_loop: MakeLoop, tiny_hf: Path, tmp_path: Path, settings: dict[str, Any]
):
    import peft

    from llm_assets.training.engine import trained

    loop = make_loop(ROWS, **settings)
    randomized(loop.engine)
    trained.save(loop.engine, tmp_path, loop.config)
    whole = peft.PeftModel.from_pretrained(_base(tiny_hf), tmp_path)
    expected = _loss_of_whole_model(whole, loop)
    assert loop.mean_loss(range(len(ROWS))) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("num_top_layers", [2, None])
def test_the_loss_equals_that_of_the_whole_model_with_the_saved_weights(
    make_loop: MakeLoop, tiny_hf: Path, tmp_path: Path, num_top_layers: int | None
):
    import torch
    from safetensors.torch import load_file

    from llm_assets.training.engine import trained

    loop = make_loop(ROWS, finetuning="full", num_top_layers=num_top_layers)
    with torch.no_grad():
        for _, weight in trained.trainable(loop.engine):
            weight.mul_(1.05)
    path = trained.save(loop.engine, tmp_path, loop.config)
    whole = _base(tiny_hf)
    found = whole.load_state_dict(load_file(path), strict=False)
    assert found.unexpected_keys == []
    expected = _loss_of_whole_model(whole, loop)
    assert loop.mean_loss(range(len(ROWS))) == pytest.approx(expected, rel=1e-5)
    names = load_file(path).keys()
    assert ("model.embed_tokens.weight" in names) == (num_top_layers is None)
    assert "model.layers.3.mlp.down_proj.weight" in names
    assert "model.norm.weight" in names


def _base(folder: Path) -> Any:
    import torch

    from llm_assets.training.engine.base import load_base

    return load_base(folder, TrainingConfig(), device=torch.device("cpu"))


def test_only_the_upper_layers_get_an_adapter(make_loop: MakeLoop):
    from llm_assets.training.engine.trained import trainable

    names = [name for name, _ in trainable(make_loop(ROWS, num_top_layers=2).engine)]
    assert {name.split("layers.")[1][0] for name in names} == {"2", "3"}
    assert all("lora_" in name for name in names)


def test_the_saved_config_names_no_path_and_has_an_order(make_loop: MakeLoop, tmp_path: Path):
    from llm_assets.training.engine import trained

    loop = make_loop(ROWS, num_top_layers=1)
    folder = tmp_path / "out"
    folder.mkdir()
    trained.save(randomized(loop.engine), folder, loop.config)
    text = (folder / "adapter_config.json").read_text()
    config = json.loads(text)
    assert config["target_modules"] == sorted(TrainingConfig().target_modules)
    assert config["layers_to_transform"] == [3]
    assert "/" not in text
    assert sorted(path.name for path in folder.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


def test_an_adapter_that_is_as_it_was_is_refused(make_loop: MakeLoop, tmp_path: Path):
    from llm_assets.training.engine import trained

    loop = make_loop(ROWS)
    with pytest.raises(UserError, match="the adapter has not changed in training"):
        trained.save(loop.engine, tmp_path, loop.config)


def test_a_target_module_that_the_model_lacks_is_named(make_loop: MakeLoop):
    with pytest.raises(UserError, match="'q_porj' is none of the model's"):
        make_loop(ROWS, target_modules=["q_proj", "q_porj"])


def test_more_layers_than_the_model_has_are_refused(make_loop: MakeLoop):
    with pytest.raises(UserError, match="at most the model's 4 layers, got 5"):
        make_loop(ROWS, num_top_layers=5)


def test_four_bits_are_refused_where_there_is_no_gpu(make_loop: MakeLoop):
    with pytest.raises(UserError, match="load_in_4bit needs a GPU"):
        make_loop(ROWS, load_in_4bit=True)


def test_weights_in_a_pickle_are_not_loaded(tiny_hf: Path, tmp_path: Path):
    import shutil

    import torch

    folder = tmp_path / "pickled"
    shutil.copytree(tiny_hf, folder)
    torch.save(_base(tiny_hf).state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(OSError, match="safetensors"):
        _base(folder)


def test_logits_are_made_in_pieces_without_changing_the_gradient(
    make_loop: MakeLoop, monkeypatch: pytest.MonkeyPatch
):
    import torch

    from llm_assets.training.engine import trained

    gradients = []
    for tokens in (10_000, 3):
        monkeypatch.setattr(trained, "_TOKENS_AT_ONCE", tokens)
        loop = make_loop(ROWS)
        randomized(loop.engine)
        loop._total(range(len(ROWS)), torch.zeros(1)).backward()
        gradients.append([weight.grad for _, weight in trained.trainable(loop.engine)])
    for whole, pieces in zip(*gradients, strict=True):
        torch.testing.assert_close(whole, pieces, atol=1e-3, rtol=1e-3)


def test_noise_on_the_embeddings_is_for_training_only(make_loop: MakeLoop):
    loop = make_loop(ROWS, num_top_layers=None, neftune_noise_alpha=5.0)
    loop.engine.eval()
    quiet = loop._total([0, 1], None).item()
    assert loop._total([0, 1], None).item() == quiet
    loop.engine.train()
    assert loop._total([0, 1], None).item() != quiet
