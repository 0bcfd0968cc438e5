"""The demonstration's progress: which stage runs, how far it is, and the time left.

The estimate starts from the seconds that each stage took on a machine with two idle cores and is
corrected by how long the stages so far really took.
"""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

_LINE_EVERY_SECONDS = 15.0


class Progress:
    """Prints to a terminal as one changing line, to a file as a line now and then."""

    def __init__(self, expected_seconds: Mapping[str, float], *, stream: TextIO = sys.stderr):
        self._expected = dict(expected_seconds)
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._seconds: dict[str, float] = {}
        self._stage = ""
        self._started_at = 0.0
        self._last_line_at = 0.0

    @property
    def seconds(self) -> dict[str, float]:
        """What each finished stage took."""
        return dict(self._seconds)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage; its name must be one of those that were expected."""
        assert name in self._expected
        self._stage, self._started_at = name, time.monotonic()
        self._last_line_at = 0.0
        self.show()
        yield
        self._seconds[name] = time.monotonic() - self._started_at
        self._print(f"{self._prefix()} {name}: {self._seconds[name]:.0f} s", is_final=True)

    def show(self, detail: str = "", *, fraction: float | None = None) -> None:
        """Say how far the stage is; `fraction` of it is done, if that is known."""
        now = time.monotonic()
        if not self._is_terminal and now - self._last_line_at < _LINE_EVERY_SECONDS:
            return
        self._last_line_at = now
        left = self.seconds_left(fraction=fraction)
        text = f"{self._prefix()} {self._stage}" + (f": {detail}" if detail else "")
        self._print(f"{text} (about {_duration(left)} left)", is_final=False)

    def seconds_left(self, *, fraction: float | None = None) -> float:
        """Return the estimate for everything that is not done yet."""
        done = sum(self._expected[name] for name in self._seconds)
        # A machine that has been slower so far is taken to stay so.
        pace = sum(self._seconds.values()) / done if done > 20 else 1.0
        expected = self._expected[self._stage] * pace
        elapsed = time.monotonic() - self._started_at
        if fraction is not None and fraction > 0.05:
            stage_left = elapsed / fraction * (1 - fraction)
        else:
            stage_left = max(expected - elapsed, 0.05 * expected)
        names = list(self._expected)
        later = names[names.index(self._stage) + 1 :]
        return stage_left + pace * sum(self._expected[name] for name in later)

    def _prefix(self) -> str:
        names = list(self._expected)
        return f"[{names.index(self._stage) + 1}/{len(names)}]"

    def _print(self, text: str, *, is_final: bool) -> None:
        if self._is_terminal:
            print(f"\r\x1b[K{text}", end="\n" if is_final else "", file=self._stream, flush=True)
        else:
            print(text, file=self._stream, flush=True)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(5, round(seconds / 5) * 5)} s"
    return f"{round(seconds / 60)} min"
