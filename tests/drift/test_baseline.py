from datetime import date
from pathlib import Path

import numpy as np
import pytest

from llm_assets.drift.baseline import BaselineStore, reference_dates
from llm_assets.drift.config import DriftConfig
from llm_assets.errors import UserError
from tests.drift.vectors import a_baseline, topic


def test_a_baseline_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    baseline = a_baseline(topic(5, centre=0, rng=np.random.default_rng(0)))
    store = BaselineStore(tmp_path)
    store.write(baseline)
    read = store.read("helpdesk-v0001")
    assert (read.vectors == baseline.vectors).all()
    assert (read.prompts, read.embedder) == (baseline.prompts, "hash")
    assert store.model_versions("helpdesk") == ["helpdesk-v0001"]
    assert store.model_versions("other") == []


def test_a_version_without_baseline_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing was written for 'helpdesk-v0002'"):
        BaselineStore(tmp_path).read("helpdesk-v0002")


def test_a_baseline_without_prompts_is_refused(tmp_path: Path) -> None:
    store = BaselineStore(tmp_path)
    store.write(a_baseline(np.empty((0, 4), np.float32)))
    with pytest.raises(UserError, match="baseline of helpdesk-v0001: holds no prompts"):
        store.read("helpdesk-v0001")


def test_the_reference_is_the_first_days_with_traffic() -> None:
    days = [date(2026, 3, day) for day in (9, 2, 1, 9, 5)]
    reference = reference_dates(days, config=DriftConfig(reference_days=3))
    assert reference == [date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 5)]
