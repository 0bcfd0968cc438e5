import socket
import time
from typing import Any

import pytest

from llm_assets.rollouts.smoke import Outcome, SmokeTest
from tests.rollouts.models import Model

PROMPTS = ["who wrote hamlet", "what is a quark"]


def smoke(port: int, *, timeout_seconds: float = 10.0, **fields: Any) -> SmokeTest:
    return SmokeTest(
        url=f"http://127.0.0.1:{port}",
        application="helpdesk",
        prompts=PROMPTS,
        timeout_seconds=timeout_seconds,
        **fields,
    )


def outcome_of(test: SmokeTest) -> Outcome:
    deadline = time.monotonic() + 10
    while test.outcome is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return test.outcome


def test_a_server_that_answers_every_prompt_passes_and_nobody_counts_its_answers() -> None:
    model = Model()
    with model.running() as port:
        test = smoke(port, headers={"authorization": "Bearer t"})
        assert outcome_of(test) == Outcome(True)
    assert [seen["messages"] for seen in model.seen] == [
        [{"role": "user", "content": prompt}] for prompt in PROMPTS
    ]
    for seen in model.seen:
        assert (seen["model"], seen["path"]) == ("helpdesk", "/v1/chat/completions")
        assert seen["headers"]["x-llm-assets-variant"] == "shadow"
        assert seen["headers"]["authorization"] == "Bearer t"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (" ", "an empty answer"),
        ({"choices": []}, "an empty answer"),
        ({"choices": [{"message": {"content": None}}]}, "an empty answer"),
        ([], "an empty answer"),
    ],
)
def test_one_bad_answer_fails_it(answer: Any, problem: str) -> None:
    model = Model({PROMPTS[1]: answer})
    with model.running() as port:
        assert outcome_of(smoke(port)) == Outcome(False, problem)


def test_an_error_fails_it() -> None:
    model = Model(status=500)
    with model.running() as port:
        assert outcome_of(smoke(port)) == Outcome(False, "status 500")
    assert len(model.seen) == 1


def test_a_server_that_hangs_fails_it_after_the_time_out_and_nobody_waits() -> None:
    with Model({PROMPTS[0]: "hang"}).running() as port:
        test = smoke(port, timeout_seconds=0.2)
        assert test.outcome is None
        assert outcome_of(test) == Outcome(False, "no answer: ReadTimeout")


def test_a_server_that_was_just_started_again_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    test = smoke(port)
    time.sleep(0.3)
    assert test.outcome is None
    with Model().running(port):
        assert outcome_of(test) == Outcome(True)


def test_a_server_that_stays_away_fails_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    test = smoke(port, timeout_seconds=0.3)
    assert outcome_of(test) == Outcome(False, "no answer: ConnectError")
