"""Each line of a log is taken once, whenever and however often it is read."""

import json
from typing import Any

import dagster as dg
import pytest
from dagster_pipes import PIPES_PROTOCOL_VERSION_FIELD

from llm_assets.resources.cluster import Cluster, ClusterError
from llm_assets.resources.pod_log import PodLog, PodMessages


class Written(Cluster):
    """A cluster with one pod, whose log a test writes."""

    def __init__(self) -> None:
        self.text = ""
        self.asked: list[int | None] = []

    def log(self, pod: str, *, since_seconds: int | None) -> bytes:
        self.asked.append(since_seconds)
        if not self.text:
            raise ClusterError(400, "container is waiting to start: ContainerCreating")
        return self.text.encode()


@pytest.fixture
def written() -> Written:
    return Written()


@pytest.fixture
def messages() -> PodMessages:
    return PodMessages()


@pytest.fixture
def log(written: Written, messages: PodMessages) -> PodLog:
    return PodLog(written, "pod", messages)


def stamped(*lines: tuple[int, str]) -> str:
    return "".join(f"2026-11-27T12:00:00.00000000{at}Z {line}\n" for at, line in lines)


def test_lines_are_taken_once(written: Written, log: PodLog, messages: PodMessages) -> None:
    written.text = stamped((1, "one"), (2, "two"))
    log.read(is_over=False)
    written.text = stamped((1, "one"), (2, "two"), (3, "three"))
    log.read(is_over=False)
    written.text = stamped((3, "three"), (4, "four"))
    log.read(is_over=False)
    assert list(messages.lines) == ["one", "two", "three", "four"]


def test_lines_of_one_time_are_all_taken(
    written: Written, log: PodLog, messages: PodMessages
) -> None:
    written.text = stamped((1, "one"), (1, "two"))
    log.read(is_over=False)
    written.text = stamped((1, "one"), (1, "two"), (1, "three"), (2, "four"), (2, "five"))
    log.read(is_over=False)
    assert list(messages.lines) == ["one", "two", "three", "four", "five"]


def test_a_line_without_its_end_is_left_until_it_is_whole_or_all_is_over(
    written: Written, log: PodLog, messages: PodMessages
) -> None:
    written.text = stamped((1, "one"), (2, "tw")).removesuffix("\n")
    log.read(is_over=False)
    assert list(messages.lines) == ["one"]
    written.text = stamped((1, "one"), (2, "two"))
    log.read(is_over=False)
    written.text += stamped((3, "last")).removesuffix("\n")
    log.read(is_over=True)
    assert list(messages.lines) == ["one", "two", "last"]


def test_a_log_that_cannot_be_read_is_asked_for_in_full_when_it_can(
    written: Written, log: PodLog
) -> None:
    assert not log.read(is_over=False)
    written.text = stamped((1, "one"))
    assert log.read(is_over=False)
    assert log.read(is_over=False)
    assert written.asked[:2] == [None, None]
    assert written.asked[2] in (10, 11)


class Handler(dg.PipesMessageHandler):
    """Keeps what it is handed."""

    def __init__(self) -> None:
        self.handled: list[Any] = []

    def handle_message(self, message: Any) -> None:
        self.handled.append(message)


def test_messages_go_to_dagster_and_everything_else_to_its_output(
    messages: PodMessages, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = Handler()
    message = {PIPES_PROTOCOL_VERSION_FIELD: "0.1", "method": "log", "params": {}}
    others = ['{"step": 1}', "{not json", "plain", ""]
    with messages.read_messages(handler) as params:
        assert params == {"stdio": "stderr"}
        for line in [json.dumps(message), *others]:
            messages.take(line)
    assert handler.handled == [message]
    assert capsys.readouterr().out.splitlines() == others
    assert list(messages.lines) == others
