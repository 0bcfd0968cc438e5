from typing import Any

from llm_assets.deployment.plot import plot_intervals

ERRORS = {"name": "errors", "value": 0.01, "low": -0.02, "high": 0.04, "margin": 0.05}
UNMEASURED = {"name": "refusals", "value": None, "low": None, "high": None, "margin": 0.1}
RESTARTS = {"name": "restarts", "value": 0.0, "low": 0.0, "high": 0.0, "margin": 3}
EFFECT = {"metric": "not corrected", "value": 0.2, "low": 0.1, "high": 0.3, "margin": 0.0}


def kept(*findings: dict[str, Any], effect: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "model_version": "helpdesk-v0002",
        "step": "canary 0.05",
        "move": "advance",
        "findings": list(findings),
        "effect": effect,
    }


def test_each_state_has_its_picture_and_it_is_the_same_every_time() -> None:
    pictures = [
        plot_intervals(kept({**ERRORS, "state": state}))
        for state in ("clear", "open", "breached", "clear")
    ]
    assert all(picture and picture.startswith(b"\x89PNG") for picture in pictures)
    assert len(set(pictures)) == 3
    assert pictures[0] == pictures[3]


def test_the_effect_of_a_test_is_a_line_of_its_own() -> None:
    clear, unclear, worse = ((0.1, 0.3), (-0.1, 0.5), (-0.3, -0.1))
    effects = [{**EFFECT, "low": low, "high": high} for low, high in (clear, unclear, worse)]
    pictures = {plot_intervals(kept(effect=effect)) for effect in effects}
    assert len(pictures) == 3
    assert plot_intervals(kept({**ERRORS, "state": "clear"}, effect=EFFECT)) not in pictures


def test_where_nothing_was_measured_there_is_no_picture() -> None:
    assert plot_intervals(kept()) is None
    unmeasured = kept(
        {**UNMEASURED, "state": "unmeasured"},
        {**RESTARTS, "state": "clear"},
        effect={**EFFECT, "value": None, "low": None, "high": None},
    )
    assert plot_intervals(unmeasured) is None
