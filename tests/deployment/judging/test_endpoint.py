import asyncio

import httpx
import pytest

from llm_assets.deployment.judging.endpoint import Endpoint, NoReplyError

MESSAGES = [{"role": "user", "content": "a secret of a user"}]


class Server:
    """Gives its answers in turn, the last one for ever."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.num_calls = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.num_calls += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def completion(text: object) -> httpx.Response:
    return httpx.Response(200, json={"choices": [{"message": {"content": text}}]})


class Asker:
    """An endpoint whose pauses take no time and are kept."""

    def __init__(self, server: Server, *, max_calls: int = 100) -> None:
        self.pauses: list[float] = []
        self.endpoint = Endpoint(
            base_url="https://judge/v1/",
            model="judge",
            client=httpx.AsyncClient(transport=httpx.MockTransport(server)),
            timeout_seconds=5,
            max_calls=max_calls,
            sleep=self._sleep,
        )

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def ask(self) -> str:
        return asyncio.run(self.endpoint.ask(self.endpoint.request(MESSAGES)))


@pytest.mark.parametrize(
    "failure", [httpx.Response(429), httpx.Response(500), httpx.Response(503), httpx.ReadError("")]
)
def test_what_passes_is_waited_for(failure: httpx.Response | Exception) -> None:
    asker = Asker(Server(failure, failure, completion("yes")))
    assert asker.ask() == "yes"
    assert asker.pauses == [0.5, 1.0]
    assert asker.endpoint.problem is None


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "3600"}, 60),
        (
            {
                "date": "Wed, 21 Oct 2026 07:28:00 GMT",
                "retry-after": "Wed, 21 Oct 2026 07:28:09 GMT",
            },
            9,
        ),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:09 GMT"}, 0.5),
        (
            {
                "date": "Wed, 21 Oct 2026 07:28:00 GMT",
                "retry-after": "Wed, 21 Oct 2026 07:28:09",
            },
            0.5,
        ),
        ({"retry-after": "soon"}, 0.5),
        ({"retry-after": "-1"}, 0.5),
    ],
)
def test_the_endpoint_may_say_how_long_to_wait(headers: dict[str, str], pause: float) -> None:
    asker = Asker(Server(httpx.Response(429, headers=headers), completion("yes")))
    assert asker.ask() == "yes"
    assert asker.pauses == [pause]


def test_an_endpoint_that_stays_away_is_given_up_and_told() -> None:
    server = Server(httpx.ConnectError("a secret of a user"))
    asker = Asker(server)
    with pytest.raises(NoReplyError):
        asker.ask()
    assert server.num_calls == 8
    assert asker.endpoint.problem == "judge judge at judge: ConnectError"


def test_a_refused_request_is_not_sent_again_and_the_code_is_told() -> None:
    error = {"code": "invalid_api_key", "message": "a secret of a user"}
    server = Server(httpx.Response(401, json={"error": error}))
    asker = Asker(server)
    with pytest.raises(NoReplyError):
        asker.ask()
    assert server.num_calls == 1
    assert asker.endpoint.problem == "judge judge at judge: status 401 (invalid_api_key)"


def test_a_code_that_is_no_plain_name_is_not_told() -> None:
    asker = Asker(Server(httpx.Response(400, json={"error": {"code": "a secret of a user"}})))
    with pytest.raises(NoReplyError):
        asker.ask()
    assert asker.endpoint.problem == "judge judge at judge: status 400"


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={"choices": []}),
        httpx.Response(200, json=[]),
        httpx.Response(200, text="[" * 100_000),
        completion(None),
        completion([{"type": "text", "text": "yes"}]),
    ],
)
def test_what_is_no_chat_completion_is_an_empty_reply(response: httpx.Response) -> None:
    assert Asker(Server(response)).ask() == ""


def test_the_budget_counts_what_was_answered_only() -> None:
    server = Server(httpx.Response(429), completion("yes"))
    asker = Asker(server, max_calls=2)
    assert [asker.ask(), asker.ask()] == ["yes", "yes"]
    with pytest.raises(NoReplyError):
        asker.ask()
    assert server.num_calls == 3
    assert asker.endpoint.problem == "judge judge: the budget of calls is spent"
