"""What is known of each erasure of a user's data: when, how much, and which versions it reached.

    erasures/<time>-<user digest>.json

The record is written before anything is erased and finished after all is, so what was interrupted
can be seen and done again. It holds the user's keyed digest, never the id; how to find the rest of
the data is in it only until it is finished.
"""

import functools
import hashlib
import hmac
import operator
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import pydantic
from pydantic.dataclasses import dataclass

from llm_assets.json_file import read_json, write_json

_STRICT = pydantic.ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Traces:
    """What leads to one user's data in every store.

    `user_ids` are the id as given and as stored. `text_hashes` are those of texts that stand in
    this user's records only, and `prompt_keys` those of their prompts in the embedding cache: a
    text that somebody else wrote too is not the user's.
    """

    user_ids: frozenset[str] = frozenset()
    session_ids: frozenset[str] = frozenset()
    request_ids: frozenset[str] = frozenset()
    feedback_ids: frozenset[str] = frozenset()
    text_hashes: frozenset[str] = frozenset()
    prompt_keys: frozenset[str] = frozenset()

    def __or__(self, other: "Traces") -> "Traces":
        return Traces(**{name: value | vars(other)[name] for name, value in vars(self).items()})

    def is_theirs(self, text: str | None) -> bool:
        """Whether a text is this user's alone."""
        return text is not None and text_hash(text) in self.text_hashes


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Mark:
    """How much of a model version was made of the data: rows of each thing that held some.

    `num_learnt` rows were trained on or decided when to stop, `num_holdout` and `num_samples` it
    was judged by, and in `num_baseline` lay what drift is measured from.
    """

    num_learnt: int = 0
    num_holdout: int = 0
    num_baseline: int = 0
    num_samples: int = 0
    has_checkpoint: bool = False
    is_champion: bool = False
    has_served: bool = False

    def __or__(self, other: "Mark") -> "Mark":
        return Mark(**{name: max(value, vars(other)[name]) for name, value in vars(self).items()})

    @property
    def is_reached(self) -> bool:
        """Whether anything of the version held some of the data."""
        return self.num_rows > 0

    @property
    def num_rows(self) -> int:
        """The rows of all things together."""
        return self.num_learnt + self.num_holdout + self.num_baseline + self.num_samples

    @property
    def verb(self) -> str:
        """What the version did with the data, the gravest only."""
        if self.num_learnt:
            return "was trained on"
        return "was evaluated on" if self.num_holdout + self.num_samples else "measures drift from"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Erasure:
    """One erasure; `application` is None where it was of all of them.

    `counts` are rows by store, `days` the partitions of interactions and feedback that lost some,
    by application.
    """

    user: str
    application: str | None
    begun_at: datetime
    finished_at: datetime | None = None
    counts: dict[str, int] = pydantic.Field(default_factory=dict)
    days: dict[str, list[date]] = pydantic.Field(default_factory=dict)
    versions: dict[str, Mark] = pydantic.Field(default_factory=dict)
    traces: Traces | None = None

    def __or__(self, other: "Erasure") -> "Erasure":
        """Return this one with what another look at the same user's data found."""
        counts, days, versions = dict(self.counts), dict(self.days), dict(self.versions)
        for store, count in other.counts.items():
            counts[store] = max(count, counts.get(store, 0))
        for application, found in other.days.items():
            days[application] = sorted({*found, *days.get(application, [])})
        for version, mark in other.versions.items():
            versions[version] = mark | versions.get(version, Mark())
        traces = (self.traces or Traces()) | (other.traces or Traces())
        return replace(self, counts=counts, days=days, versions=versions, traces=traces)

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the user was found anywhere."""
        return not any(self.counts.values())


@dataclass(frozen=True)
class Erasures:
    """The records of an installation, one file an erasure."""

    root: Path

    @classmethod
    def of(cls, home: Path) -> "Erasures":
        """Return the records of an installation."""
        return cls(home / "erasures")

    def all(self) -> list[Erasure]:
        """Return every erasure, the oldest first.

        Raises:
            UserError: a record is damaged; the message names the file.
        """
        found = [read_json(path, Erasure) for path in sorted(self.root.glob("*.json"))]
        return sorted(found, key=lambda erasure: erasure.begun_at)

    def unfinished(self, user: str, application: str | None) -> Erasure | None:
        """Return what was begun for a user's digest and never finished, or None."""
        found = [
            erasure
            for erasure in self.all()
            if (erasure.user, erasure.application, erasure.finished_at) == (user, application, None)
        ]
        return found[-1] if found else None

    def write(self, erasure: Erasure) -> None:
        """Write the record of an erasure, in the place of what was written of it before."""
        name = f"{erasure.begun_at:%Y%m%dT%H%M%S%f}-{erasure.user}.json"
        write_json(self.root / name, erasure)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Reach:
    """What a model version had of all users whose data was erased."""

    model_version: str
    num_users: int
    last_erased: date
    mark: Mark

    @property
    def users(self) -> str:
        """How many users they are, in words."""
        return "1 user" if self.num_users == 1 else f"{self.num_users} users"

    def __str__(self) -> str:
        champion = " (champion)" if self.mark.is_champion else ""
        return (
            f"{self.model_version}{champion} {self.mark.verb} data of {self.users} "
            f"that was erased, last on {self.last_erased}"
        )


def reaches(erasures: Sequence[Erasure], *, champions: Collection[str]) -> list[Reach]:
    """Return what each model version had of erased data; the champions are those of now."""
    found: list[Reach] = []
    for version in sorted({name for erasure in erasures for name in erasure.versions}):
        ours = [erasure for erasure in erasures if version in erasure.versions]
        mark = functools.reduce(operator.or_, (erasure.versions[version] for erasure in ours))
        found.append(
            Reach(
                model_version=version,
                num_users=len({erasure.user for erasure in ours}),
                last_erased=max(erasure.begun_at for erasure in ours).date(),
                mark=replace(mark, is_champion=version in champions),
            )
        )
    return found


def user_digest(user: str, key: bytes) -> str:
    """Return what stands for a user in the records; without the key it leads to nobody."""
    return hmac.new(key, b"erasure\0" + user.encode(), hashlib.sha256).hexdigest()[:16]


def text_hash(text: str) -> str:
    """Return the hash of a text, whatever white space is around it."""
    return hashlib.sha256(text.strip().encode("utf-8", "surrogatepass")).hexdigest()
