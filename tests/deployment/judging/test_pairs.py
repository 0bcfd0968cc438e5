from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.deployment.judging.pairs import Pairing
from llm_assets.records import FALLBACK_VARIANT, Interaction
from tests.records import TIME, an_interaction

CHAMPION = an_interaction("r1", response="sports", latency_seconds=0.5, user_id="u1")
SHADOW = an_interaction(
    "r1", variant="shadow", response="trivia", latency_seconds=0.7, first_token_seconds=0.1
)


def test_a_pair_has_what_both_versions_answered_to_a_request() -> None:
    (pair,) = Pairing().take([CHAMPION, SHADOW], now=TIME)
    assert (pair.request_id, pair.prompt, pair.user_id) == ("r1", CHAMPION.prompt, "u1")
    assert (pair.champion_answer, pair.challenger_answer) == ("sports", "trivia")
    assert (pair.champion_seconds, pair.challenger_seconds) == (0.5, 0.7)
    assert (pair.champion_first_token_seconds, pair.challenger_first_token_seconds) == (None, 0.1)


def test_the_halves_may_come_apart_and_in_either_order() -> None:
    pairing = Pairing()
    assert pairing.take([SHADOW], now=TIME) == []
    (pair,) = pairing.take([CHAMPION], now=TIME)
    assert pair.champion_answer == "sports"


def test_seconds_of_an_answer_from_a_cache_say_nothing() -> None:
    cached = an_interaction("r1", latency_seconds=0.0, first_token_seconds=0.0, is_cached=True)
    (pair,) = Pairing().take([cached, SHADOW], now=TIME)
    assert pair.champion_seconds is pair.champion_first_token_seconds is None
    assert pair.challenger_seconds == 0.7


@pytest.mark.parametrize(
    ("champion", "shadow", "num_shadow_failures"),
    [
        ({}, {"status": 500}, 1),
        ({}, {"status": 503}, 1),
        ({}, {"response": " \n"}, 1),
        ({}, {"status": 400}, 0),
        ({"status": 500}, {}, 0),
        ({"response": ""}, {}, 0),
        ({"variant": FALLBACK_VARIANT}, {}, 0),
        ({"status": 500}, {"status": 500}, 1),
    ],
)
def test_what_is_no_answer_makes_no_pair_and_a_shadows_failure_is_counted(
    champion: dict[str, object], shadow: dict[str, object], num_shadow_failures: int
) -> None:
    halves = [
        an_interaction("r1", **champion),
        an_interaction("r1", **{"variant": "shadow"} | shadow),
    ]
    for order in (halves, halves[::-1]):
        pairing = Pairing()
        assert pairing.take(order, now=TIME) == []
        assert pairing.counts.num_unusable == pairing.counts.num_shadows == 1
        assert pairing.counts.num_shadow_failures == num_shadow_failures


def test_a_shadow_that_failed_is_counted_before_its_champion_comes() -> None:
    pairing = Pairing()
    pairing.take([an_interaction("r1", variant="shadow", status=500)], now=TIME)
    assert pairing.counts.num_shadow_failures == 1


def test_where_too_many_wait_the_oldest_are_forgotten() -> None:
    pairing = Pairing(capacity=2)
    pairing.take([an_interaction(f"r{n}") for n in range(3)], now=TIME)
    shadows = [an_interaction(f"r{n}", variant="shadow") for n in (1, 2)]
    assert [pair.request_id for pair in pairing.take(shadows, now=TIME)] == ["r1", "r2"]
    assert pairing.counts.num_crowded_out == 1


def test_what_waits_too_long_is_forgotten() -> None:
    pairing = Pairing(patience=timedelta(minutes=1))
    pairing.take([CHAMPION], now=TIME)
    assert pairing.take([SHADOW], now=TIME + timedelta(seconds=61)) == []
    assert pairing.counts.num_expired == pairing.counts.num_waiting == 1


@st.composite
def arrivals(draw: st.DrawFn) -> list[Interaction]:
    """Return interactions in any order, some without their other half, some twice."""
    variants = st.sets(st.sampled_from(["champion", "shadow"]), min_size=1)
    statuses = st.sampled_from([200, 200, 200, 400, 500])
    halves = [
        an_interaction(f"r{number}", variant=variant, status=draw(statuses))
        for number, of_request in enumerate(draw(st.lists(variants, max_size=20)))
        for variant in sorted(of_request)
    ]
    again = draw(st.lists(st.sampled_from(halves), max_size=10)) if halves else []
    return draw(st.permutations(halves + again))


@given(arrivals(), st.integers(1, 7))
def test_in_any_order_each_pair_is_made_once_and_nothing_is_lost(
    interactions: list[Interaction], step: int
) -> None:
    pairing = Pairing()
    pairs = [
        pair
        for start in range(0, len(interactions), step)
        for pair in pairing.take(interactions[start : start + step], now=TIME)
    ]
    statuses: dict[str, dict[str, int]] = {}
    for each in interactions:
        statuses.setdefault(each.request_id, {})[each.variant] = each.status
    expected = {
        request_id for request_id, both in statuses.items() if [*both.values()] == [200, 200]
    }
    assert sorted(pair.request_id for pair in pairs) == sorted(expected)
    shadows = [both["shadow"] for both in statuses.values() if "shadow" in both]
    counts = pairing.counts
    assert counts.num_waiting == sum(len(both) == 1 for both in statuses.values())
    assert (counts.num_shadows, counts.num_shadow_failures) == (len(shadows), shadows.count(500))


@given(arrivals(), st.integers(1, 4))
def test_every_interaction_is_accounted_for_within_any_bound(
    interactions: list[Interaction], capacity: int
) -> None:
    once = list({each.record_id: each for each in interactions}.values())
    pairing = Pairing(capacity=capacity)
    pairs = pairing.take(once, now=TIME)
    counts = pairing.counts
    assert counts.num_waiting <= capacity
    assert counts.num_pairs == len(pairs) == len({pair.request_id for pair in pairs})
    told = 2 * (counts.num_pairs + counts.num_unusable) + counts.num_waiting
    assert told + counts.num_crowded_out == len(once)
