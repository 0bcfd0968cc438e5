"""What a container wrote, line by line, each with the time at which it came."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple


class Line(NamedTuple):
    """A line with its end, and when it came in nanoseconds."""

    time_ns: int
    text: bytes

    @property
    def stamped(self) -> bytes:
        """Return the line behind its time, in the kubelet's RFC 3339 with nine digits."""
        seconds, nanoseconds = divmod(self.time_ns, 10**9)
        day_and_time = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{day_and_time}.{nanoseconds:09}Z ".encode() + self.text


class ContainerLog:
    """A log that one thread writes and several may follow."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._is_closed = False
        self._written = threading.Condition()

    def append(self, text: bytes) -> None:
        """Add a line; a last one that has no end is given it."""
        with self._written:
            self._lines.append(Line(time.time_ns(), text.removesuffix(b"\n") + b"\n"))
            self._written.notify_all()

    def close(self) -> None:
        """Tell those who follow that nothing more comes."""
        with self._written:
            self._is_closed = True
            self._written.notify_all()

    def lines(self) -> list[Line]:
        """Return what there is."""
        with self._written:
            return list(self._lines)

    def follow(self) -> Iterator[list[Line]]:
        """Yield what there is, then what comes, until the log is closed."""
        num_read = 0
        while True:
            with self._written:
                self._written.wait_for(lambda seen=num_read: self._has_more_than(seen))
                lines, is_closed = self._lines[num_read:], self._is_closed
            num_read += len(lines)
            yield lines
            if is_closed:
                return

    def _has_more_than(self, num_read: int) -> bool:
        return self._is_closed or len(self._lines) > num_read
