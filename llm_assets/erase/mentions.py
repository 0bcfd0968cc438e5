"""Which of the files that erasing does not rewrite still hold something of the user.

Nothing puts a user's text into these files on purpose. Error messages of other libraries may, and
so did earlier versions of our own assets.
"""

import json
from collections.abc import Iterable
from pathlib import Path

_FOLDERS = ("dagster", "run/logs", "run/models", "registry", "gateway")
# What is shorter turns up by chance; more of them would take too long to look for.
_MIN_CHARACTERS = 12
_MAX_NEEDLES = 500


def still_mentioning(home: Path, words: Iterable[str]) -> list[Path]:
    """Return the files of Dagster and of the processes' logs that hold a user's id or text.

    The 500 longest are looked for, as they are and as JSON writes them.
    """
    long_enough = [word for word in set(words) if len(word) >= _MIN_CHARACTERS]
    chosen = sorted(long_enough, key=len, reverse=True)[:_MAX_NEEDLES]
    needles = {text.encode("utf-8", "surrogatepass") for text in chosen}
    needles |= {json.dumps(text)[1:-1].encode() for text in chosen}
    files = (path for name in _FOLDERS for path in sorted((home / name).rglob("*")))
    return [path for path in files if path.is_file() and _holds_any(path, needles)]


def _holds_any(path: Path, needles: set[bytes]) -> bool:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return False  # a process has ended and taken it along
    return any(needle in content for needle in needles)
