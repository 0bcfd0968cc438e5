"""Texts for continued pretraining, which come from a file and not from feedback."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from llm_assets.errors import UserError
from llm_assets.training.rows import read_frame

if TYPE_CHECKING:
    import polars as pl


def read_texts(path: Path, *, validation_rate: float) -> "pl.DataFrame":
    """Return the texts of a file with their split; where it has none, each text decides its own.

    Raises:
        UserError: the file cannot be read or has no column `text`.
    """
    import polars as pl

    frame = read_frame(path)
    if "text" not in frame.columns:
        raise UserError(f"{path}: column 'text' is missing")
    if "split" in frame.columns:
        return frame.select("text", "split")
    splits = ["validation" if _place(text) < validation_rate else "train" for text in frame["text"]]
    return frame.select("text", split=pl.Series(splits, dtype=pl.String))


def _place(text: str | None) -> float:
    """Return a number from 0 to 1 that is the same for the same text."""
    digest = hashlib.sha256(str(text).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) / 2**64
