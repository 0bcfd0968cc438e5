"""When two texts count as the same."""

import re
import unicodedata


def normalise(text: str) -> str:
    """Return what a text has in common with its copies: no case, punctuation or extra space.

    This finds copies that differ in writing only. Texts that say the same in other words, or
    with one word more, stay different. A text of nothing but punctuation keeps it.

    >>> normalise("What's  a *Quark*?")
    'what s a quark'
    >>> normalise("?!")
    '?!'
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    words = re.sub(r"[^\w\s]|_", " ", plain).split()
    return " ".join(words or plain.split())
