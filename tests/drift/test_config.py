import pydantic
import pytest

from llm_assets.drift.config import DriftConfig


def test_more_windows_cannot_be_needed_than_are_looked_at() -> None:
    with pytest.raises(pydantic.ValidationError, match=r"at most windows \(2\), got 3"):
        DriftConfig(windows=2, windows_needed=3)


def test_false_alarms_a_year_become_a_rate_a_day() -> None:
    assert DriftConfig(false_alarms_per_year=73).false_alarm_rate == pytest.approx(0.2)
