import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from llm_assets.training.sweep import halving

LOSSES = st.floats(min_value=0, max_value=10) | st.just(math.inf)


@st.composite
def plans(draw: st.DrawFn) -> list[halving.Rung]:
    """Return the rungs of some sweep whose budget allows each trial a step."""
    num_trials, eta = draw(st.integers(2, 40)), draw(st.integers(2, 5))
    least = len(halving.sizes(num_trials, eta=eta)) * num_trials
    max_steps = least + draw(st.integers(0, 2000))
    most_steps = draw(st.integers(1, 500))
    rungs = halving.rungs(num_trials, eta=eta, max_steps=max_steps, most_steps=most_steps)
    assert sum(rung.num_trials * rung.num_steps for rung in rungs) <= max_steps
    assert all(1 <= rung.num_steps <= most_steps for rung in rungs)
    return rungs


@given(plans())
def test_every_rung_has_fewer_trials_than_the_one_before_and_more_steps(
    rungs: list[halving.Rung],
) -> None:
    assert rungs[-1].num_trials >= 2
    for before, after in itertools.pairwise(rungs):
        assert after.num_trials < before.num_trials
        assert after.num_steps > before.num_steps


@given(plans(), st.data())
def test_the_winner_has_the_lowest_loss_of_the_last_rung_within_the_budget(
    rungs: list[halving.Rung], data: st.DataObject
) -> None:
    tried: list[tuple[int, int]] = []

    def loss_of(trial: int, rung: int) -> float:
        tried.append((trial, rung))
        return data.draw(LOSSES)

    seen = halving.halve(rungs, loss_of)
    assert len(set(tried)) == len(tried)
    for losses, rung in zip(seen, rungs, strict=False):
        assert 1 <= len(losses) <= rung.num_trials
    best = halving.winner(seen)
    last = seen[-1]
    if any(map(math.isfinite, last.values())):
        assert best is not None
        assert last[best] == min(last.values())
    if all(map(math.isinf, seen[0].values())):
        assert best is None


@given(plans(), st.data())
def test_what_is_configured_stays_as_long_as_it_can_be_trained(
    rungs: list[halving.Rung], data: st.DataObject
) -> None:
    seen = halving.halve(rungs, lambda trial, _: 10.0 if trial == 0 else data.draw(LOSSES))
    assert all(halving.CONFIGURED in losses for losses in seen)


@given(st.lists(st.floats(0, 10), min_size=2, max_size=12), st.integers(2, 11))
def test_beside_what_is_configured_the_lowest_losses_stay(losses: list[float], number: int) -> None:
    by_trial = dict(enumerate(losses))
    stay = halving.staying(by_trial, number=number)
    gone = by_trial.keys() - stay
    assert len(stay) == min(number, len(losses))
    others = [by_trial[trial] for trial in stay if trial != halving.CONFIGURED]
    assert all(by_trial[trial] >= max(others) for trial in gone)


def test_a_trial_that_cannot_be_trained_does_not_stay_and_leaves_its_place_to_no_one_worse() -> (
    None
):
    rungs = halving.rungs(4, eta=2, max_steps=100, most_steps=100)
    losses = {0: math.inf, 1: 2.0, 2: math.inf, 3: math.inf}
    seen = halving.halve(rungs, lambda trial, _: losses[trial])
    assert seen == [losses]
    assert halving.winner(seen) == 1


def test_of_equal_losses_the_configured_one_wins() -> None:
    assert halving.winner([{0: 1.0, 1: 1.0}]) == 0


def test_who_fails_in_the_last_rung_alone_falls_back_on_the_rung_before() -> None:
    assert halving.winner([{0: 2.0, 1: 1.0, 2: 3.0}, {0: math.inf, 1: math.inf}]) == 1


SPACES = st.dictionaries(
    st.sampled_from("abc"), st.lists(st.integers(0, 4), min_size=1, max_size=5), min_size=1
)


@given(SPACES, st.integers(2, 30), st.integers(0, 9))
def test_the_same_seed_draws_the_same_trials_and_none_twice(
    space: dict[str, list[int]], num_trials: int, seed: int
) -> None:
    configured = dict.fromkeys(space, 0)

    def drawn() -> list[halving.Hyperparameters]:
        return halving.draw(
            configured, space, num_trials=num_trials, seed=seed, is_allowed=lambda _: True
        )

    trials = drawn()
    assert trials == drawn()
    assert trials[0] == configured
    every = {tuple(values) for values in itertools.product(*space.values())}
    every.add(tuple(configured.values()))
    found = [tuple(trial[key] for key in space) for trial in trials]
    assert len(found) == len(set(found)) == min(num_trials, len(every))
    assert set(found) <= every


def test_another_seed_draws_other_trials() -> None:
    space = {"r": list(range(1, 50))}
    first, second = (
        halving.draw({"r": 0}, space, num_trials=8, seed=seed, is_allowed=lambda _: True)
        for seed in (1, 2)
    )
    assert first != second


def test_a_combination_that_is_not_allowed_is_not_drawn_and_a_huge_space_costs_no_time() -> None:
    space = {name: list(range(1000)) for name in "abcdefgh"}
    configured = dict.fromkeys(space, 0)
    trials = halving.draw(
        configured, space, num_trials=9, seed=0, is_allowed=lambda trial: trial["a"] % 2 == 1
    )
    assert len(trials) == 9
    assert all(trial["a"] % 2 == 1 for trial in trials[1:])
