from collections.abc import Callable, Sequence

from llm_assets.assets.progress import with_progress


def a_clock(times: Sequence[float]) -> Callable[[], float]:
    remaining = iter(times)
    return lambda: next(remaining)


def test_it_is_told_every_ten_seconds_how_much_is_left() -> None:
    told: list[str] = []
    clock = a_clock([0, 0, 4, 12, 14, 23])
    items = list(with_progress(range(5), told.append, noun="days scored", clock=clock))
    assert items == [0, 1, 2, 3, 4]
    assert told == [
        "2 of 5 days scored, about 18 s left",
        "4 of 5 days scored, about 6 s left",
    ]


def test_short_work_tells_nothing() -> None:
    told: list[str] = []
    assert list(with_progress("ab", told.append, noun="days", clock=a_clock([0, 0, 3]))) == [
        "a",
        "b",
    ]
    assert told == []
