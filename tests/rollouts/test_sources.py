import os
from datetime import timedelta
from pathlib import Path

import pytest

from llm_assets.feedback.log import Log
from llm_assets.records import SHADOW_VARIANT, FeedbackKind
from llm_assets.rollouts.sources import Sources
from llm_assets.serving.attempts import ATTEMPTS, OLD_ATTEMPTS, Attempt
from tests.deployment.rollouts import START
from tests.records import TIME
from tests.rollouts.logs import Logs, a_signal, an_answer, an_attempt, line_of


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


def test_what_the_real_writers_write_is_read_back_as_it_was(logs: Logs) -> None:
    sources = Sources(logs.home, "helpdesk", START)
    attempt = an_attempt("r1", "challenger", START)
    answer = an_answer("r1", "challenger", START)
    shadow = an_answer("r1", SHADOW_VARIANT, START)
    signal = a_signal("f1", "r1", FeedbackKind.THUMB, START, value=1)
    copy = an_attempt("r1", SHADOW_VARIANT, START)
    fallback = an_attempt("r2", "champion", START, model_version=None, is_failure=True, status=500)
    logs.write(attempt, answer, shadow, signal, copy, fallback)
    assert list(sources.attempts()) == [attempt, copy, fallback]
    assert list(sources.answers()) == [answer]
    assert list(sources.shadows()) == [shadow]
    assert list(sources.feedback()) == [signal]
    # Once.
    assert [list(sources.attempts()), list(sources.answers())] == [[], []]


def test_other_applications_and_lines_that_are_none_are_passed_over(logs: Logs) -> None:
    sources = Sources(logs.home, "helpdesk", START)
    logs.write(
        an_attempt("r1", "champion", START, application="bank"), an_answer("r1", "champion", START)
    )
    (segment,) = Log.interactions(logs.home).root.rglob("*.ndjson")
    for path in (segment, logs.home / "gateway" / ATTEMPTS):
        with path.open("ab") as file:
            file.write(b'{"half"\n[1]\n\n')
    assert list(sources.attempts()) == []
    assert [answer.request_id for answer in sources.answers()] == ["r1"]


def test_a_log_of_tries_that_is_begun_anew_loses_none(logs: Logs) -> None:
    sources = Sources(logs.home, "helpdesk", START)
    found = []
    for number in range(6):
        logs.write(an_attempt(f"r{number}", "champion", START))
        if number % 2:
            found += [a.request_id for a in sources.attempts() if isinstance(a, Attempt)]
        if number % 3 == 1:
            gateway = logs.home / "gateway"
            (gateway / ATTEMPTS).replace(gateway / OLD_ATTEMPTS)
    assert found == [f"r{number}" for number in range(6)]
    assert len(list(Sources(logs.home, "helpdesk", START).attempts())) == 4


def test_segments_that_nobody_wrote_to_since_are_not_read_whatever_day_they_are_of(
    logs: Logs,
) -> None:
    logs.write(an_answer("r1", "champion", TIME))
    (old,) = Log.interactions(logs.home).root.rglob("*.ndjson")
    Logs(logs.home).write(an_answer("r2", "champion", TIME - timedelta(days=30)))
    long_ago = (START - timedelta(minutes=2)).timestamp()
    os.utime(old, (long_ago, long_ago))
    answers = Sources(logs.home, "helpdesk", START).answers()
    assert [answer.request_id for answer in answers] == ["r2"]


def test_before_anything_was_written_there_is_nothing(tmp_path: Path) -> None:
    sources = Sources(tmp_path, "helpdesk", START)
    assert [*sources.attempts(), *sources.answers(), *sources.feedback()] == []


def test_records_that_were_rewritten_are_read_again(logs: Logs) -> None:
    sources = Sources(logs.home, "helpdesk", START)
    logs.write(*(an_answer(f"r{number}", "champion", START) for number in range(3)))
    assert len(list(sources.answers())) == 3
    Log.interactions(logs.home).rewrite(lambda record: record.record_id != "r1")
    logs.write(an_answer("r3", "champion", START))
    assert [answer.request_id for answer in sources.answers()] == ["r0", "r2", "r3"]


def test_a_line_of_the_log_of_tries_that_has_the_wrong_type_is_passed_over(logs: Logs) -> None:
    sources = Sources(logs.home, "helpdesk", START)
    attempt = an_attempt("r1", "champion", START)
    logs.write(attempt)
    with (logs.home / "gateway" / ATTEMPTS).open("ab") as file:
        file.write(line_of(attempt).replace(b'"r1"', b"7").replace(b"200", b'"ok"'))
    assert list(sources.attempts()) == [attempt]
