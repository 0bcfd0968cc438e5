"""What an installation says was asked and how users reacted."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.drift.embedding.minilm import MiniLM
from llm_assets.errors import UserError
from llm_assets.feedback.tables import FEEDBACK_SCHEMA, feedback_table, interaction_table
from llm_assets.installation import Installation
from llm_assets.records import Feedback, Interaction
from llm_assets.storage import Partition, Table
from tests.feedback.joined import about_session
from tests.installations import an_installation
from tests.records import TIME, a_correction, an_interaction

DAY = TIME.date()
HOUR, ONE_DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def installation(tmp_path: Path, tiny_base_model: BaseModelFile) -> Iterator[Installation]:
    """Return one where two signals of a user and day count, and feedback is late by 5 days."""
    feedback = {"max_feedback_per_user_and_day": 2, "orphaned_after_days": 7}
    curation = {"late_feedback_days": 5}
    with an_installation(tmp_path, tiny_base_model, feedback=feedback, curation=curation) as made:
        yield made


def write(installation: Installation, records: list[Interaction] | list[Feedback]) -> None:
    """Publish records on their days."""
    for day in {record.date for record in records}:
        of_day = [record for record in records if record.date == day]
        is_interactions = isinstance(of_day[0], Interaction)
        name = "interaction_logs" if is_interactions else "feedback_logs"
        tabulate = interaction_table if is_interactions else feedback_table
        partition = Partition(application="helpdesk", date=day)
        installation.table(name).write(partition, tabulate(of_day))


def test_feedback_is_joined_with_interactions_of_earlier_days(installation: Installation) -> None:
    write(installation, [an_interaction("r1", aliases=["trace"], session_id="s", user_id="u")])
    later = TIME + 3 * ONE_DAY
    write(
        installation,
        [a_correction("f1", "trace", "x", time=later), about_session("f2", "s", time=later)],
    )
    found = installation.feedback("helpdesk", later.date(), later.date())
    assert found["request_id"].to_list() == ["r1", "r1"]
    assert found["user_id"].to_list() == ["u", "u"]
    assert found["is_session_level"].to_list() == [False, True]
    given = installation.feedback_as_given("helpdesk")
    assert given["request_id"].to_list() == ["trace", None]


def test_what_is_too_much_of_one_user_and_day_is_kept_and_marked(
    installation: Installation,
) -> None:
    write(installation, [an_interaction(f"r{n}", user_id="u") for n in range(3)])
    write(
        installation,
        [a_correction(f"f{n}", f"r{n}", "x", time=TIME + n * HOUR) for n in range(3)],
    )
    found = installation.feedback("helpdesk")
    assert found["is_over_cap"].to_list() == [False, False, True]


def test_a_day_counts_the_same_whatever_is_asked_for_with_it(installation: Installation) -> None:
    times = [TIME + n * 17 * HOUR for n in range(20)]
    write(
        installation,
        [
            an_interaction(f"r{n}", time=time, aliases=[f"t{n % 3}"], user_id=f"u{n % 2}")
            for n, time in enumerate(times)
        ],
    )
    write(
        installation,
        [
            a_correction(f"f{n}-{m}", f"t{m}", "x", time=time + m * HOUR)
            for n, time in enumerate(times)
            for m in range(3)
        ],
    )
    whole = installation.feedback("helpdesk")
    assert 0 < whole["is_over_cap"].sum() < whole.height
    for first in installation.table("feedback_logs").dates("helpdesk"):
        last = first + 2 * ONE_DAY
        part = installation.feedback("helpdesk", first, last)
        assert part.equals(whole.filter(pl.col("time").dt.date().is_between(first, last)))


def test_days_of_an_older_version_are_read_with_nulls(installation: Installation) -> None:
    partition = Partition(application="helpdesk", date=DAY)
    older = interaction_table([an_interaction("r1")]).drop("aliases")
    installation.table("interaction_logs").write(partition, older)
    old = ["feedback_id", "request_id", "application", "time", "kind", "value", "text", "user_id"]
    given = feedback_table([a_correction("f1", "r1", "x")]).select(old)
    installation.table("feedback_logs").write(partition, given)
    write(installation, [an_interaction("r2", time=TIME + ONE_DAY, aliases=["trace"])])
    write(installation, [a_correction("f2", "trace", "x", time=TIME + ONE_DAY)])
    assert installation.interactions("helpdesk")["aliases"].to_list() == [None, ["trace"]]
    assert installation.feedback("helpdesk")["request_id"].to_list() == ["r1", "r2"]
    assert installation.feedback_as_given("helpdesk").schema == FEEDBACK_SCHEMA


def test_an_empty_home_has_no_rows_but_all_columns(installation: Installation) -> None:
    assert installation.interactions("helpdesk").columns[0] == "request_id"
    assert {"is_over_cap", "is_session_level"} < set(installation.feedback("helpdesk").columns)
    assert installation.known_ids("helpdesk").is_empty()
    assert installation.orphans("helpdesk", now=TIME).is_empty()


def test_days_are_read_in_order_and_only_those_asked_for(installation: Installation) -> None:
    times = [TIME + n * ONE_DAY for n in (2, 0, 1)]
    write(installation, [an_interaction(f"r{n}", time=time) for n, time in enumerate(times)])
    assert installation.interactions("helpdesk")["request_id"].to_list() == ["r1", "r2", "r0"]
    one = installation.interactions("helpdesk", date(2026, 3, 2), date(2026, 3, 2))
    assert one["request_id"].to_list() == ["r2"]


def test_a_day_that_is_rewritten_while_it_is_read_is_read_again(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(installation, [an_interaction("r1"), an_interaction("r2")])
    resolve, num_calls = Table.generation, 0

    def generation(table: Table, partition: Partition) -> object:
        nonlocal num_calls
        found, num_calls = resolve(table, partition), num_calls + 1
        if num_calls == 1:
            table.rewrite(lambda frame: frame.filter(pl.col("request_id") != "r1"))
        return found

    monkeypatch.setattr(Table, "generation", generation)
    assert installation.interactions("helpdesk")["request_id"].to_list() == ["r2"]


def test_a_published_file_that_is_gone_is_an_error_and_not_an_empty_day(
    installation: Installation,
) -> None:
    write(installation, [an_interaction("r1")])
    (file,) = installation.home.glob("tables/interaction_logs/*/*/*.parquet")
    file.unlink()
    with pytest.raises(FileNotFoundError):
        installation.interactions("helpdesk")


def test_orphans_are_what_waited_longer_than_configured(installation: Installation) -> None:
    write(installation, [an_interaction("r1", aliases=["trace"], time=TIME - 90 * ONE_DAY)])
    write(
        installation,
        [
            a_correction("known", "trace", "x"),
            a_correction("orphan", "x", "x"),
            a_correction("young", "x", "x", time=TIME + HOUR),
        ],
    )
    found = installation.orphans("helpdesk", now=TIME + 7 * ONE_DAY)
    assert found["feedback_id"].to_list() == ["orphan"]


def test_prompts_are_embedded_by_the_model_that_the_application_names(
    tmp_path: Path, tiny_base_model: BaseModelFile
) -> None:
    with an_installation(tmp_path, tiny_base_model) as made:
        assert made.embedder("helpdesk").name == MiniLM.name
    drift = {"embedding_model": "acme/mini"}
    with an_installation(tmp_path, tiny_base_model, drift=drift) as made:
        (made.home / "models" / "embedders" / "acme" / "mini").mkdir(parents=True)
        with pytest.raises(UserError, match="acme/mini holds no weights in safetensors"):
            made.embedder("helpdesk").encode(["a"])
