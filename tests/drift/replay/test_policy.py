from pathlib import Path

import pytest

from llm_assets.drift.config import Detector, DriftConfig
from llm_assets.drift.replay.policy import Policy
from llm_assets.drift.triggers.decision import TriggerConfig
from llm_assets.errors import UserError

OWN = Policy(
    name="helpdesk",
    drift=DriftConfig(windows=5, min_prompts=20),
    triggers=TriggerConfig(min_new_feedback=70),
)


def a_file(folder: Path, content: str) -> Path:
    path = folder / "strict.yaml"
    path.write_text(content)
    return path


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    path = a_file(tmp_path, "drift: {false_alarms_per_year: 2.0}\ntriggers: {cooldown_hours: 1.0}")
    assert OWN.changed_by(path) == Policy(
        name="strict",
        drift=DriftConfig(windows=5, min_prompts=20, false_alarms_per_year=2.0),
        triggers=TriggerConfig(min_new_feedback=70, cooldown_hours=1.0),
    )


def test_one_section_is_enough(tmp_path: Path) -> None:
    changed = OWN.changed_by(a_file(tmp_path, "triggers: {min_new_feedback: 9}"))
    assert (changed.drift, changed.triggers.min_new_feedback) == (OWN.drift, 9)


def test_detectors_are_named_as_in_an_applications_file(tmp_path: Path) -> None:
    changed = OWN.changed_by(a_file(tmp_path, "drift: {detectors: [novelty, token_js]}"))
    assert changed.drift.detectors == (Detector.NOVELTY, Detector.TOKEN_JS)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("drift: {windoes: 3}", "drift.windoes: unknown key"),
        ("triggers: {min_feedback: 3}", "triggers.min_feedback: unknown key"),
        ("drift: {windows: 0}", "drift.windows: "),
        ("drift: {windows: 1}", "drift: windows_needed must be at most windows (1), got 2"),
        ("training: {r: 3}", "training: unknown key"),
        ("drift: 3", "drift: "),
        ("- drift", "must hold a mapping"),
        ("", "must hold a mapping"),
        ("drift: [", "is not YAML: "),
    ],
)
def test_what_is_wrong_is_one_line_that_names_file_and_key(
    tmp_path: Path, content: str, problem: str
) -> None:
    path = a_file(tmp_path, content)
    with pytest.raises(UserError) as caught:
        OWN.changed_by(path)
    assert str(caught.value).startswith(f"{path}: {problem}")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml: cannot be read"):
        OWN.changed_by(tmp_path / "none.yaml")
