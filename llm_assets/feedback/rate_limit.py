"""How fast one client may send."""

from dataclasses import dataclass


@dataclass
class Bucket:
    """A token bucket that may be overdrawn once: `rate` units a second, `burst` at a time.

    The cost of a request is known only after it was read. So a request may start while there is
    no debt and takes what it costs, however much that is; the next one waits until the debt is
    paid. Times are monotonic seconds.

    >>> bucket = Bucket(rate=10.0, burst=20.0, level=20.0, at=0.0)
    >>> bucket.take(50, now=0.0)
    >>> bucket.wait_seconds(now=1.0), bucket.wait_seconds(now=3.5)
    (2.0, 0.0)
    """

    rate: float
    burst: float
    level: float
    at: float

    def take(self, num_units: float, *, now: float) -> None:
        """Take units; the level may fall below zero."""
        self._refill(now)
        self.level -= num_units

    def wait_seconds(self, *, now: float) -> float:
        """Return how long a request has to wait, 0 where it may start."""
        self._refill(now)
        return max(0.0, -self.level) / self.rate

    def _refill(self, now: float) -> None:
        self.level = min(self.burst, self.level + (now - self.at) * self.rate)
        self.at = now
