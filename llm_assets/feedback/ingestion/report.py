"""What became of the units of the files, for programs and for people."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

_MAX_REASONS = 10
_MAX_COUNTED_REASONS = 1000  # of one rule, unless a format tells values with it


@dataclass
class IngestReport:
    """Counts of records, and of units that could not be read by the rule that they break.

    `damages` tells of each place where a file could not be read on, or only after a gap.
    """

    num_accepted: int = 0
    num_duplicates: int = 0
    num_passed_over: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    quarantine_files: list[Path] = field(default_factory=list)
    damages: list[str] = field(default_factory=list)
    dates: set[date] = field(default_factory=set)
    seconds: float = 0.0

    def count_reason(self, rule: str) -> None:
        """Count one unit, or part of one, that could not be read."""
        is_counted = rule in self.reasons or len(self.reasons) < _MAX_COUNTED_REASONS
        self.reasons[rule if is_counted else "other reasons"] += 1

    @property
    def num_quarantined(self) -> int:
        """How many units, or parts of them, could not be read."""
        return self.reasons.total()

    @property
    def is_in_vain(self) -> bool:
        """Whether there was something, and none of it could be read."""
        num_read = self.num_accepted + self.num_duplicates + self.num_passed_over
        return self.num_quarantined > 0 and num_read == 0

    @property
    def rows_per_second(self) -> float:
        """Records that were read, new or not, by the time that it took."""
        return (self.num_accepted + self.num_duplicates) / max(self.seconds, 1e-9)

    def to_fields(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        return {
            "accepted": self.num_accepted,
            "duplicates": self.num_duplicates,
            "passed_over": self.num_passed_over,
            "quarantined": self.num_quarantined,
            "reasons": dict(self.reasons.most_common()),
            "quarantine_files": list(map(str, self.quarantine_files)),
            "days": len(self.dates),
            "seconds": round(self.seconds, 3),
            "rows_per_second": round(self.rows_per_second),
        }

    def describe(self) -> str:
        """Return the report as a few lines of text."""
        span = f" from {min(self.dates)} to {max(self.dates)}" if self.dates else ""
        lines = [
            f"{self.num_accepted} accepted, {self.num_duplicates} duplicates, "
            f"{self.num_passed_over} passed over, {self.num_quarantined} quarantined, "
            f"{len(self.dates)} days{span}, "
            f"in {self.seconds:.1f} s ({self.rows_per_second:.0f} rows/s)"
        ]
        shown = self.reasons.most_common()
        if len(shown) > _MAX_REASONS:
            shown = shown[: _MAX_REASONS - 1]
            rest = self.num_quarantined - sum(count for _, count in shown)
            shown.append((f"for {len(self.reasons) - len(shown)} reasons more", rest))
        lines += [f"  {count} {reason}" for reason, count in shown]
        if self.quarantine_files:
            more = len(self.quarantine_files) - 1
            others = f" and {more} more beside it" if more else ""
            lines.append(f"quarantine: {self.quarantine_files[0]}{others}")
        return "\n".join(lines)
