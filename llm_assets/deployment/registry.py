"""The registry: which model versions exist, which one is the champion, and who served when."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import pydantic
from pydantic.dataclasses import dataclass

from llm_assets.errors import UserError
from llm_assets.json_file import read_json, write_json

Action = Literal["register", "promote", "roll_back"]

_STRICT = pydantic.ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Transition:
    """One line of an application's history."""

    time: datetime
    model_version: str
    action: Action
    reason: str
    run_id: str | None = None


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Entry:
    """What the registry holds of one application; the history is in the order it happened."""

    versions: tuple[str, ...] = ()
    champion: str | None = None
    history: tuple[Transition, ...] = ()


@dataclass(frozen=True)
class Registry:
    """One JSON file an application under `root`, replaced whole; writers take turns."""

    root: Path

    def entry(self, application: str) -> Entry:
        """Return all that is known of an application; empty before its first registration.

        Raises:
            UserError: the file is damaged; the message names it.
        """
        path = self.root / f"{application}.json"
        return read_json(path, Entry) if path.exists() else Entry()

    def champion(self, application: str) -> str | None:
        """Return the model version that shall serve, or None before the first promotion."""
        return self.entry(application).champion

    def history(self, application: str) -> tuple[Transition, ...]:
        """Return every transition of an application, oldest first."""
        return self.entry(application).history

    def served_at(self, application: str, time: datetime) -> str | None:
        """Return the champion at a time, or None if there was none yet."""
        served = None
        for transition in self.history(application):
            if transition.action != "register" and transition.time <= time:
                served = transition.model_version
        return served

    def register(
        self, application: str, version: str, *, time: datetime, reason: str, run_id: str | None
    ) -> None:
        """Make a model version known; doing it twice changes nothing."""
        with self._changing(application) as entry:
            if version in entry.versions:
                return
            step = Transition(
                time=time, model_version=version, action="register", reason=reason, run_id=run_id
            )
            self._write(application, replace(entry, versions=(*entry.versions, version)), step)

    def promote(
        self, application: str, version: str, *, time: datetime, reason: str, run_id: str | None
    ) -> None:
        """Make a registered version the champion; promoting the champion changes nothing.

        Raises:
            UserError: the version is not registered.
        """
        with self._changing(application) as entry:
            if version not in entry.versions:
                raise UserError(f"{version}: not registered for application {application!r}")
            if version == entry.champion:
                return
            step = Transition(
                time=time, model_version=version, action="promote", reason=reason, run_id=run_id
            )
            self._write(application, replace(entry, champion=version), step)

    def roll_back(
        self, application: str, *, time: datetime, reason: str, run_id: str | None = None
    ) -> str:
        """Make the champion before the current one champion again, and return it.

        Each roll-back takes back one promotion, so rolling back twice goes two promotions back.

        Raises:
            UserError: there is no earlier champion.
        """
        with self._changing(application) as entry:
            champions = champions_in(entry.history)
            if len(champions) < 2:
                raise UserError(f"application {application!r} has no earlier champion to return to")
            before = champions[-2]
            step = Transition(
                time=time, model_version=before, action="roll_back", reason=reason, run_id=run_id
            )
            self._write(application, replace(entry, champion=before), step)
            return before

    def _write(self, application: str, entry: Entry, step: Transition) -> None:
        entry = replace(entry, history=(*entry.history, step))
        write_json(self.root / f"{application}.json", entry)

    @contextmanager
    def _changing(self, application: str) -> Iterator[Entry]:
        """Hold the application's lock, so that what was read is still true when written."""
        self.root.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.root / f".{application}.lock", os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.entry(application)
        finally:
            os.close(lock)


def champions_in(history: tuple[Transition, ...]) -> list[str]:
    """Return the promotions that stand: a roll-back takes the last one back.

    >>> from datetime import UTC
    >>> def step(action, version):
    ...     time = datetime(2026, 1, 1, tzinfo=UTC)
    ...     return Transition(time=time, model_version=version, action=action, reason="")
    >>> champions_in((step("promote", "v1"), step("promote", "v2"), step("roll_back", "v1")))
    ['v1']
    """
    standing: list[str] = []
    for transition in history:
        if transition.action == "promote":
            standing.append(transition.model_version)
        elif transition.action == "roll_back":
            standing.pop()
    return standing
