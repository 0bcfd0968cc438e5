import itertools
import json
from typing import Any

import pytest
from aiohttp import web

from llm_assets.serving.response_cache import GivenAnswer, ResponseCache, cache_key
from llm_assets.serving.spec import ModelServerSpec
from tests.serving.recording import (
    ASK,
    DONE,
    Served,
    answer,
    completion,
    sent,
    serving,
    text_event,
)


def given(text: str = "literature") -> GivenAnswer:
    return GivenAnswer(text=text, finish_reason="stop")


def test_the_answer_that_was_not_used_for_longest_makes_room() -> None:
    cache = ResponseCache(2)
    cache.put(b"a", given("a"))
    cache.put(b"b", given("b"))
    assert cache.get(b"a") == given("a")
    cache.put(b"c", given("c"))
    assert [cache.get(key) for key in (b"a", b"b", b"c")] == [given("a"), None, given("c")]
    assert (len(cache), cache.num_hits, cache.num_misses) == (2, 3, 1)


def test_the_bytes_are_bounded_as_well() -> None:
    cache = ResponseCache(100, max_bytes=5000)
    for number in range(20):
        cache.put(b"%d" % number, given("x" * 500))
        cache.put(b"0", given("x" * 500))
        assert cache.size_bytes <= 5000
    assert len(cache) == 5
    cache.put(b"large", given("x" * 5000))
    assert (len(cache), cache.size_bytes) == (0, 0)


def test_only_equal_requests_without_chance_have_a_common_key() -> None:
    asked = {"temperature": 0.0, "messages": ASK["messages"], "max_tokens": 8}
    again = dict(reversed([*asked.items(), ("stream", True), ("stream_options", {})]))
    assert cache_key(asked) == cache_key(again) != cache_key({**asked, "max_tokens": 7})
    assert cache_key({**asked, "temperature": 0.1}) is None


USAGE = {"prompt_tokens": 12, "completion_tokens": 2, "total_tokens": 14}


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("second", [False, True])
def test_an_answer_is_given_again_in_the_form_that_is_asked(
    spec: ModelServerSpec, first: bool, second: bool
) -> None:
    served = Served(serving(spec, response_cache_entries=4))
    options = {"stream_options": {"include_usage": True}} if second else {}
    asks = {**ASK, "stream": first}, {**ASK, "stream": second, **options, "user": "u2"}
    made, hit = served.post_each(*asks)
    assert "x-llm-assets-cache" not in made.headers
    assert hit.headers["x-llm-assets-cache"] == "hit"
    assert len(served.asked) == 1
    assert read(hit.text) == ("literature", "stop", USAGE)
    records = served.recorded
    assert [record.is_cached for record in records] == [False, True]
    assert [record.response for record in records] == ["literature"] * 2
    assert records[1].num_response_tokens == 2
    assert records[1].first_token_seconds is not None


def read(text: str) -> tuple[str, str, Any]:
    """Return text, finish reason, and usage of an answer, as JSON or as a stream."""
    is_stream = text.startswith("data: ")
    assert text.endswith("data: [DONE]\n\n") == is_stream
    objects = (
        [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
        if is_stream
        else [json.loads(text)]
    )
    choices = [choice for chunk in objects for choice in chunk["choices"]]
    parts = [choice.get("delta") or choice.get("message") or {} for choice in choices]
    content = "".join(part.get("content") or "" for part in parts)
    return content, choices[-1]["finish_reason"], objects[-1].get("usage")


@pytest.mark.parametrize(
    ("settings", "body", "headers"),
    [
        ({}, {}, {}),
        ({"response_cache_entries": 4}, {"temperature": 0.5}, {}),
        ({"response_cache_entries": 4}, {}, {"x-llm-assets-trial": "ab"}),
        ({"response_cache_entries": 4}, {}, {"x-llm-assets-variant": "shadow"}),
    ],
)
def test_nothing_is_given_again_by_default_by_chance_in_a_trial_or_to_a_shadow(
    spec: ModelServerSpec, settings: dict[str, Any], body: Any, headers: dict[str, str]
) -> None:
    served = Served(serving(spec, **settings))
    for response in served.post_each(*[{**ASK, **body}] * 2, headers=headers):
        assert "x-llm-assets-cache" not in response.headers
    assert len(served.asked) == 2


def test_an_answer_that_came_to_no_end_is_not_kept(spec: ModelServerSpec) -> None:
    calls = itertools.count()

    async def breaking(request: web.Request) -> web.StreamResponse:
        if next(calls) == 0:
            return await sent(request, [text_event("lite")], then="break")
        if next(calls) == 2:
            return await sent(request, [text_event("lite"), DONE])
        return await answer(request)

    served = Served(serving(spec, response_cache_entries=4), breaking)
    served.post_each(*[{**ASK, "stream": True}] * 3)
    assert len(served.asked) == 3


def test_a_failure_is_not_given_again(spec: ModelServerSpec) -> None:
    async def silent(_: web.Request) -> web.Response:
        return web.json_response(completion(""))

    served = Served(serving(spec, response_cache_entries=4), silent)
    assert [r.status_code for r in served.post_each(ASK, ASK)] == [502, 502]


def test_the_confidence_of_an_answer_is_kept_with_it(spec: ModelServerSpec) -> None:
    async def sure(_: web.Request) -> web.Response:
        logprobs = {"content": [{"token": "a", "logprob": 0.0}]}
        return web.json_response(completion(logprobs=logprobs))

    served = Served(serving(spec, response_cache_entries=4, record_confidence=True), sure)
    served.post_each(ASK, ASK)
    assert [record.confidence for record in served.recorded] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("settings", "headers", "expected"),
    [
        ({}, {}, True),
        ({"prefix_cache": False}, {}, False),
        ({}, {"x-llm-assets-trial": "canary"}, False),
        ({"cache_in_trials": True}, {"x-llm-assets-trial": "canary"}, True),
    ],
)
def test_the_engine_is_told_whether_it_may_use_the_common_beginning(
    spec: ModelServerSpec, settings: dict[str, Any], headers: dict[str, str], expected: bool
) -> None:
    served = Served(serving(spec, **settings))
    served.post(ASK, headers=headers)
    assert served.asked[0]["cache_prompt"] is expected


def test_a_trial_may_use_the_caches_if_the_application_says_so(spec: ModelServerSpec) -> None:
    served = Served(serving(spec, response_cache_entries=4, cache_in_trials=True))
    served.post_each(ASK, ASK, headers={"x-llm-assets-trial": "ab"})
    assert len(served.asked) == 1
