from collections.abc import Callable

import pytest

from llm_assets.deployment.decision import Decision
from llm_assets.deployment.incidents import golden_request_ids, incidents_of, open_incident
from llm_assets.deployment.registry import Entry, Registry, Rollout
from llm_assets.errors import UserError
from llm_assets.evaluation.report import EvalReport
from llm_assets.installation import Installation
from llm_assets.rollouts import by_hand
from tests.deployment.rollouts import START
from tests.installations import CANDIDATE, VERSION


def started(installation: Installation) -> Rollout:
    by_hand.start(installation, CANDIDATE, reason="tried", run_id=None)
    rollout = installation.registry.entry("helpdesk").rollout
    assert rollout is not None
    return rollout


def test_a_rollout_starts_with_the_steps_of_the_file_and_says_why(passed: Installation) -> None:
    rollout = started(passed)
    assert [str(step) for step in rollout.steps][:2] == ["smoke", "shadow 1"]
    last = passed.registry.history("helpdesk")[-1]
    assert last.reason == f"tried (gate passed: +1.000 over {VERSION})"
    assert last.step == rollout.step


def test_without_a_report_nothing_starts(installation: Installation) -> None:
    with pytest.raises(UserError, match=f"{CANDIDATE}/eval_report.json: no evaluation report"):
        started(installation)
    assert installation.registry.entry("helpdesk").rollout is None


def test_what_the_gate_refuses_now_does_not_start(passed: Installation) -> None:
    report = EvalReport.read(passed.report(CANDIDATE))
    swapped = {"candidate": report.champion, "champion": report.candidate}
    EvalReport(**{**vars(report), **swapped}).write(passed.report(CANDIDATE))
    with pytest.raises(UserError, match=f"{CANDIDATE}: the gate refused it"):
        started(passed)


def test_a_person_promotes_the_challenger_or_is_told_that_there_is_none(
    passed: Installation,
) -> None:
    with pytest.raises(UserError, match="'helpdesk': no rollout runs; there is nobody to promote"):
        by_hand.promote(passed, "helpdesk", reason="good")
    rollout = started(passed)
    # What a killed writer left of a roll-back that did not happen.
    decision = Decision(move="reject", reason="")
    open_incident(passed.home, "helpdesk", rollout, decision=decision, failures=["r1"], now=START)
    assert by_hand.promote(passed, "helpdesk", reason="good") == CANDIDATE
    assert passed.registry.champion("helpdesk") == CANDIDATE
    assert golden_request_ids(passed.home, "helpdesk") == frozenset()


def test_a_person_ends_a_rollout_and_it_is_an_incident(passed: Installation) -> None:
    started(passed)
    assert by_hand.roll_back(passed, "helpdesk", reason="bad words") == VERSION
    entry = passed.registry.entry("helpdesk")
    assert (entry.champion, entry.rollout) == (VERSION, None)
    assert entry.rolled_back == {CANDIDATE: "bad words"}
    (incident,) = incidents_of(passed.home, "helpdesk")
    assert (incident.model_version, incident.reason) == (CANDIDATE, "bad words")
    with pytest.raises(UserError, match=f"{CANDIDATE}: was rolled back: bad words"):
        started(passed)
    by_hand.start(passed, CANDIDATE, reason=None, is_again=True)


def test_without_a_rollout_the_last_promotion_is_taken_back(passed: Installation) -> None:
    started(passed)
    by_hand.promote(passed, "helpdesk", reason="good")
    assert by_hand.roll_back(passed, "helpdesk", reason="worse after all") == VERSION
    with pytest.raises(UserError, match="'helpdesk' has no earlier champion to return to"):
        by_hand.roll_back(passed, "helpdesk", reason="more")


@pytest.mark.parametrize("act", [by_hand.promote, by_hand.roll_back])
def test_who_is_too_late_is_told_and_leaves_nothing(
    passed: Installation, act: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started(passed)
    entry = Registry.entry

    def outdated(registry: Registry, application: str) -> Entry:
        """Return the entry, and let the loop beside the gateway move it right after."""
        found = entry(registry, application)
        monkeypatch.setattr(Registry, "entry", entry)
        assert found.rollout is not None
        after = found.rollout.at_next_step(START)
        registry.move(application, found.rollout, after, action="advance", time=START, reason="")
        return found

    monkeypatch.setattr(Registry, "entry", outdated)
    with pytest.raises(UserError, match=f"{CANDIDATE}: the rollout went on meanwhile; look again"):
        act(passed, "helpdesk", reason="now")
    assert incidents_of(passed.home, "helpdesk") == []
    assert passed.registry.history("helpdesk")[-1].action == "advance"
