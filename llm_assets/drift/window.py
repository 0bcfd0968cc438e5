"""The prompts of a day that are looked at."""

import hashlib

import polars as pl


def window(interactions: pl.DataFrame, *, max_prompts: int) -> pl.DataFrame:
    """Return the interactions whose prompt is not blank, at most so many of them, in their order.

    Of more, those are drawn whose request id has the lowest hash: a fair draw that is the same
    every time, whatever else has arrived, so only what is looked at has to be embedded. A fixed
    size also keeps a change that nobody would notice from being flagged just because the day was
    busy.
    """
    prompt = pl.col("prompt")
    asked = interactions.filter(prompt.is_not_null() & (prompt.str.strip_chars() != ""))
    if asked.height <= max_prompts:
        return asked
    order = pl.Series([_order(request_id) for request_id in asked["request_id"]], dtype=pl.Binary)
    drawn = order.arg_sort()[:max_prompts].sort()
    return asked[drawn]


def _order(request_id: str) -> bytes:
    return hashlib.blake2b(request_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
