from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.drift.quality import quality_scores
from llm_assets.drift.replay.as_of import Asked, outcomes_as_of
from llm_assets.drift.triggers.outcomes import DayOutcomes, Outcomes
from llm_assets.feedback.tables import feedback_table, interaction_table
from llm_assets.records import Feedback, FeedbackKind
from tests.records import a_correction, an_interaction

FIRST = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(day: int) -> datetime:
    return FIRST + timedelta(days=day)


def a_thumb(feedback_id: str, request_id: str, value: float, time: datetime) -> Feedback:
    return Feedback(
        feedback_id=feedback_id,
        request_id=request_id,
        application="helpdesk",
        time=time,
        kind=FeedbackKind.THUMB,
        value=value,
    )


def known(
    num_days: int, requests: dict[str, int], given: Sequence[Feedback]
) -> dict[date, list[DayOutcomes]]:
    """Return what was known at the end of days; `requests` maps ids to the days of asking."""
    feedback = feedback_table(given)
    days = [at(n).date() for n in range(num_days)]
    asked = {
        day: Asked.of_day(
            interaction_table(
                [
                    an_interaction(name, time=at(n), status=500 if name == "failed" else 200)
                    for name, n in requests.items()
                    if at(n).date() == day
                ]
            ),
            feedback,
        )
        for day in days
    }
    return outcomes_as_of(days, asked, feedback)


def test_a_verdict_counts_from_the_day_on_which_it_was_given() -> None:
    later = known(4, {"r1": 0, "r2": 0, "failed": 0}, [a_thumb("f1", "r1", 1.0, at(2))])
    first = DayOutcomes(day=at(0).date(), outcomes=Outcomes(num_requests=3, num_answers=2))
    told = Outcomes(num_requests=3, num_answers=2, num_verdicts=1, num_content=1)
    assert later[at(0).date()] == [first]
    assert later[at(1).date()][0] == first
    assert later[at(2).date()][0].outcomes == told
    assert later[at(3).date()][0].outcomes == told
    assert [outcomes.day for outcomes in later[at(3).date()]] == [at(n).date() for n in range(4)]


def test_a_later_correction_replaces_a_thumb_only_when_it_came() -> None:
    later = known(
        3,
        {"r1": 0},
        [a_thumb("f1", "r1", 1.0, at(0)), a_correction("f2", "r1", "money", time=at(1))],
    )
    found = [later[at(n).date()][0].outcomes for n in range(3)]
    assert [outcomes.num_content for outcomes in found] == [1, 0, 0]
    assert [outcomes.num_corrected for outcomes in found] == [0, 1, 1]
    assert [outcomes.num_verdicts for outcomes in found] == [1, 1, 1]


def test_a_clock_that_runs_ahead_does_not_lose_its_feedback() -> None:
    later = known(2, {"r1": 1}, [a_thumb("f1", "r1", 1.0, at(0))])
    assert later[at(1).date()][1].outcomes.num_verdicts == 1


@settings(max_examples=30)
@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 3), min_size=1),
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.integers(0, 5), st.sampled_from([-1.0, 1.0])),
        max_size=12,
    ),
)
def test_it_is_what_the_quality_scores_say_of_the_feedback_until_then(
    requests: dict[str, int], signals: list[tuple[str, int, float]]
) -> None:
    given_then = [
        a_thumb(f"f{n}", name, value, at(max(day, requests.get(name, 0))))
        for n, (name, day, value) in enumerate(signals)
    ]
    feedback = feedback_table(given_then)
    for today, days in known(4, requests, given_then).items():
        until = feedback.filter(pl.col("time").dt.date() <= today)
        for of_day in days:
            asked = interaction_table(
                [
                    an_interaction(name, time=at(n))
                    for name, n in requests.items()
                    if at(n).date() == of_day.day
                ]
            )
            scores = quality_scores(asked, until)
            assert of_day.outcomes == Outcomes.from_scores(scores.to_dicts())
