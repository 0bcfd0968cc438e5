"""The registry: which model versions exist, which one is the champion, and who served when.

It holds the rollout in progress as well, so that a promotion ends its rollout in the same write:
whatever is killed, champion and rollout never contradict each other.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import pydantic
from pydantic.dataclasses import dataclass

from llm_assets.deployment.steps import Step
from llm_assets.errors import UserError
from llm_assets.json_file import read_json, write_json
from llm_assets.routing import Split
from llm_assets.storage import locked

# `reject` ends a rollout and leaves the champion; `roll_back` takes a promotion back.
Action = Literal["register", "promote", "roll_back", "start", "advance", "hold", "alert", "reject"]

_STRICT = pydantic.ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Transition:
    """One line of an application's history.

    Of a rollout `step` is the step that it is in from then on, and `evidence` the name under which
    what decided was kept.
    """

    time: datetime
    model_version: str
    action: Action
    reason: str
    run_id: str | None = None
    step: Step | None = None
    evidence: str | None = None


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Rollout:
    """A challenger on its way through the steps; `since` is when the present one began.

    `share` replaces the step's share of users where evidence moved it. A rollout that holds waits
    for evidence that decides; `holding_since` tells since when.
    """

    rollout_id: str
    challenger: str
    steps: tuple[Step, ...]
    started_at: datetime
    since: datetime
    position: int = 0
    share: float | None = None
    holding_since: datetime | None = None
    has_alerted: bool = False

    @property
    def step(self) -> Step:
        """The present step."""
        return self.steps[self.position]

    @property
    def share_of_users(self) -> float:
        """The part of the users whom the challenger answers now."""
        return self.step.share if self.share is None else self.share

    def __str__(self) -> str:
        return f"the rollout of {self.challenger} is in {self.step}"

    def at_next_step(self, now: datetime) -> "Rollout | None":
        """Return the rollout in its next step, or None after the last one."""
        if self.position + 1 == len(self.steps):
            return None
        return replace(
            self,
            position=self.position + 1,
            since=now,
            share=None,
            holding_since=None,
            has_alerted=False,
        )


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Entry:
    """What the registry holds of one application; the history is in the order it happened."""

    versions: tuple[str, ...] = ()
    champion: str | None = None
    rollout: Rollout | None = None
    history: tuple[Transition, ...] = ()

    @property
    def split(self) -> Split | None:
        """Who shall answer the users now, or None before there is a champion."""
        if self.champion is None:
            return None
        if self.rollout is None:
            return Split(champion=self.champion)
        step = self.rollout.step
        return Split(
            champion=self.champion,
            challenger=self.rollout.challenger,
            share=self.rollout.share_of_users,
            mirrored=step.mirrored,
            trial=step.stage,
            salt=self.rollout.rollout_id,
        )

    @property
    def untried(self) -> str | None:
        """The newest version, if it is not the champion and was never on trial."""
        newest = self.versions[-1] if self.versions else None
        tried = {t.model_version for t in self.history if t.action != "register"}
        return None if newest in (self.champion, *tried) else newest

    @property
    def rolled_back(self) -> dict[str, str]:
        """The versions that were rolled back, on trial or as champion, each with the reason.

        One that was promoted since is none of them.
        """
        found: dict[str, str] = {}
        standing: list[str] = []
        for transition in self.history:
            if transition.action == "promote":
                standing.append(transition.model_version)
                found.pop(transition.model_version, None)
            elif transition.action == "roll_back":
                found[standing.pop()] = transition.reason
            elif transition.action == "reject":
                found[transition.model_version] = transition.reason
        return found


@dataclass(frozen=True)
class Registry:
    """One JSON file an application under `root`, replaced whole; writers take turns."""

    root: Path

    def entry(self, application: str) -> Entry:
        """Return all that is known of an application; empty before its first registration.

        Raises:
            UserError: the file is damaged; the message names it.
        """
        path = self._path(application)
        return read_json(path, Entry) if path.exists() else Entry()

    def applications(self) -> list[str]:
        """Return the applications that have an entry."""
        return sorted(path.stem for path in self.root.glob("*.json"))

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
            if transition.action in ("promote", "roll_back") and transition.time <= time:
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

    def begin(
        self,
        application: str,
        version: str,
        *,
        steps: tuple[Step, ...],
        time: datetime,
        reason: str,
        run_id: str | None = None,
        is_again: bool = False,
    ) -> None:
        """Start the rollout of a registered version, or promote it if there are no steps.

        Starting the rollout that runs changes nothing. A version that was rolled back stays back
        unless `is_again` says that a person wants it.

        Raises:
            UserError: the version is not registered, is the champion, or was rolled back; or the
                rollout of another version runs, or there is no champion that it could challenge.
        """
        with self._changing(application) as entry:
            _require_registered(application, version, entry)
            if entry.champion is None:
                raise UserError(f"application {application!r} has no champion to challenge yet")
            if entry.rollout is not None:
                if entry.rollout.challenger == version:
                    return
                raise UserError(
                    f"{version}: the rollout of {entry.rollout.challenger} is in its step "
                    f"{entry.rollout.step}; only one runs at a time"
                )
            if version == entry.champion:
                raise UserError(f"{version}: is the champion already")
            if version in entry.rolled_back and not is_again:
                raise UserError(f"{version}: was rolled back: {entry.rolled_back[version]}")
            step = Transition(
                time=time,
                model_version=version,
                action="start" if steps else "promote",
                reason=reason,
                run_id=run_id,
                step=steps[0] if steps else None,
            )
            if steps:
                rollout = Rollout(
                    rollout_id=f"{version}@{time:%Y%m%dT%H%M%S.%f}",
                    challenger=version,
                    steps=steps,
                    started_at=time,
                    since=time,
                )
                entry = replace(entry, rollout=rollout)
            else:
                entry = replace(entry, champion=version)
            self._write(application, entry, step)

    def move(
        self,
        application: str,
        before: Rollout,
        after: Rollout | None,
        *,
        action: Literal["advance", "hold", "alert", "promote", "reject"],
        time: datetime,
        reason: str,
        evidence: str | None = None,
        prepare: Callable[[], object] = lambda: None,
    ) -> bool:
        """Put `after` in the place of `before`; `promote` and `reject` end the rollout.

        Returns whether it did: not if the rollout was moved by somebody else meanwhile. `prepare`
        is called before it is written, and only if it is going to be.
        """
        assert (after is None) == (action in ("promote", "reject"))
        with self._changing(application) as entry:
            if entry.rollout != before:
                return False
            prepare()
            step = Transition(
                time=time,
                model_version=before.challenger,
                action=action,
                reason=reason,
                step=after.step if after else None,
                evidence=evidence,
            )
            champion = before.challenger if action == "promote" else entry.champion
            self._write(application, replace(entry, champion=champion, rollout=after), step)
            return True

    def set_share(self, application: str, before: Rollout, share: float) -> bool:
        """Give the challenger another share of the users within its step; no transition."""
        with self._changing(application) as entry:
            if entry.rollout != before:
                return False
            moved = replace(entry, rollout=replace(before, share=share))
            write_json(self._path(application), moved)
            return True

    def promote(
        self, application: str, version: str, *, time: datetime, reason: str, run_id: str | None
    ) -> None:
        """Make a registered version the champion; promoting the champion changes nothing.

        Raises:
            UserError: the version is not registered, or the rollout of another one runs.
        """
        with self._changing(application) as entry:
            _require_registered(application, version, entry)
            if version == entry.champion:
                return
            if entry.rollout is not None and entry.rollout.challenger != version:
                raise UserError(f"{version}: the rollout of {entry.rollout.challenger} runs")
            step = Transition(
                time=time, model_version=version, action="promote", reason=reason, run_id=run_id
            )
            self._write(application, replace(entry, champion=version, rollout=None), step)

    def roll_back(
        self, application: str, *, time: datetime, reason: str, run_id: str | None = None
    ) -> str:
        """Make the champion before the current one champion again, and return it.

        Each roll-back takes back one promotion, so rolling back twice goes two promotions back.

        Raises:
            UserError: there is no earlier champion, or a rollout runs, which has to end first.
        """
        with self._changing(application) as entry:
            if entry.rollout is not None:
                raise UserError(f"{application}: the rollout of {entry.rollout.challenger} runs")
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
        write_json(self._path(application), entry)

    def _path(self, application: str) -> Path:
        return self.root / f"{application}.json"

    @contextmanager
    def _changing(self, application: str) -> Iterator[Entry]:
        """Hold the application's lock, so that what was read is still true when written."""
        with locked(self.root / f".{application}.lock", alone=True):
            yield self.entry(application)


def _require_registered(application: str, version: str, entry: Entry) -> None:
    if version not in entry.versions:
        raise UserError(f"{version}: not registered for application {application!r}")


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
