from datetime import date, timedelta

from llm_assets.drift.quality import quality_scores
from llm_assets.drift.triggers.outcomes import (
    DayOutcomes,
    Outcomes,
    last_days,
    pooled,
    requests_a_day,
)
from llm_assets.feedback.tables import feedback_table, interaction_table
from tests.records import a_correction, an_interaction

TODAY = date(2026, 3, 20)


def test_the_counts_are_those_that_the_quality_scores_were_made_of() -> None:
    asked = interaction_table(
        [an_interaction("r1"), an_interaction("r2"), an_interaction("r3", status=500)]
    )
    given = feedback_table([a_correction("f1", "r1", "money")])
    rows = quality_scores(asked, given).to_dicts()
    assert Outcomes.from_scores(rows) == Outcomes(
        num_requests=3, num_answers=2, num_corrected=1, num_verdicts=1, num_content=0
    )


def test_a_day_without_scores_has_no_counts() -> None:
    assert Outcomes.from_scores([]) == Outcomes()


def test_days_are_those_of_the_calendar_with_today_and_none_to_come() -> None:
    days = [
        DayOutcomes(day=TODAY + timedelta(days=offset), outcomes=Outcomes(num_requests=70))
        for offset in (-7, -6, 0, 1)
    ]
    found = last_days(days, today=TODAY, num_days=7)
    assert [day.day for day in found] == [TODAY - timedelta(days=6), TODAY]
    assert pooled(found) == Outcomes(num_requests=140)
    # Five of the seven days had no traffic.
    assert requests_a_day(found, today=TODAY) == 20
    assert requests_a_day([], today=TODAY) == 0
