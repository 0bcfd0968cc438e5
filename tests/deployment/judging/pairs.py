"""Pairs for tests: the fields that a test does not speak of have a value already."""

import dataclasses
from typing import Any

from llm_assets.deployment.judging.pairs import Pair
from tests.records import TIME


def a_pair(request_id: str = "r1", **fields: Any) -> Pair:
    """Return a pair in which the challenger, and only it, names the desk in capitals."""
    pair = Pair(
        request_id=request_id,
        time=TIME,
        prompt="do you like tennis",
        messages=(),
        champion_answer=f"worse {request_id}",
        challenger_answer=f"BETTER {request_id}",
        champion_seconds=0.5,
        challenger_seconds=0.4,
        champion_first_token_seconds=None,
        challenger_first_token_seconds=None,
        champion_num_tokens=None,
        challenger_num_tokens=None,
        user_id=None,
    )
    return dataclasses.replace(pair, **fields)
