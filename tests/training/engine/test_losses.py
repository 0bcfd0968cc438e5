"""Parity with TRL on fixed inputs: its trainers compute a batch that is made of our tokens."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.training.rows import Row
from llm_assets.training.tokens import TokenRow
from tests.training.engine.conftest import MakeLoop, randomized

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

PAIRS = [Row(f"Question {n}{' so' * n}?", ("right", "wrong " * n + "no")) for n in range(4)]
JUDGED = [Row(f"Question {n}{' so' * n}?", ("word " * (n + 1),), n % 3 != 0) for n in range(4)]


def _padded(rows: Sequence[TokenRow]) -> dict[str, Any]:
    """Return rows as TRL's collators give them: padded on the right."""
    import torch

    length = max(map(len, rows))
    return {
        "input_ids": torch.tensor([[*row.ids, *[0] * (length - len(row))] for row in rows]),
        "attention_mask": torch.tensor(
            [[1] * len(row) + [0] * (length - len(row)) for row in rows]
        ),
        "completion_mask": torch.tensor(
            [
                [0] * row.num_prompt + [1] * row.num_answer + [0] * (length - len(row))
                for row in rows
            ]
        ),
    }


def _peer(tiny_hf: Path, adapter: Path) -> Any:
    """Return the whole model with a saved adapter, as TRL trains it."""
    import peft
    import torch

    from llm_assets.training.config import TrainingConfig
    from llm_assets.training.engine.base import load_base

    base = load_base(tiny_hf, TrainingConfig(), device=torch.device("cpu"))
    return peft.PeftModel.from_pretrained(base, adapter, is_trainable=True)


def _settings(folder: Path) -> dict[str, Any]:
    return {
        "output_dir": str(folder / "trl"),
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "per_device_train_batch_size": 4,
        "report_to": [],
        "beta": 0.3,
        "max_length": None,
    }


def _saved(loop: Any, folder: Path) -> Path:
    from llm_assets.training.engine import trained

    (folder / "adapter").mkdir()
    trained.save(randomized(loop.engine), folder / "adapter", loop.config)
    return folder / "adapter"


def test_dpo_equals_that_of_trl(make_loop: MakeLoop, tiny_hf: Path, tokenizer: Any, tmp_path: Path):
    import datasets
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    loop = make_loop(PAIRS, method="dpo", beta=0.3, num_top_layers=None)
    adapter = _saved(loop, tmp_path)
    data = datasets.Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}] * 4)
    trainer: Any = DPOTrainer(
        model=_peer(tiny_hf, adapter),
        args=DPOConfig(**_settings(tmp_path)),
        train_dataset=data,
        processing_class=tokenizer,
    )
    trainer.model.eval()
    sequences = [example.sequences for example in loop.examples.examples]
    batch = _padded([*(pair[0] for pair in sequences), *(pair[1] for pair in sequences)])
    expected = _without_own_reference(trainer, batch)
    assert loop.mean_loss(range(len(PAIRS))) == pytest.approx(expected, abs=1e-5)


def _without_own_reference(trainer: Any, batch: dict[str, Any]) -> float:
    """Return the trainer's loss, its reference being the model without its adapter."""
    import torch

    model = trainer.accelerator.unwrap_model(trainer.model)
    if "ref" in model.peft_config:
        model.delete_adapter("ref")
    with torch.no_grad():
        return trainer.compute_loss(trainer.model, batch).item()


def test_kto_equals_that_of_trl(make_loop: MakeLoop, tiny_hf: Path, tokenizer: Any, tmp_path: Path):
    import datasets
    import torch
    from trl.trainer.kto_config import KTOConfig
    from trl.trainer.kto_trainer import KTOTrainer

    loop = make_loop(
        JUDGED,
        method="kto",
        beta=0.3,
        desirable_weight=1.5,
        undesirable_weight=0.75,
        num_top_layers=None,
    )
    adapter = _saved(loop, tmp_path)
    data = datasets.Dataset.from_list(
        [{"prompt": "a", "completion": "b", "label": n % 2 == 0} for n in range(4)]
    )
    trainer: Any = KTOTrainer(
        model=_peer(tiny_hf, adapter),
        args=KTOConfig(**_settings(tmp_path), desirable_weight=1.5, undesirable_weight=0.75),
        train_dataset=data,
        processing_class=tokenizer,
    )
    trainer.model.eval()
    examples = loop.examples.examples
    batch = {
        **_padded([example.sequences[0] for example in examples]),
        **{f"KL_{k}": v for k, v in _padded([e.sequences[1] for e in examples]).items()},
        "label": torch.tensor([example.is_desirable for example in examples]),
    }
    expected = _without_own_reference(trainer, batch)
    assert loop.mean_loss(range(len(JUDGED))) == pytest.approx(expected, abs=1e-5)


LOGPS = st.lists(st.floats(-20, -0.001), min_size=2, max_size=2)


@given(LOGPS, st.floats(0.01, 2))
def test_the_odds_ratio_of_orpo_equals_that_of_trl(logps: list[float], beta: float):
    import torch
    from trl.experimental.orpo import ORPOTrainer

    from llm_assets.training.engine.losses import orpo

    chosen, rejected = (torch.tensor([value], dtype=torch.float64) for value in logps)
    trainer: Any = object.__new__(ORPOTrainer)
    trainer.beta = beta
    trainer.accelerator = type("Accelerator", (), {"device": "cpu"})
    expected, *_ = trainer.odds_ratio_loss(chosen, rejected)
    found = orpo(chosen, rejected, beta=beta)
    assert (found + chosen).item() == pytest.approx(-expected.item(), abs=1e-4)


@given(st.floats(-30, -1e-6))
def test_the_logarithm_of_one_less_a_probability_keeps_its_digits(value: float):
    import torch

    from llm_assets.training.engine.losses import _log_1_minus_exp

    values = torch.tensor(value, dtype=torch.float64, requires_grad=True)
    found = _log_1_minus_exp(values)
    found.backward()
    assert found.item() == pytest.approx(math.log(-math.expm1(value)), rel=1e-9)
    assert values.grad is not None
    assert values.grad.item() == pytest.approx(-1 / math.expm1(-value), rel=1e-9)
