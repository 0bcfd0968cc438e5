import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from llm_assets.deployment.judging.config import JudgeConfig
from llm_assets.deployment.judging.judge import Judge, judge_of
from llm_assets.errors import UserError
from tests.deployment.judging.judge_model import (
    Asked,
    JudgeModel,
    Reply,
    judge_model,
    prefers_capitals,
    verdict,
)
from tests.deployment.judging.pairs import a_pair


@contextmanager
def judging(
    config: dict[str, Any], folder: Path, environment: dict[str, str] | None = None
) -> Iterator[Judge]:
    judge = judge_of(
        JudgeConfig.of_plain(config),
        scorer=str.__eq__,
        scorer_name="equal",
        wanted={"do you like tennis": "BETTER r1"},
        environment=environment or {},
        cache_folder=folder,
    )
    try:
        yield judge
    finally:
        judge.stop()
    assert not any(thread.name == "judge" for thread in threading.enumerate())


def by_model(server: JudgeModel, **config: object) -> dict[str, Any]:
    return {"kind": "model", "base_url": server.base_url, "model": "judge-1"} | config


def wait_for(judge: Judge) -> list[str]:
    """Return the outcomes once nothing is pending."""
    deadline = time.monotonic() + 10
    while judge.counts.num_pending:
        assert time.monotonic() < deadline, judge.problems
        time.sleep(0.01)
    return [str(each.outcome) for each in judge.verdicts()]


def problems_of(judge: Judge) -> tuple[str, ...]:
    """Return the problems once there are some."""
    deadline = time.monotonic() + 10
    while not judge.problems:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return judge.problems


def test_a_scorer_judges_at_once(tmp_path: Path) -> None:
    with judging({}, tmp_path) as judge:
        judge.submit([a_pair("r1"), a_pair("r2", prompt="another")])
        assert [each.outcome for each in judge.verdicts()] == ["challenger"]
        assert (judge.counts.num_judged, judge.counts.num_not_judged) == (1, 1)


def test_a_model_judges_in_the_background(tmp_path: Path) -> None:
    with judge_model(prefers_capitals) as server, judging(by_model(server), tmp_path) as judge:
        judge.submit(
            [a_pair("r1"), a_pair("r2", champion_answer="BEST", challenger_answer="worst")]
        )
        assert wait_for(judge) == ["challenger", "champion"]
        assert {(each.by, each.reason) for each in judge.verdicts()} == {
            ("judge-1", "preferred in both orders")
        }
        assert judge.problems == ()
        assert len(server.asked) == 4


def test_a_model_sees_the_conversation_or_else_the_prompt(tmp_path: Path) -> None:
    messages = ({"role": "system", "content": "Be short."}, {"role": "user", "content": "tennis?"})
    with judge_model(prefers_capitals) as server, judging(by_model(server), tmp_path) as judge:
        judge.submit([a_pair("r1", messages=messages), a_pair("r2", prompt="golf?")])
        wait_for(judge)
        seen = {each.data["conversation"][-1]["content"] for each in server.asked}
        assert seen == {"tennis?", "golf?"}


def test_a_model_that_prefers_a_place_finds_ties_only(tmp_path: Path) -> None:
    for place in "AB":
        with (
            judge_model(lambda _, place=place: verdict(place)) as server,
            judging(by_model(server), tmp_path / place) as judge,
        ):
            judge.submit([a_pair(f"r{n}") for n in range(5)])
            assert wait_for(judge) == ["tie"] * 5
            assert len(server.asked) == 10


def test_a_tie_in_one_order_is_a_tie(tmp_path: Path) -> None:
    with (
        judge_model(lambda _: verdict("tie")) as server,
        judging(by_model(server), tmp_path) as judge,
    ):
        judge.submit([a_pair()])
        assert wait_for(judge) == ["tie"]
        assert len(server.asked) == 1


def test_the_same_answers_are_a_tie_without_a_call(tmp_path: Path) -> None:
    with judge_model(prefers_capitals) as server, judging(by_model(server), tmp_path) as judge:
        judge.submit([a_pair(champion_answer="sports", challenger_answer="sports\n")])
        assert wait_for(judge) == ["tie"]
        assert server.asked == []


def test_a_busy_model_is_asked_again(tmp_path: Path) -> None:
    busy = iter([429, 503, 429])

    def reply(asked: Asked) -> Reply:
        status = next(busy, None)
        if status is not None:
            return Reply("busy", status, (("retry-after", "0.01"),))
        return prefers_capitals(asked)

    with judge_model(reply) as server, judging(by_model(server), tmp_path) as judge:
        judge.submit([a_pair("r1"), a_pair("r2")])
        assert wait_for(judge) == ["challenger", "challenger"]
        assert judge.problems == ()


def test_a_reply_that_is_no_verdict_is_counted_and_told(tmp_path: Path) -> None:
    with (
        judge_model(lambda _: Reply("I like both, BETTER r1 most.")) as server,
        judging(by_model(server), tmp_path) as judge,
    ):
        judge.submit([a_pair("r1"), a_pair("r2")])
        assert wait_for(judge) == []
        assert judge.counts.num_not_judged == 2
        (problem,) = judge.problems
        assert problem == "judge judge-1: 2 pairs not judged: its reply was no verdict"


def test_a_restart_asks_nothing_twice_and_no_text_is_kept(tmp_path: Path) -> None:
    with judge_model(prefers_capitals) as server:
        for _ in range(2):
            with judging(by_model(server), tmp_path) as judge:
                judge.submit([a_pair("r1"), a_pair("r2")])
                assert wait_for(judge) == ["challenger", "challenger"]
        assert len(server.asked) == 4
        with judging(by_model(server, rubric="Another one."), tmp_path) as judge:
            judge.submit([a_pair("r1")])
            wait_for(judge)
        assert len(server.asked) == 6
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert not any(text in kept for text in (b"tennis", b"BETTER", b"worse", b"r1"))


def test_the_key_comes_from_the_environment(tmp_path: Path) -> None:
    with judge_model(prefers_capitals) as server:
        config = by_model(server, api_key_env="JUDGE_KEY")
        with judging(config, tmp_path, {"JUDGE_KEY": "sk-1"}) as judge:
            judge.submit([a_pair()])
            wait_for(judge)
        assert {each.headers["authorization"] for each in server.asked} == {"Bearer sk-1"}


@pytest.mark.parametrize("environment", [{}, {"KEY": ""}, {"KEY": "sk\n1"}, {"KEY": "skø"}])
def test_a_variable_without_a_key_is_the_users_mistake(
    environment: dict[str, str], tmp_path: Path
) -> None:
    config = {"kind": "model", "base_url": "http://judge/v1", "model": "m", "api_key_env": "KEY"}
    with (
        pytest.raises(UserError, match=r"^judge.api_key_env: no environment variable"),
        judging(config, tmp_path, environment),
    ):
        pass


def test_a_dead_endpoint_is_told_and_holds_up_nobody(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = {"kind": "model", "base_url": f"http://{address}/v1", "model": "judge-1"}
    with judging(config, tmp_path) as judge:
        start = time.monotonic()
        judge.submit([a_pair(f"r{n}") for n in range(100)])
        assert problems_of(judge) == (f"judge judge-1 at {address}: ConnectError",)
        assert judge.counts.num_pending == 100
    assert time.monotonic() - start < 4


def test_a_model_that_hangs_is_told_and_does_not_hold_up_the_end(tmp_path: Path) -> None:
    is_over = threading.Event()

    def reply(asked: Asked) -> Reply:
        is_over.wait(10)
        return prefers_capitals(asked)

    with judge_model(reply) as server:
        config = by_model(server, timeout_seconds=0.1)
        with judging(config, tmp_path) as judge:
            judge.submit([a_pair()])
            (problem,) = problems_of(judge)
            assert problem.endswith("no answer within 0.1 s")
        is_over.set()
    judge.submit([a_pair("r2")])
    assert judge.verdicts() == ()
    judge.stop()


def test_as_many_pairs_as_allowed_are_judged_at_a_time(tmp_path: Path) -> None:
    lock, now, most = threading.Lock(), [0], [0]
    both_are_asked = threading.Barrier(2)

    def reply(asked: Asked) -> Reply:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        both_are_asked.wait(10)
        with lock:
            now[0] -= 1
        return prefers_capitals(asked)

    with judge_model(reply) as server:
        config = by_model(server, max_concurrency=2)
        with judging(config, tmp_path) as judge:
            judge.submit([a_pair(f"r{n}") for n in range(8)])
            assert wait_for(judge) == ["challenger"] * 8
    assert most == [2]


def test_a_request_is_judged_once_and_no_more_than_max_judged_are(tmp_path: Path) -> None:
    with judging({"max_judged": 2}, tmp_path) as judge:
        judge.submit([a_pair("r9", prompt="another"), a_pair("r1"), a_pair("r1"), a_pair("r2")])
        judge.submit([a_pair("r3"), a_pair("r1")])
        assert [each.request_id for each in judge.verdicts()] == ["r1", "r2"]
        assert judge.counts.num_left_out == 1


def test_the_same_share_is_judged_whatever_the_order(tmp_path: Path) -> None:
    pairs = [a_pair(f"r{n}") for n in range(200)]
    drawn: list[set[str]] = []
    for order in (pairs, pairs[::-1]):
        with judging({"judge_rate": 0.3}, tmp_path) as judge:
            judge.submit(order)
            drawn.append({each.request_id for each in judge.verdicts()})
    assert drawn[0] == drawn[1]
    assert 40 <= len(drawn[0]) <= 80


def test_a_failure_of_ours_is_told_without_text_of_users(tmp_path: Path) -> None:
    with judge_model(prefers_capitals) as server, judging(by_model(server), tmp_path) as judge:
        broken: Any = ({"role": "user", "content": 7},)
        judge.submit([a_pair(messages=broken)])
        assert wait_for(judge) == []
        assert judge.problems == ("judge: a pair could not be judged: AttributeError",)
