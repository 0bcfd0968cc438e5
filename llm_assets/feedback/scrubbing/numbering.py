"""Placeholders numbered within a session: the same value gets the same number.

Values are remembered as keyed digests, never themselves. Memory is bounded: the sessions that were
not seen for the longest time are forgotten, and one of them that goes on is numbered anew.
"""

import hashlib
import threading
from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field

from llm_assets.feedback.scrubbing.config import PersonalDataType

MAX_SESSIONS = 10_000
MAX_VALUES = 500_000  # in all sessions together, about 150 bytes each


@dataclass(slots=True)
class _Session:
    numbers: dict[bytes, int] = field(default_factory=dict)
    last: defaultdict[PersonalDataType, int] = field(default_factory=lambda: defaultdict(int))


class Numbering:
    """Hands out placeholders such as `<EMAIL_1>`; may be used from several threads."""

    def __init__(
        self, key: bytes, *, max_sessions: int = MAX_SESSIONS, max_values: int = MAX_VALUES
    ) -> None:
        self._key = key
        self._max_sessions = max_sessions
        self._max_values = max_values
        self._num_values = 0
        self._sessions: OrderedDict[bytes, _Session] = OrderedDict()
        self._lock = threading.Lock()

    def placeholder(self, session: str, type_: PersonalDataType, value: str) -> str:
        """Return what stands for a value: the next number of its type, if it is a new one."""
        digest = self._digest(f"{type_} {value}")
        with self._lock:
            known = self._session(session)
            number = known.numbers.get(digest)
            if number is None:
                known.last[type_] += 1
                number = known.numbers[digest] = known.last[type_]
                self._num_values += 1
                self._forget_oldest()
        return f"<{type_.upper()}_{number}>"

    def reserve(self, session: str, type_: PersonalDataType, number: int) -> None:
        """Let new values of a type get higher numbers, as the text itself uses this one."""
        with self._lock:
            last = self._session(session).last
            last[type_] = max(last[type_], number)
            self._forget_oldest()

    def _session(self, session: str) -> _Session:
        digest = self._digest(session)
        known = self._sessions.get(digest)
        if known is None:
            known = self._sessions[digest] = _Session()
        else:
            self._sessions.move_to_end(digest)
        return known

    def _forget_oldest(self) -> None:
        while len(self._sessions) > self._max_sessions or (
            self._num_values > self._max_values and len(self._sessions) > 1
        ):
            _, forgotten = self._sessions.popitem(last=False)
            self._num_values -= len(forgotten.numbers)

    def _digest(self, value: str) -> bytes:
        content = value.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(content, key=self._key, digest_size=16).digest()
