"""What the collector remembers of everything it has: the ids, as short digests."""

import hashlib
from collections.abc import Callable, Iterable

from llm_assets.feedback.log import Log, Record
from llm_assets.records import Feedback, Interaction

_KINDS = {Interaction: b"r", Feedback: b"f"}


class KnownIds:
    """The ids of interactions, each with its application and aliases, and those of feedback.

    An id is kept as 16 bytes of its hash; `pseudonym` returns an id as the log stores it. A million
    ids take 100 MB of memory and 3 s of CPU to load.
    """

    def __init__(self, pseudonym: Callable[[str], str]) -> None:
        self._pseudonym = pseudonym
        self._applications: list[str] = []
        self._ids: dict[bytes, int] = {}  # the number of its application by the digest of an id

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, key: bytes) -> bool:
        return key in self._ids

    def key_of(self, record: Record) -> bytes:
        """Return what a record is known by, also before it was cleaned."""
        return _digest(_KINDS[type(record)], self._pseudonym(record.record_id))

    def add(self, record: Record, key: bytes) -> None:
        """Remember a record."""
        aliases = record.aliases if isinstance(record, Interaction) else ()
        self._add(key, map(self._pseudonym, aliases), self._number(record.application))

    def application_of(self, request_id: str) -> str | None:
        """Return whose request an id or alias is."""
        stored = self._pseudonym(request_id)
        for kind in (b"r", b"a"):
            number = self._ids.get(_digest(kind, stored))
            if number is not None:
                return self._applications[number]
        return None

    def load(self, log: Log) -> None:
        """Remember what a log holds. Lines that cannot be read are passed over, as readers do."""
        kind = _KINDS[log.record]
        for partition in log.partitions():
            number = self._number(partition.application)
            for ids in log.ids(partition):
                self._add(_digest(kind, ids.record_id), ids.aliases, number)

    def _add(self, key: bytes, aliases: Iterable[str], number: int) -> None:
        self._ids[key] = number
        for alias in aliases:
            self._ids[_digest(b"a", alias)] = number

    def _number(self, application: str) -> int:
        if application not in self._applications:
            self._applications.append(application)
        return self._applications.index(application)


def _digest(kind: bytes, stored_id: str) -> bytes:
    # JSON may hold half of a surrogate pair, which is no text in UTF-8.
    content = stored_id.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=16, person=kind).digest()
