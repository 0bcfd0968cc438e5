"""The loop that carries rollouts through: look at the evidence, decide, and write it down.

It keeps nothing that matters. What was decided is in the registry, what it was decided on in logs,
and the controller makes processes and routes follow the registry; so it may be killed at any time.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from llm_assets.applications import Application
from llm_assets.deployment.decision import Decision, decide
from llm_assets.deployment.evidence import Evidence
from llm_assets.deployment.registry import Entry, Rollout
from llm_assets.deployment.statistics.allocation import challenger_share
from llm_assets.errors import UserError
from llm_assets.installation import Installation
from llm_assets.rollouts.carry_out import carry_out
from llm_assets.rollouts.gather import Gathering
from llm_assets.rollouts.kept import keep
from llm_assets.serving.status import ServingStatus

_LOG = logging.getLogger(__name__)

# Looking takes at most this part of a processor's time, however much there is to look at. Its own
# time counts: on a machine that is busy, maybe with a bad challenger, looks must not become rare.
_LOOKING_RATE = 0.1
_LOOK_SECONDS = 0.5
_MIN_SHARE_CHANGE = 0.05
# How often people are told what the looks between two transitions see.
_TELL_SECONDS = 2.0


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class RolloutWatch:
    """Decides on the rollouts of all applications; `environment` has keys and tokens."""

    installation: Installation
    environment: Mapping[str, str] = field(default_factory=dict)
    clock: Callable[[], datetime] = _now
    timer: Callable[[], float] = time.monotonic
    effort: Callable[[], float] = time.thread_time
    _known: dict[str, Application] = field(default_factory=dict)
    _gatherings: dict[str, Gathering] = field(default_factory=dict)
    _next_look: float = 0.0
    _next_told: dict[str, float] = field(default_factory=dict)
    _took: float = 0.0
    _problems: dict[str, str] = field(default_factory=dict)

    def look(self) -> None:
        """Look at every rollout, unless the last look is too short ago."""
        if self.timer() < self._next_look:
            return
        before = self.effort()
        for name in self.installation.registry.applications():
            try:
                self._look_at(name)
                self._problems.pop(name, None)
            except Exception as error:  # noqa: BLE001 - it must stop neither the others nor serving
                self._tell(name, error)
        # The first look at a step reads all that was logged before, and the first decision loads a
        # library: what is costly only once does not count.
        took, self._took = self._took, self.effort() - before
        self._next_look = self.timer() + max(_LOOK_SECONDS, min(took, self._took) / _LOOKING_RATE)

    def stop(self) -> None:
        """Give up what is not judged yet."""
        for gathering in self._gatherings.values():
            gathering.stop()
        self._gatherings.clear()

    def _application(self, name: str) -> Application:
        """Return an application; if its file is wrong or gone, what was last known of it.

        Its challenger has users, so somebody has to look.
        """
        try:
            self._known[name] = self.installation.application(name)
            self._problems.pop(_file_of(name), None)
        except UserError as error:
            if name not in self._known:
                raise
            self._tell(_file_of(name), error)
        return self._known[name]

    def _tell(self, name: str, error: Exception) -> None:
        """Log what is wrong, once; it is tried again at the next look."""
        problem = str(error) if isinstance(error, UserError | OSError) else repr(error)
        if self._problems.get(name) != problem:
            _LOG.warning("%s: rollout: %s", name, problem)
        self._problems[name] = problem

    def _look_at(self, name: str) -> None:
        entry = self.installation.registry.entry(name)
        if entry.rollout is None:
            self._forget(name)
            return
        application, now = self._application(name), self.clock()
        gathering = self._gathering(application, entry)
        challenger = ServingStatus.read(self.installation.home).challenger_of(name)
        evidence = gathering.evidence(now=now, endpoint=challenger)
        is_followed = challenger is not None and challenger.follows(entry.split)
        if entry.rollout.step.stage != "smoke" and not is_followed:
            return  # what is decided would be decided on traffic that was split otherwise
        decision = decide(entry.rollout, evidence, config=application.deployment, now=now)
        if decision.move == "stay":
            self._allocate(application, entry.rollout, evidence)
            self._tell_look(name, entry.rollout, evidence, decision, now)
        else:
            self._move(name, entry.rollout, gathering, evidence, decision, now)

    def _gathering(self, application: Application, entry: Entry) -> Gathering:
        rollout = entry.rollout
        assert rollout is not None
        assert entry.champion is not None
        known = self._gatherings.get(application.name)
        if (
            known is not None
            and _is_same_step(known.rollout, rollout)
            and known.application == application  # its file says what is counted, and how
        ):
            return known
        self._forget(application.name)
        gathering = Gathering(
            installation=self.installation,
            application=application,
            rollout=rollout,
            champion=entry.champion,
            environment=self.environment,
        )
        self._gatherings[application.name] = gathering
        return gathering

    def _forget(self, name: str) -> None:
        gathering = self._gatherings.pop(name, None)
        if gathering is not None:
            gathering.stop()

    def _allocate(self, application: Application, rollout: Rollout, evidence: Evidence) -> None:
        """Move the share of an A/B test towards the arm that looks better, if it asks for that."""
        ab = application.deployment.ab_rules
        if rollout.step.stage != "ab" or ab.allocation != "best_arm":
            return
        champion, challenger = evidence.champion.metric, evidence.challenger.metric
        if min(champion.n, challenger.n) < ab.min_users:
            return
        share = challenger_share(challenger.total, challenger.n, champion.total, champion.n)
        if abs(share - rollout.share_of_users) >= _MIN_SHARE_CHANGE:
            self.installation.registry.set_share(application.name, rollout, share)

    def _tell_look(
        self, name: str, rollout: Rollout, evidence: Evidence, decision: Decision, now: datetime
    ) -> None:
        if self.timer() < self._next_told.get(name, 0.0):
            return
        self._next_told[name] = self.timer() + _TELL_SECONDS
        keep(self.installation.home, name, rollout, decision=decision, evidence=evidence, now=now)

    def _move(
        self,
        name: str,
        rollout: Rollout,
        gathering: Gathering,
        evidence: Evidence,
        decision: Decision,
        now: datetime,
    ) -> None:
        failures = [request.request_id for request in gathering.failures()]
        kept = keep(
            self.installation.home,
            name,
            rollout,
            decision=decision,
            evidence=evidence,
            slices=gathering.slices() if rollout.step.stage == "ab" else (),
            failures=failures,
            now=now,
        )
        is_moved = carry_out(
            self.installation,
            name,
            rollout,
            decision,
            now=now,
            failures=failures,
            evidence=kept,
        )
        if is_moved:
            _LOG.info("%s: %s: %s: %s", name, rollout.challenger, decision.move, decision.reason)


def _is_same_step(one: Rollout, other: Rollout) -> bool:
    return (one.rollout_id, one.position) == (other.rollout_id, other.position)


def _file_of(name: str) -> str:
    """Return under what a wrong file is told apart from what is wrong with a rollout."""
    return f"{name}.yaml"
