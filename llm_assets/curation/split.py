"""Which split a prompt belongs to, for ever."""

import hashlib
from collections.abc import Collection

from llm_assets.curation.config import CurationConfig


def split_of(
    normalised: str, *, config: CurationConfig, held_out: Collection[str] = frozenset()
) -> str:
    """Return `holdout`, `validation` or `train` for a normalised prompt.

    It depends on nothing but the prompt, so a holdout prompt is never trained on by any version.
    Prompts that are `held_out` for another reason are so from then on.

    >>> split_of("what is a quark", config=CurationConfig())
    'holdout'
    """
    if normalised in held_out:
        return "holdout"
    digest = hashlib.sha256(f"{config.split_salt}\0{normalised}".encode("utf-8", "surrogatepass"))
    place = int.from_bytes(digest.digest()[:8], "big") / 2**64
    if place < config.holdout_rate:
        return "holdout"
    return "validation" if place < config.holdout_rate + config.validation_rate else "train"
