"""What is kept of past days is what reading all of them again would say."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.bootstrap import register_base_models
from llm_assets.curation.votes import promising
from llm_assets.cycle_requests import CycleRequest
from llm_assets.drift.triggers.brakes import Cycle
from llm_assets.drift.triggers.outcomes import DayOutcomes, Outcomes
from llm_assets.feedback.tables import feedback_table, interaction_table
from llm_assets.installation import Installation
from llm_assets.sensors.history import gather_history, num_usable, outcomes, tallies_of, unserved
from llm_assets.storage import Partition
from tests.installations import VERSION, an_installation, helpdesk, write_application
from tests.records import a_correction, an_interaction

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)


@pytest.fixture
def installation(tmp_path: Path, tiny_base_model: BaseModelFile) -> Iterator[Installation]:
    feedback = {"max_feedback_per_user_and_day": 3}
    with an_installation(tmp_path, tiny_base_model, feedback=feedback) as made:
        yield made


def day(days_ago: int) -> Partition:
    return Partition(application="helpdesk", date=(NOW - timedelta(days=days_ago)).date())


def correct(installation: Installation, days_ago: int, num: int, *, request: str = "r") -> None:
    """Write a day of corrections, each of a request of its own."""
    time = NOW - timedelta(days=days_ago)
    given = [
        a_correction(f"{request}{n}-{days_ago}", f"{request}{n}", "x", time=time)
        for n in range(num)
    ]
    installation.table("feedback_logs").write(day(days_ago), feedback_table(given))


def ask(installation: Installation, days_ago: int, num: int, *, user_id: str) -> None:
    """Write a day of requests of one user."""
    time = NOW - timedelta(days=days_ago)
    asked = [an_interaction(f"r{n}", time=time, user_id=user_id) for n in range(num)]
    installation.table("interaction_logs").write(day(days_ago), interaction_table(asked))


def counted(installation: Installation, *, since: datetime | None = None) -> int:
    """Return the usable feedback, having seen that it is what all feedback says."""
    application = installation.application("helpdesk")
    usable = promising(installation.feedback("helpdesk"))
    if since is not None:
        usable = usable.filter(pl.col("time") > since)
    for _ in range(2):
        assert num_usable(application, installation, since=since) == usable.height
    return usable.height


def test_new_and_rewritten_feedback_is_counted(installation: Installation) -> None:
    assert counted(installation) == 0
    correct(installation, 40, 2)
    correct(installation, 1, 2)
    assert counted(installation) == 4
    correct(installation, 40, 1)
    correct(installation, 0, 5)
    assert counted(installation) == 8


def test_a_request_that_came_in_later_changes_what_counts_of_its_user(
    installation: Installation,
) -> None:
    correct(installation, 3, 6)
    assert counted(installation) == 6
    # All six are of one user, of whom three a day count.
    ask(installation, 10, 6, user_id="u1")
    assert counted(installation) == 3


def test_a_request_whose_clock_is_ahead_of_its_feedback_counts_too(
    installation: Installation,
) -> None:
    correct(installation, 3, 6)
    assert counted(installation) == 6
    ask(installation, 2, 6, user_id="u1")
    assert counted(installation) == 3


def test_another_configuration_counts_again(installation: Installation) -> None:
    correct(installation, 3, 6)
    ask(installation, 10, 6, user_id="u1")
    assert counted(installation) == 3
    for sections in (
        {"feedback": {"max_feedback_per_user_and_day": 2}},
        {"curation": {"late_feedback_days": 5}},
    ):
        content = helpdesk(installation.base_model("helpdesk").path, **sections)
        write_application(installation.settings.applications, "helpdesk", content)
        counted(installation)


def test_only_feedback_after_the_last_cycle_counts_to_the_second(
    installation: Installation,
) -> None:
    for days_ago in (0, 1, 2):
        correct(installation, days_ago, 4)
    assert counted(installation, since=NOW - timedelta(days=1, seconds=1)) == 8
    assert counted(installation, since=NOW - timedelta(days=1)) == 4
    assert counted(installation, since=NOW) == 0


def test_days_that_are_over_are_not_read_again(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    correct(installation, 200, 3)
    correct(installation, 1, 3)
    assert counted(installation) == 6
    read: list[tuple[object, ...]] = []
    whole = Installation.feedback

    def feedback(self: Installation, *days: object) -> pl.DataFrame:
        read.append(days)
        return whole(self, *days)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(Installation, "feedback", feedback)
    correct(installation, 1, 4)
    application = installation.application("helpdesk")
    assert num_usable(application, installation, since=None) == 7
    assert read == [("helpdesk", day(1).date, day(1).date)]
    assert num_usable(application, installation, since=None) == 7
    assert len(read) == 1


def test_outcomes_are_those_of_the_published_scores(installation: Installation) -> None:
    table = installation.table("quality_scores")
    assert outcomes(installation, "helpdesk") == []
    for num_requests in (5, 7):
        rows = [("error_rate", 0, num_requests), ("satisfaction_rate", 2, 3)]
        frame = pl.DataFrame(rows, schema=("metric", "num_events", "n"), orient="row")
        table.write(day(1), frame)
        table.write(day(300), frame)
        expected = Outcomes(num_requests=num_requests, num_verdicts=3, num_content=2)
        assert outcomes(installation, "helpdesk") == [
            DayOutcomes(day=day(300).date, outcomes=expected),
            DayOutcomes(day=day(1).date, outcomes=expected),
        ]


def test_a_new_base_model_is_a_change(
    installation: Installation, tmp_path: Path, tiny_base_model: BaseModelFile
) -> None:
    register_base_models(installation)
    application = installation.application("helpdesk")
    assert gather_history(application, installation, cycles=[]).change is None
    other = tmp_path / "other.gguf"
    other.write_bytes(tiny_base_model.path.read_bytes() + b"\0")
    write_application(installation.settings.applications, "helpdesk", helpdesk(other))
    application = installation.application("helpdesk")
    change = gather_history(application, installation, cycles=[]).change
    assert change is not None
    assert change.model_version == VERSION
    assert change.parts == {"base_model": BaseModelFile(other).sha256}
    kept = tallies_of(installation, "helpdesk").folder / "base_model.json"
    assert kept.exists()


def a_request(request_id: str, hours_ago: float) -> CycleRequest:
    return CycleRequest(
        request_id=request_id,
        application="helpdesk",
        because="new desks",
        requested_at=NOW - timedelta(hours=hours_ago),
    )


def test_a_cycle_serves_the_requests_that_came_before_it() -> None:
    early, late = a_request("early", 5), a_request("late", 1)
    cycle = Cycle(
        started_at=NOW - timedelta(hours=3), hours=1.0, run_key="helpdesk:manual:earliest"
    )
    assert unserved([early, late], [cycle]) == [late]
    other = Cycle(started_at=NOW, hours=1.0, run_key="helpdesk:drift:2026-03-20")
    assert unserved([early, late], [other]) == [early, late]


def test_a_request_is_served_by_its_own_cycle_although_the_clocks_differ() -> None:
    request = a_request("r7", 1)
    cycle = Cycle(
        started_at=request.requested_at - timedelta(milliseconds=400),
        hours=None,
        run_key="helpdesk:manual:r7",
    )
    assert unserved([request], [cycle]) == []
