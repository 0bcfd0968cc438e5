import dataclasses
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.deployment.evidence import ArmEvidence, Rate
from llm_assets.drift.detectors.refusals import is_refusal
from llm_assets.records import SHADOW_VARIANT, Feedback, FeedbackKind, Interaction
from llm_assets.rollouts import requests as module
from llm_assets.rollouts.counts import METRICS, arm_evidence, failed_copies, shadow_evidence
from llm_assets.rollouts.requests import StepRequests
from llm_assets.routing import CHALLENGER, CHAMPION
from llm_assets.serving.attempts import Attempt, GatewayStart
from tests.deployment.rollouts import START
from tests.installations import CANDIDATE, VERSION
from tests.rollouts.logs import a_signal, an_answer, an_attempt

Entry = Attempt | Interaction | Feedback
LATER = START + timedelta(minutes=1)
REFUSAL = "I'm sorry, but I can't help with that."


def gathered(entries: Iterable[Entry], **fields: Any) -> StepRequests:
    requests = StepRequests(
        since=START,
        versions={CHAMPION: VERSION, CHALLENGER: CANDIDATE},
        declines=is_refusal,
        event="converted",
        **fields,
    )
    for entry in entries:
        match entry:
            case Attempt() | GatewayStart():
                requests.add_attempt(entry)
            case Feedback():
                requests.add_feedback(entry)
            case Interaction(variant="shadow"):
                requests.add_shadow(entry)
            case _:
                requests.add_answer(entry)
    return requests


def evidence(
    *entries: Entry, variant: str = CHALLENGER, metric: str = "correction_rate"
) -> ArmEvidence:
    return arm_evidence(gathered(entries), variant, metric=METRICS[metric])


def request(key: str, variant: str = CHALLENGER, **answer: Any) -> list[Entry]:
    return [an_attempt(key, variant, LATER), an_answer(key, variant, LATER, **answer)]


def test_a_request_belongs_to_the_arm_that_it_was_assigned() -> None:
    entries = [*request("r1"), *request("r2", CHAMPION), *request("r3", CHAMPION)]
    assert evidence(*entries).failures == Rate(0, 1)
    assert evidence(*entries, variant=CHAMPION).failures == Rate(0, 2)


def test_what_was_asked_before_the_step_does_not_count() -> None:
    before = START - timedelta(seconds=1)
    entries = [an_attempt("r1", CHALLENGER, before), an_answer("r1", CHALLENGER, LATER)]
    assert evidence(*entries) == ArmEvidence()
    # The answer alone says nothing of an arm.
    assert evidence(an_answer("r2", CHALLENGER, LATER)) == ArmEvidence()


def test_a_request_that_was_tried_again_is_a_failure_of_the_arm_that_it_was_assigned() -> None:
    entries = [
        an_attempt("r1", CHALLENGER, LATER, is_failure=True),
        an_attempt("r1", CHALLENGER, LATER, attempt=2, model_version=VERSION),
        an_answer("r1", CHALLENGER, LATER, model_version=VERSION, latency_seconds=9.0),
    ]
    found = evidence(*entries)
    assert (found.failures, found.fallbacks) == (Rate(1, 1), 0)
    # It is the other arm's answer, and no evidence of how long this one takes.
    assert found.seconds == ()
    # Its user is one of this arm all the same: nobody leaves an arm for its failures.
    assert (found.num_users, found.metric) == (1, Rate(1, 1))
    assert evidence(*entries, variant=CHAMPION) == ArmEvidence()


def test_a_failure_of_the_other_arm_is_none_of_this_one() -> None:
    entries = [
        an_attempt("r1", CHAMPION, LATER, is_failure=True),
        an_attempt("r1", CHAMPION, LATER, attempt=2, model_version=CANDIDATE, is_failure=True),
        an_attempt("r1", CHAMPION, LATER, attempt=3, model_version=None),
    ]
    assert evidence(*entries) == ArmEvidence()
    champion = evidence(*entries, variant=CHAMPION)
    assert (champion.failures, champion.fallbacks) == (Rate(1, 1), 1)


def test_a_first_try_elsewhere_is_a_failure_of_the_arm_that_was_put_out() -> None:
    entry = an_attempt("r1", CHALLENGER, LATER, model_version=VERSION)
    assert evidence(entry).failures == Rate(1, 1)
    # A champion is never put out: another version answers while it is still on its way.
    entry = an_attempt("r1", CHAMPION, LATER, model_version="helpdesk-v0000")
    assert evidence(entry, variant=CHAMPION).failures == Rate(0, 1)


def test_a_polite_answer_of_nobody_is_counted() -> None:
    entries = [
        an_attempt("r1", CHALLENGER, LATER, is_failure=True),
        an_attempt("r1", CHALLENGER, LATER, attempt=2, model_version=None),
        dataclasses.replace(
            an_answer("r1", CHALLENGER, LATER), variant="fallback", model_version="none"
        ),
    ]
    found = evidence(*entries)
    assert (found.failures, found.fallbacks, found.seconds) == (Rate(1, 1), 1, ())


def test_seconds_are_of_what_the_arm_answered_itself_and_anew() -> None:
    entries = [
        *request("r1", latency_seconds=1.0, first_token_seconds=0.2),
        *request("r2", latency_seconds=2.0, first_token_seconds=None),
        *request("r3", is_cached=True),
        *request("r4", status=400, response=""),
        *request("r5", latency_seconds=float("nan")),
    ]
    found = evidence(*entries)
    assert (found.seconds, found.first_token_seconds) == ((1.0, 2.0), (0.1, 0.2))
    assert found.num_response_tokens == Rate(15, 3)
    assert found.failures == Rate(0, 5)


def test_every_user_counts_once_however_often_they_ask() -> None:
    entries: list[Entry] = []
    for number in range(4):
        entries += request(f"a{number}", user_id="alice", response=REFUSAL)
    entries += request("b0", session_id="bob's session")
    entries += request("c0")
    entries.append(a_signal("f1", "a0", FeedbackKind.THUMB, LATER, value=-1))
    found = evidence(*entries)
    assert found.num_users == 3
    assert found.refusals == Rate(1, 3)
    assert found.negative == Rate(0.25, 3)
    assert found.metric == Rate(2.75, 3)


@pytest.mark.parametrize(
    ("kinds", "metric"),
    [
        ([], [1, None, 0]),
        ([(FeedbackKind.THUMB, 1)], [1, 1, 0]),
        ([(FeedbackKind.THUMB, -1)], [0, 0, 0]),
        ([(FeedbackKind.RATING, 5)], [1, 1, 0]),
        ([(FeedbackKind.RATING, 3)], [1, None, 0]),
        ([(FeedbackKind.RATING, 2)], [0, 0, 0]),
        ([(FeedbackKind.CORRECTION, None)], [0, 0, 0]),
        ([(FeedbackKind.COMMENT, None)], [1, None, 0]),
        # The latest counts, and of one moment the correction.
        ([(FeedbackKind.THUMB, -1), (FeedbackKind.THUMB, 1)], [1, 1, 0]),
        ([(FeedbackKind.THUMB, 1), (FeedbackKind.THUMB, -1)], [0, 0, 0]),
    ],
)
def test_what_was_said_makes_the_metric(
    kinds: list[tuple[FeedbackKind, float | None]], metric: list[float | None]
) -> None:
    entries = request("r1")
    for number, (kind, value) in enumerate(kinds):
        time = LATER + timedelta(seconds=number)
        text = {"text": "good"} if kind is FeedbackKind.COMMENT else {}
        entries.append(a_signal(f"f{number}", "r1", kind, time, value=value, **text))
    for name, expected in zip(METRICS, metric, strict=True):
        found = evidence(*entries, metric=name).metric
        assert found == (Rate(0, 0) if expected is None else Rate(expected, 1))


def test_of_one_moment_a_correction_decides_over_its_thumb() -> None:
    entries = request("r1")
    entries.append(a_signal("z", "r1", FeedbackKind.THUMB, LATER, value=1))
    entries.append(a_signal("a", "r1", FeedbackKind.CORRECTION, LATER))
    assert evidence(*entries).metric == Rate(0, 1)
    assert gathered(entries).requests["r1"].wanted == "money"


@pytest.mark.parametrize(
    ("name", "value", "total"),
    [("converted", 1, 1), ("converted", 20, 1), ("converted", 0, 0), ("viewed", 1, 0)],
)
def test_a_conversion_is_a_score_of_its_name_above_0(name: str, value: float, total: int) -> None:
    entries = request("r1")
    entries.append(a_signal("f1", "r1", FeedbackKind.SCORE, LATER, name=name, value=value))
    assert evidence(*entries, metric="conversion").metric == Rate(total, 1)


def test_what_is_said_of_a_session_is_said_of_its_last_request_before() -> None:
    entries: list[Entry] = []
    for minute in range(3):
        time = LATER + timedelta(minutes=minute)
        entries.append(an_attempt(f"r{minute}", CHALLENGER, time))
        entries.append(an_answer(f"r{minute}", CHALLENGER, time, session_id="s"))
    liked = {"session_id": "s", "value": -1}
    said = a_signal(
        "f1", None, FeedbackKind.THUMB, LATER + timedelta(minutes=1, seconds=5), **liked
    )
    requests = gathered([*entries, said])
    requests.settle()
    assert [r.is_liked for r in requests.requests.values()] == [None, False, None]
    # A client's clock may be a little behind, but what was said long before is of other requests.
    for minutes, is_liked in ((0.5, False), (2, None)):
        said = a_signal("f1", None, FeedbackKind.THUMB, LATER - timedelta(minutes=minutes), **liked)
        requests = gathered([*entries, said])
        requests.settle()
        assert requests.requests["r0"].is_liked is is_liked


def copied(key: str, *, is_failure: bool = False, **shadow: Any) -> list[Entry]:
    """Return a request whose copy reached the challenger."""
    entries = request(key, CHAMPION)
    entries.append(an_attempt(key, SHADOW_VARIANT, LATER, is_failure=is_failure))
    if not is_failure:
        entries.append(an_answer(key, SHADOW_VARIANT, LATER, **shadow))
    return entries


def test_a_shadow_shows_what_became_of_the_copies_that_were_sent() -> None:
    entries = [
        *copied("r1", latency_seconds=1.0),
        *copied("r2", is_failure=True),
        *copied("r3", response=" "),
        *copied("r4", response=REFUSAL, latency_seconds=2.0),
        # What the client did wrong is not the challenger's failure.
        *copied("r5", status=400, response=""),
        # Nobody sent a copy of this one, so none was lost.
        *request("r6", CHAMPION),
        # Another version's shadow, from before.
        *copied("r7", model_version="helpdesk-v0000", latency_seconds=9.0),
    ]
    requests = gathered(entries)
    found = shadow_evidence(requests)
    assert found.failures == Rate(2, 6)
    assert {r.request_id for r in failed_copies(requests)} == {"r2", "r3"}
    assert (found.seconds, found.refusals) == ((1.0, 2.0), Rate(1, 2))
    champion = arm_evidence(requests, CHAMPION, metric=METRICS["correction_rate"])
    assert champion.failures == Rate(0, 7)


def test_what_the_end_of_the_gateway_cut_off_is_nobodys_failure() -> None:
    earlier = LATER - timedelta(seconds=5)
    entries: list[Any] = [
        an_attempt("r1", CHALLENGER, earlier, is_failure=True),
        an_attempt("r2", CHALLENGER, LATER, is_failure=True),
        an_attempt("r3", "shadow", LATER, is_failure=True),
        an_attempt("r4", CHAMPION, LATER),
        GatewayStart(),
        an_attempt("r5", CHALLENGER, LATER + timedelta(seconds=3), is_failure=True),
    ]
    requests = gathered(entries)
    challenger = arm_evidence(requests, CHALLENGER, metric=METRICS["correction_rate"])
    assert challenger.failures == Rate(2, 3)
    assert requests.copies == {}


def test_a_copy_is_no_request_of_an_arm() -> None:
    alone = an_attempt("r1", SHADOW_VARIANT, LATER)
    assert gathered([alone]).requests == {}
    assert shadow_evidence(gathered([alone])).failures == Rate(0, 0)


def test_answers_are_told_once_their_request_is_known() -> None:
    known: list[Interaction] = []
    first, later = request("r1", CHAMPION)
    requests = gathered([later, *copied("r2")], on_known=known.append)
    assert [each.request_id for each in known] == ["r2", "r2"]
    assert isinstance(first, Attempt)
    requests.add_attempt(first)
    assert [each.request_id for each in known] == ["r2", "r2", "r1"]


def test_what_has_no_request_is_kept_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_EARLY", 2)
    answers = [an_answer(f"r{number}", CHALLENGER, LATER) for number in range(3)]
    attempts = [an_attempt(f"r{number}", CHALLENGER, LATER) for number in range(3)]
    requests = gathered([*answers, *attempts])
    assert [r.answer is not None for r in requests.requests.values()] == [False, True, True]


@st.composite
def logs(draw: st.DrawFn) -> list[Entry]:
    """Return what four logs say of some requests of some users in some sessions."""
    entries: list[Entry] = []
    for number in range(draw(st.integers(1, 6))):
        key, variant = f"r{number}", draw(st.sampled_from([CHAMPION, CHALLENGER]))
        time = START + timedelta(seconds=draw(st.integers(-5, 60)))
        is_failure = draw(st.booleans())
        entries.append(an_attempt(key, variant, time, is_failure=is_failure))
        if is_failure:
            elsewhere = draw(st.sampled_from([VERSION, CANDIDATE, None]))
            entries.append(an_attempt(key, variant, time, attempt=2, model_version=elsewhere))
        if draw(st.booleans()):
            answer = an_answer(
                key,
                variant,
                time,
                user_id=draw(st.sampled_from([None, "alice", "bob"])),
                session_id=draw(st.sampled_from([None, "s1", "s2"])),
                response=draw(st.sampled_from(["sports", "", REFUSAL])),
                latency_seconds=draw(st.sampled_from([None, 0.5, 2.0])),
            )
            entries.append(answer)
            if draw(st.booleans()):
                entries.append(an_attempt(key, SHADOW_VARIANT, time))
                entries.append(
                    dataclasses.replace(answer, variant="shadow", model_version=CANDIDATE)
                )
    for number in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from([FeedbackKind.THUMB, FeedbackKind.CORRECTION]))
        about = draw(st.sampled_from(["r0", "r1", "r2", None]))
        entries.append(
            a_signal(
                f"f{number}",
                about,
                kind,
                START + timedelta(seconds=draw(st.integers(0, 60))),
                session_id=None if about else draw(st.sampled_from(["s1", "s2"])),
                value=draw(st.sampled_from([-1, 1])) if kind is FeedbackKind.THUMB else None,
            )
        )
    return entries


@settings(max_examples=200)
@given(logs(), st.data())
def test_in_any_order_and_more_than_once_the_logs_give_the_same_evidence(
    entries: list[Entry], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations([*entries, *entries[::2]]))
    first, second = gathered(entries), gathered(shuffled)
    # Looking in between changes nothing.
    second.settle()
    for metric in METRICS.values():
        for variant in (CHAMPION, CHALLENGER):
            assert arm_evidence(first, variant, metric=metric) == arm_evidence(
                second, variant, metric=metric
            )
    assert shadow_evidence(first) == shadow_evidence(second)
