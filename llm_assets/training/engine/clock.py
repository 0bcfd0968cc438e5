"""Time and energy of a training, over all its attempts and in this one."""

import time

from llm_assets.training.energy import Meter
from llm_assets.training.engine.checkpoints import Progress


class Clock:
    """Adds to a progress what passes; the first look is when the process starts to prepare."""

    def __init__(self, meter: Meter, *, world_size: int) -> None:
        self._meter = meter
        self._world_size = world_size
        self._last = self._now()
        self._steps_began: float | None = None
        self._steps_before = 0
        self._tokens_before = 0

    def begin_steps(self, progress: Progress) -> None:
        """Note that the steps of this attempt begin."""
        self._steps_began = time.monotonic()
        self._steps_before = progress.step
        self._tokens_before = progress.num_tokens

    def tokens_per_second(self, progress: Progress) -> float:
        """Return how many tokens this attempt has seen a second."""
        return (progress.num_tokens - self._tokens_before) / self._seconds_of_steps()

    def seconds_left(self, progress: Progress, num_steps: int) -> float:
        """Return how long the steps that are left take if they take as long as those before."""
        num_taken = progress.step - self._steps_before
        return self._seconds_of_steps() / num_taken * (num_steps - progress.step)

    def tick(self, progress: Progress) -> None:
        """Add what has passed since the last look."""
        now = self._now()
        seconds, cpu_seconds, joules = (new - old for new, old in zip(now, self._last, strict=True))
        progress.seconds += seconds
        if self._steps_began is not None:
            progress.seconds_of_steps += now[0] - max(self._steps_began, self._last[0])
        progress.cpu_seconds += self._world_size * cpu_seconds  # all processes work alike
        progress.energy_joules += joules
        self._last = now

    def _seconds_of_steps(self) -> float:
        assert self._steps_began is not None
        return time.monotonic() - self._steps_began

    def _now(self) -> tuple[float, float, float]:
        return time.monotonic(), time.process_time(), self._meter.joules()
