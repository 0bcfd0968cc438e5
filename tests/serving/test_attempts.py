import json
from datetime import UTC, datetime
from typing import Any

import pytest

from llm_assets.serving.attempts import Attempt, GatewayStart, read_attempt, read_line, start_line

LINE: dict[str, Any] = {
    "time": "2026-11-27T22:00:08.078022Z",
    "request_id": "17a5b317-0177-4445-a73a-f290496046bf",
    "application": "helpdesk",
    "variant": "challenger",
    "trial": "canary",
    "cluster": "challenger/helpdesk-v0002/36797",
    "attempt": "1",
    "status": 200,
    "flags": "-",
    "rate_limited": None,
    "milliseconds": 1250,
    "milliseconds_allowed": "31000",
}


def read(**fields: Any) -> Attempt:
    attempt = read_attempt(json.dumps(LINE | fields).encode() + b"\n")
    assert attempt is not None
    return attempt


def test_a_line_says_who_was_asked_and_what_came_of_it() -> None:
    assert read() == Attempt(
        time=datetime(2026, 11, 27, 22, 0, 8, 78022, tzinfo=UTC),
        request_id="17a5b317-0177-4445-a73a-f290496046bf",
        application="helpdesk",
        variant="challenger",
        trial="canary",
        model_version="helpdesk-v0002",
        attempt=1,
        status=200,
        is_failure=False,
        seconds=1.25,
    )


def test_the_answer_of_the_api_is_of_no_model_version() -> None:
    assert read(cluster="api", attempt="3").model_version is None


def test_a_copy_belongs_to_the_application_of_its_model_version() -> None:
    copy = read(application=None, cluster="mirror/helpdesk-v0003/36798", variant="shadow")
    assert (copy.application, copy.model_version) == ("helpdesk", "helpdesk-v0003")


@pytest.mark.parametrize(
    "fields",
    [
        {"status": 500},
        {"status": 0, "flags": "UF"},  # not connected
        {"status": 0, "flags": "UT", "milliseconds": 31000},
        {"status": 0, "flags": "UC,URX"},
        {"status": 200, "flags": "UPE"},  # broke off in its midst
        {"status": 0, "milliseconds": 31001},  # the time for all tries was over
        {"status": 0, "milliseconds": 30999},
    ],
)
def test_what_speaks_against_the_server_is_a_failure(fields: dict[str, Any]) -> None:
    assert read(**fields).is_failure


@pytest.mark.parametrize(
    "fields",
    [
        {"status": 400},
        {"status": 503, "rate_limited": "true"},
        {"status": 0},  # the client went away
        {"milliseconds": 50_000},  # a long stream
    ],
)
def test_being_busy_is_no_failure_nor_is_what_the_client_does(fields: dict[str, Any]) -> None:
    assert not read(**fields).is_failure


@pytest.mark.parametrize("line", [b"", b"{", b"5", b"{}", json.dumps(LINE).encode()[:-9]])
def test_a_torn_line_is_none(line: bytes) -> None:
    assert read_attempt(line) is None


def test_a_start_of_the_gateway_is_told_and_is_no_try() -> None:
    assert read_line(start_line()) == GatewayStart()
    assert read_attempt(start_line()) is None
    assert read_line(json.dumps(LINE).encode()) == read()
    assert read_line(b'{"gateway": "sta') is None
