"""Are other words used? The mix of tokens, and the share of tokens that were never seen.

A token is a word in lower case, a number whatever its value, or one character of a script that
is written without spaces. It counts once a text, and of a text only the start is read: a pasted
file must not outweigh a day.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import polars as pl

from llm_assets.drift.detectors.calibration import Measured, Undefined, calibrate
from llm_assets.drift.detectors.js_divergence import DECIMALS, divergence
from llm_assets.drift.detectors.relabelling import sums
from llm_assets.intervals import Z_95, Interval, wilson

if TYPE_CHECKING:
    from scipy import sparse

_MAX_CHARACTERS = 2000
_MAX_VOCABULARY = 2000
_SAME_SHARE = 1e-9
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}"
_TOKEN = rf"[{_UNSPACED}]|[\w--[{_UNSPACED}]]+"


@dataclass(frozen=True, eq=False)
class Words:
    """Which tokens which texts hold: parallel columns `text` (its number) and `token`."""

    num_texts: int
    table: pl.DataFrame

    @classmethod
    def of(cls, texts: Sequence[str]) -> Self:
        """Find the tokens of each text.

        >>> Words.of(["Order 4711 is late, late!"]).table["token"].to_list()
        ['order', '0', 'is', 'late']
        """
        tokens = (
            pl.Series("token", texts, dtype=pl.String)
            .str.slice(0, _MAX_CHARACTERS)
            .str.normalize("NFKC")
            .str.to_lowercase()
            .str.replace_all(r"\d+", "0")
            .str.extract_all(_TOKEN)
        )
        table = pl.DataFrame({"text": np.arange(len(texts), dtype=np.int32), "token": tokens})
        table = table.explode("token").drop_nulls().unique(maintain_order=True)
        return cls(len(texts), table)

    @functools.cached_property
    def numbered(self) -> pl.DataFrame:
        """A number for every distinct token, in alphabetical order."""
        return self.table.select(pl.col("token").unique().sort()).with_row_index("number")

    @functools.cached_property
    def numbers(self) -> np.ndarray:
        """The number of the token of each row."""
        return self.table.join(self.numbered, on="token", how="left", maintain_order="left")[
            "number"
        ].to_numpy()


class Pool(NamedTuple):
    """The texts of both sides, the day's first, and the tokens that each of them holds.

    `presence` is 1 where a text holds a token, shape (texts, tokens).
    """

    presence: "sparse.csr_array"
    num_current: int


def pool(current: Words, reference: Words) -> Pool:
    """Put the tokens of a day and of its reference under one numbering."""
    from scipy import sparse

    known = reference.numbered
    joined = current.table.join(known, on="token", how="left", maintain_order="left")
    unknown = (
        joined.filter(pl.col("number").is_null())
        .select(pl.col("token").unique().sort())
        .with_row_index("new", offset=known.height)
    )
    numbers = joined.join(unknown, on="token", how="left", maintain_order="left").select(
        pl.coalesce("number", "new")
    )["number"]
    tokens = np.concatenate([numbers.to_numpy(), reference.numbers])
    num_texts = current.num_texts + reference.num_texts
    texts = np.concatenate([current.table["text"], reference.table["text"] + current.num_texts])
    starts = np.searchsorted(texts, np.arange(num_texts + 1))
    shape = (num_texts, known.height + unknown.height)
    ones = np.ones(len(tokens), np.float32)
    return Pool(sparse.csr_array((ones, tokens, starts), shape=shape), current.num_texts)


def token_js(pooled: Pool, labels: np.ndarray, *, false_alarm_rate: float) -> Measured:
    """Compare the mixes of tokens: the frequent ones, and one bucket for all the rare.

    The frequent tokens are those of both sides together, so that finding them favours neither.
    The score is in bits; the effect size is the score less what chance gives on average.
    """
    reason = _undefined(pooled)
    if reason is not None:
        return reason
    result = divergence(_with_rare_bucket(pooled.presence), labels)
    return calibrate(
        result.score,
        result.null,
        false_alarm_rate=false_alarm_rate,
        interval=result.interval,
        effect_size=result.score - float(result.null.mean()),
    )


def out_of_vocabulary(pooled: Pool, labels: np.ndarray, *, false_alarm_rate: float) -> Measured:
    """Average over the texts the share of their tokens that no text of the reference holds.

    Texts without a token count as 0. What the reference would score against itself comes from the
    null, in which a token is unseen when all texts that hold it were dealt to the day: for single
    texts that is leaving one out. The effect size is the share beyond what chance gives.
    """
    reason = _undefined(pooled)
    if reason is not None:
        return reason
    presence = pooled.presence
    num_current = pooled.num_current
    num_tokens = np.asarray(presence.sum(axis=1), np.float64)
    weights = 1 / np.maximum(num_tokens, 1)
    num_texts = np.asarray(presence.sum(axis=0), np.float64)
    token_weights = presence.T @ weights
    scores = np.concatenate(
        [token_weights @ (chunk == num_texts[:, None]) for chunk in sums(presence, labels)]
    )
    scores = np.round(scores / num_current, DECIMALS)
    seen = presence[num_current:].sum(axis=0) > 0
    shares = (presence[:num_current] @ (~seen).astype(np.float64)) * weights[:num_current]
    return calibrate(
        float(scores[0]),
        scores[1:],
        false_alarm_rate=false_alarm_rate,
        interval=_mean_interval(float(scores[0]), shares),
        effect_size=float(scores[0] - scores[1:].mean()),
    )


def _undefined(pooled: Pool) -> Undefined | None:
    sides = {
        "texts of the window": pooled.presence[: pooled.num_current],
        "texts of the reference": pooled.presence[pooled.num_current :],
    }
    for name, side in sides.items():
        if side.nnz == 0:
            return Undefined(f"none of the {side.shape[0]} {name} hold a word")
    return None


def _with_rare_bucket(presence: "sparse.csr_array") -> "sparse.csr_array":
    from scipy import sparse

    num_texts = np.asarray(presence.sum(axis=0))
    least = 2.0
    if len(num_texts) > _MAX_VOCABULARY:
        # Ties at the cut are all rare: a choice among them would depend on who came first.
        least = max(least, float(np.sort(num_texts)[-_MAX_VOCABULARY - 1]) + 1)
    is_frequent = num_texts >= least
    columns = np.where(is_frequent, np.cumsum(is_frequent), 0)
    shape = (len(presence.indptr) - 1, 1 + int(is_frequent.sum()))
    return sparse.csr_array(
        (presence.data, columns[presence.indices], presence.indptr), shape=shape
    )


def _mean_interval(mean: float, shares: np.ndarray) -> Interval:
    """Return the normal interval of a mean of shares.

    Where all are alike that has no width, and so it is Wilson's, which allows for the most that
    shares of this mean can vary.
    """
    n = len(shares)
    if np.ptp(shares) < _SAME_SHARE:
        return wilson(round(mean * n), n)
    half = Z_95 * float(np.std(shares, ddof=1)) / math.sqrt(n)
    return Interval(max(0.0, mean - half), min(1.0, mean + half))
