"""The ids that the log holds, a day at a time as days come up; 16 bytes each."""

from collections import OrderedDict
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from llm_assets.feedback.ingestion.rows import Day

_MAX_IDS = 8_000_000  # 128 MB
_Words = npt.NDArray[np.uint64]


class IdsByDay:
    """Says which ids are new on their day.

    `read` gives the digests of the ids that the log holds of a day. The days that were not asked
    for the longest are forgotten when there are more than `max_ids` ids.
    """

    def __init__(self, read: Callable[[Day], Iterable[bytes]], *, max_ids: int = _MAX_IDS) -> None:
        self._read = read
        self._max_ids = max_ids
        self._days: OrderedDict[Day, DigestSet] = OrderedDict()

    def add(self, day: Day, digests: Iterable[bytes]) -> list[bool]:
        """Remember ids; return for each of them whether it is new."""
        known = self._days.get(day)
        if known is None:
            known = self._days[day] = DigestSet()
            known.add(self._read(day))
        self._days.move_to_end(day)
        return known.add(digests)

    def forget(self) -> None:
        """Make room; what was added before must be in the log by now."""
        num_ids = sum(map(len, self._days.values()))
        while num_ids > self._max_ids and len(self._days) > 1:
            num_ids -= len(self._days.popitem(last=False)[1])


class DigestSet:
    """A set of digests of 16 bytes, as sorted arrays of which each is over twice the next."""

    def __init__(self) -> None:
        self._runs: list[tuple[_Words, _Words]] = []

    def __len__(self) -> int:
        return sum(len(first) for first, _ in self._runs)

    def add(self, digests: Iterable[bytes]) -> list[bool]:
        """Add digests; return for each whether it was not there, nor before it in this call."""
        words = np.frombuffer(b"".join(digests), np.uint64).reshape(-1, 2)
        order = np.lexsort((words[:, 1], words[:, 0]))
        first, second = words[order, 0], words[order, 1]
        is_new = np.ones(len(words), bool)
        is_new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
        for known_first, known_second in self._runs:
            place = np.searchsorted(known_first, first)
            place[place == len(known_first)] = 0
            # Another digest with the same first half would hide this one, and its record be
            # written twice, which readers mend; one in 1e5 logs of ten million would have such.
            is_new &= (known_first[place] != first) | (known_second[place] != second)
        if is_new.any():
            self._runs.append((first[is_new], second[is_new]))
            self._merge()
        result = np.empty(len(words), bool)
        result[order] = is_new
        return result.tolist()

    def _merge(self) -> None:
        while len(self._runs) > 1 and len(self._runs[-2][0]) <= 2 * len(self._runs[-1][0]):
            last, before = self._runs.pop(), self._runs.pop()
            first = np.concatenate((before[0], last[0]))
            second = np.concatenate((before[1], last[1]))
            order = np.argsort(first, kind="stable")
            self._runs.append((first[order], second[order]))
