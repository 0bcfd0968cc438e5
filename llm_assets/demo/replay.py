"""The replay client: asks and reacts as any user of the OpenAI Python client would."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import openai

from llm_assets.demo.traffic import PlannedRequest

_WORKERS = 4


@dataclass(frozen=True)
class Outcome:
    """What came of one planned request."""

    request_id: str
    answer: str
    is_right: bool


def replay(
    requests: Sequence[PlannedRequest],
    *,
    application: str,
    base_url: str,
    progress: Callable[[int, int], None],
) -> list[Outcome]:
    """Send the requests, react to the answers, and return what came of each, in order."""
    outcomes: list[Outcome] = []
    with (
        openai.OpenAI(base_url=f"{base_url}/v1", api_key="unused", max_retries=2) as client,
        httpx.Client(base_url=base_url, timeout=30) as http,
        ThreadPoolExecutor(_WORKERS) as pool,
    ):
        answers = pool.map(lambda request: _ask(client, http, application, request), requests)
        for outcome in answers:
            outcomes.append(outcome)
            progress(len(outcomes), len(requests))
    return outcomes


def _ask(
    client: openai.OpenAI, http: httpx.Client, application: str, request: PlannedRequest
) -> Outcome:
    response = client.chat.completions.with_raw_response.create(
        model=application,
        messages=[{"role": "user", "content": request.question.text}],
        user=request.user_id,
        metadata={"session_id": request.session_id, "timestamp": request.time.isoformat()},
    )
    request_id = response.headers["x-request-id"]
    answer = response.parse().choices[0].message.content or ""
    is_right = answer.strip().casefold() == request.question.desk
    _react(http, request_id, request, is_right)
    return Outcome(request_id=request_id, answer=answer, is_right=is_right)


def _react(http: httpx.Client, request_id: str, request: PlannedRequest, is_right: bool) -> None:
    time = (request.time + request.feedback_delay).isoformat()
    common = {"request_id": request_id, "time": time, "user_id": request.user_id}
    thumb = {**common, "kind": "thumb", "value": 1 if is_right else -1}
    correction = {**common, "kind": "correction", "text": request.question.desk}
    if not request.will_correct:
        return
    for feedback in [thumb] if is_right else [thumb, correction]:
        http.post("/v1/feedback", json=feedback).raise_for_status()
