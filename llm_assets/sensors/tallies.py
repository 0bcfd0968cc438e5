"""Counts of days that are kept, because days that are over hardly ever change.

    run/tallies/<application>/<name>.json

Each count stands beside the fingerprint of what it was made from and is made again when that has
changed, so the files may be removed at any time, and whoever counts may replace them. The hash of
the base model is kept in the same way.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import msgspec

from llm_assets.storage import sha256_of, write_atomically

Counts = tuple[int, ...]


class _Tally(msgspec.Struct, array_like=True):
    fingerprint: str
    counts: Counts


class _Hash(msgspec.Struct):
    path: str
    size_bytes: int
    modified_at: int
    sha256: str


@dataclass(frozen=True)
class Tallies:
    """The kept counts of one application."""

    folder: Path

    def of(
        self,
        name: str,
        fingerprints: Mapping[date, str],
        count: Callable[[Sequence[date]], Mapping[date, Counts]],
    ) -> dict[date, Counts]:
        """Return the counts of the days that have fingerprints.

        `count` is asked for the days whose fingerprint is not the kept one. A day that it says
        nothing of has no counts: ().
        """
        path = self.folder / f"{name}.json"
        kept = _read(path)
        stale = [
            day
            for day, fingerprint in fingerprints.items()
            if day not in kept or kept[day].fingerprint != fingerprint
        ]
        made = count(stale) if stale else {}
        fresh = {day: _Tally(fingerprints[day], made.get(day, ())) for day in stale}
        tallies = {day: fresh.get(day) or kept[day] for day in fingerprints}
        if stale or len(kept) != len(tallies):
            write_atomically(path, msgspec.json.encode(tallies))
        return {day: tally.counts for day, tally in tallies.items()}

    def sha256_of(self, path: Path) -> str:
        """Return the SHA-256 of a large file; it is read again when its size or time changes."""
        kept_at, status = self.folder / "base_model.json", path.stat()
        now = (str(path), status.st_size, status.st_mtime_ns)
        try:
            kept = msgspec.json.decode(kept_at.read_bytes(), type=_Hash)
        except (FileNotFoundError, msgspec.DecodeError):
            kept = None
        if kept is None or (kept.path, kept.size_bytes, kept.modified_at) != now:
            kept = _Hash(*now, sha256_of(path))
            write_atomically(kept_at, msgspec.json.encode(kept))
        return kept.sha256


def _read(path: Path) -> dict[date, _Tally]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[date, _Tally])
    except (FileNotFoundError, msgspec.DecodeError):
        return {}  # they are counted again
