"""How often the loop looks, when looks cost something."""

import itertools
from collections.abc import Iterator, Sequence

import pytest

from llm_assets.installation import Installation
from llm_assets.rollouts.watch import RolloutWatch

STEP_SECONDS = 0.1


def pauses(installation: Installation, costs: Sequence[float]) -> list[float]:
    """Return the time after each look until the next, where looks cost so many seconds."""
    now, looked_at = 0.0, []

    def efforts() -> Iterator[float]:
        total = 0.0
        for cost in costs:
            looked_at.append(now)
            yield total
            total += cost
            yield total

    effort = efforts()
    watch = RolloutWatch(installation, timer=lambda: now, effort=lambda: next(effort))
    while len(looked_at) < len(costs):
        watch.look()
        now += STEP_SECONDS
    return [after - before for before, after in itertools.pairwise(looked_at)]


def test_cheap_looks_come_every_half_second(installation: Installation) -> None:
    assert pauses(installation, [0.01] * 4) == pytest.approx([0.5] * 3, abs=STEP_SECONDS)


def test_costly_looks_take_a_tenth_of_the_time(installation: Installation) -> None:
    assert pauses(installation, [0.3] * 4)[1:] == pytest.approx([3.0] * 2, abs=STEP_SECONDS)


def test_a_look_that_is_costly_once_makes_the_next_no_later(installation: Installation) -> None:
    found = pauses(installation, [0.01, 2.0, 0.01, 0.01])
    assert found == pytest.approx([0.5] * 3, abs=STEP_SECONDS)
