import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.cli import main
from llm_assets.drift.topics import Topic, TypicalPrompt, topic_table
from llm_assets.drift_view import describe, gather
from llm_assets.errors import UserError
from llm_assets.installation import Installation
from llm_assets.intervals import newcombe
from llm_assets.storage import Partition
from tests.installations import VERSION, an_installation

DAY, NEXT_DAY = date(2026, 3, 2), date(2026, 3, 3)
PARCEL = TypicalPrompt("where is my parcel?", "r1")


@pytest.fixture
def installation(tmp_path: Path, tiny_base_model: BaseModelFile) -> Iterator[Installation]:
    with an_installation(tmp_path, tiny_base_model) as made:
        yield made


def score(detector: str, value: float, **columns: Any) -> dict[str, Any]:
    return {
        "detector": detector,
        "n": 20,
        "num_baseline": 40,
        "score": value,
        "threshold": 0.5,
        "is_drifted": value > 0.5,
        "reason": None,
        "model_version": VERSION,
        **columns,
    }


def write_scores(installation: Installation, *rows: dict[str, Any], day: date = DAY) -> None:
    partition = Partition(application="helpdesk", date=day)
    installation.table("drift_scores").write(partition, pl.DataFrame(list(rows)))


def write_topics(installation: Installation, *prompts: TypicalPrompt, name: str) -> None:
    topic = Topic(
        kind="grown",
        public_name=name,
        rows=np.arange(8),
        n=20,
        num_baseline=40,
        baseline_share=0.05,
        interval=newcombe(8, 20, 2, 40),
        prompts=prompts,
    )
    partition = Partition(application="helpdesk", date=DAY)
    installation.table("drift_topics").write(partition, topic_table([topic]))


def test_a_day_is_shown_with_its_scores_and_topics(installation: Installation) -> None:
    novelty = score("novelty", 0.7, decides=True)
    write_scores(installation, score("token_js", 0.9, decides=False, is_drifted=False), novelty)
    write_topics(installation, PARCEL, name="parcel, late")
    shown = gather(installation, "helpdesk", DAY)
    assert (shown["date"], shown["is_drifted"], shown["n"]) == ("2026-03-02", True, 20)
    (topic,) = shown["topics"]
    assert (topic["name"], topic["share"], topic["num_prompts"]) == ("parcel, late", 0.4, 8)
    assert topic["prompts"] == [{"prompt": "where is my parcel?", "request_id": "r1"}]
    lines = describe(shown).splitlines()
    assert lines[:2] == [
        "helpdesk, 2026-03-02: drifted",
        f"  20 prompts against 40 of {VERSION}",
    ]
    assert lines[3] == "  novelty      0.7000  threshold 0.5000  drifted"
    assert lines[4].endswith("over, but does not decide")
    assert lines[6].startswith("1. parcel, late: 8 prompts, 40.0%, baseline 5.0% (+1")
    assert lines[7] == "     where is my parcel?"


def test_the_newest_day_is_shown_unless_another_is_named(installation: Installation) -> None:
    for day in (NEXT_DAY, DAY):
        write_scores(installation, score("novelty", 0.1), day=day)
    assert gather(installation, "helpdesk", None)["date"] == "2026-03-03"
    assert gather(installation, "helpdesk", DAY)["date"] == "2026-03-02"


def test_what_is_undefined_says_why_and_is_no_nan(installation: Installation) -> None:
    reason = "3 prompts, fewer than min_prompts 30"
    undefined = score("novelty", float("nan"), threshold=float("nan"), reason=reason)
    write_scores(installation, undefined)
    write_topics(installation, name="of another reading")
    shown = gather(installation, "helpdesk", None)
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown
    assert shown["scores"][0]["score"] is None
    assert f"novelty  undefined: {reason}" in describe(shown)
    assert describe(shown).endswith("What moved was not looked for on this day.")


def test_scores_of_before_detectors_were_told_apart_all_decide(installation: Installation) -> None:
    write_scores(installation, score("novelty", 0.1), score("mean_shift", 0.1, decides=None))
    shown = gather(installation, "helpdesk", None)
    assert [row["decides"] for row in shown["scores"]] == [True, True]


def test_a_day_without_topics_says_so(installation: Installation) -> None:
    write_scores(installation, score("novelty", 0.1))
    partition = Partition(application="helpdesk", date=DAY)
    installation.table("drift_topics").write(partition, topic_table([]))
    assert describe(gather(installation, "helpdesk", DAY)).endswith("No topic stands out.")


def test_a_topic_without_a_public_name_is_named_by_the_prompts_that_are_left(
    installation: Installation,
) -> None:
    write_scores(installation, score("novelty", 0.7))
    late = TypicalPrompt("my parcel is late", "r2")
    write_topics(installation, PARCEL, late, name="unnamed topic 1")
    assert gather(installation, "helpdesk", DAY)["topics"][0]["name"] == "parcel, is, my"
    installation.table("drift_topics").rewrite(
        lambda table: table.filter(pl.col("request_id").is_null())
    )
    shown = gather(installation, "helpdesk", DAY)
    assert shown["topics"][0]["name"] == "unnamed topic 1"
    assert "(its typical prompts were erased)" in describe(shown)


def test_a_prompt_is_shown_in_one_short_line_and_commands_nothing(
    installation: Installation,
) -> None:
    write_scores(installation, score("novelty", 0.7))
    write_topics(
        installation,
        TypicalPrompt("a\nb\x1b]0;owned\x07 \u202e", "r1"),
        TypicalPrompt("long " * 100, "r2"),
        name="odd",
    )
    *_, first, second = describe(gather(installation, "helpdesk", DAY)).splitlines()
    assert first == "     a b\ufffd]0;owned\ufffd \ufffd"
    assert len(second) == 105
    assert second.endswith("…")


def test_a_day_or_application_without_scores_is_an_error_that_says_what_there_is(
    installation: Installation,
) -> None:
    with pytest.raises(UserError, match="no day has drift scores yet"):
        gather(installation, "helpdesk", None)
    write_scores(installation, score("novelty", 0.1))
    expected = "2026-03-03 has no drift scores; those that have lie in 2026-03-02 to 2026-03-02"
    with pytest.raises(UserError, match=expected):
        gather(installation, "helpdesk", NEXT_DAY)
    with pytest.raises(UserError, match="application 'nowhere'"):
        gather(installation, "nowhere", DAY)


def test_the_command_shows_a_day(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scores(installation, score("novelty", 0.1))
    for option, expected in (
        ((), "helpdesk, 2026-03-02: not"),
        (("--json",), '"date": "2026-03-02"'),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["drift", "show", "2026-03-02", "--application", "helpdesk", *option])
        assert ended.value.code == 0
        assert expected in capsys.readouterr().out
