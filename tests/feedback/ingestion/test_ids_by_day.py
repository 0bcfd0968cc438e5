from collections.abc import Iterator
from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from llm_assets.feedback.ingestion.ids_by_day import DigestSet, IdsByDay
from llm_assets.feedback.ingestion.rows import Day, digest_of
from llm_assets.feedback.log import LogKind

DIGESTS = st.lists(st.integers(0, 50).map(lambda number: digest_of(str(number))), max_size=30)


@given(st.lists(DIGESTS))
def test_the_digests_are_a_set(calls: list[list[bytes]]) -> None:
    ours, theirs = DigestSet(), set[bytes]()
    for digests in calls:
        expected: list[bool] = []
        for digest in digests:
            expected.append(digest not in theirs)
            theirs.add(digest)
        assert ours.add(digests) == expected
        assert len(ours) == len(theirs)


def day(number: int) -> Day:
    return Day(LogKind.INTERACTIONS, date(2026, 3, number))


def test_a_day_that_was_forgotten_is_read_again() -> None:
    log: dict[Day, list[bytes]] = {}
    reads: list[Day] = []

    def read(asked: Day) -> Iterator[bytes]:
        reads.append(asked)
        return iter(log.get(asked, []))

    known = IdsByDay(read, max_ids=2)
    for number in (1, 2, 3, 1):
        digests = [digest_of(f"{number}-{i}") for i in range(2)]
        assert known.add(day(number), digests) == [number not in [d.date.day for d in log]] * 2
        log[day(number)] = digests
        known.forget()
    assert reads == [day(1), day(2), day(3), day(1)]


def test_a_day_alone_is_never_forgotten() -> None:
    known = IdsByDay(lambda _: iter(()), max_ids=2)
    digests = [digest_of(str(i)) for i in range(100)]
    assert all(known.add(day(1), digests))
    known.forget()
    assert not any(known.add(day(1), digests))
