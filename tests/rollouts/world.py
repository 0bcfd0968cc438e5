"""An endpoint without processes: its logs and its status are written as the real parts would."""

import json
import os
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from llm_assets.deployment.registry import Entry, Rollout
from llm_assets.deployment.steps import steps_of
from llm_assets.feedback.log import Record
from llm_assets.installation import Installation
from llm_assets.rollouts.watch import RolloutWatch
from llm_assets.routing import trial_of
from llm_assets.serving.attempts import Attempt
from tests.deployment.rollouts import START
from tests.installations import CANDIDATE, helpdesk, write_application
from tests.rollouts.logs import Logs, asked

# Decided by a hundred requests or so.
EASY = {"error_margin": 0.3, "refusal_margin": 0.3, "negative_margin": 0.3, "slow_margin": 0.3}


@dataclass
class World:
    """A watch on an installation; with `restarts` it is a new one at every look."""

    installation: Installation
    restarts: bool = False
    now: datetime = START + timedelta(hours=1)
    port: int = 1
    logs: Logs = field(init=False)
    watch: RolloutWatch = field(init=False)
    _seconds: float = 0.0
    num_asked: int = 0

    def __post_init__(self) -> None:
        self.logs = Logs(self.installation.home)
        self.restart()

    def restart(self) -> None:
        """Let another watch take over, as after a kill."""
        self.watch = RolloutWatch(
            self.installation,
            clock=lambda: self.now,
            timer=lambda: self._seconds,
            effort=lambda: 0.0,
        )

    def configure(self, **deployment: Any) -> None:
        """Write the application's file."""
        settings = self.installation.settings
        content = helpdesk(
            self.installation.base_model("helpdesk").path,
            deployment={"guardrails": EASY, **deployment},
        )
        write_application(settings.applications, "helpdesk", content)

    def start(self, *, is_again: bool = False) -> None:
        """Start the rollout of the second version, whose gate nobody asks."""
        self.now += timedelta(seconds=1)
        config = self.installation.application("helpdesk").deployment
        self.installation.registry.begin(
            "helpdesk",
            CANDIDATE,
            steps=steps_of(config),
            time=self.now,
            reason="",
            is_again=is_again,
        )

    @property
    def entry(self) -> Entry:
        return self.installation.registry.entry("helpdesk")

    @property
    def rollout(self) -> Rollout:
        assert self.entry.rollout is not None
        return self.entry.rollout

    @property
    def moves(self) -> list[tuple[str, str | None]]:
        """The actions of the rollouts until now, with the step from then on."""
        moves = [t for t in self.entry.history if t.model_version == CANDIDATE]
        return [(t.action, str(t.step) if t.step else None) for t in moves if t.step or t.evidence]

    def follow(self, *, pid: int | None = None, **challenger: Any) -> None:
        """Write the status of a controller that follows the registry."""
        split = self.entry.split
        assert split is not None
        trial = None
        if split.challenger is not None:
            trial = {
                "model_version": split.challenger,
                "port": self.port,
                "ready": True,
                "share": split.share,
                "mirrored": split.mirrored,
                "trial": split.trial,
                "salt": split.salt,
                "num_restarts": 0,
                "error": None,
                **challenger,
            }
        endpoint = {"model_version": split.champion, "variant": "champion", "port": 1}
        endpoint |= {"ready": True, "error": None, "challenger": trial}
        status = {"controller_pid": pid or os.getpid(), "gateway": {}}
        path = self.installation.home / "run" / "status.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**status, "applications": {"helpdesk": endpoint}}))

    def look(self, seconds: float = 1.0) -> Entry:
        """Let some time pass, and look."""
        self.now += timedelta(seconds=seconds)
        self._seconds += 1000
        if self.restarts:
            self.watch.stop()
            self.restart()
        self.watch.look()
        return self.entry

    def ask(self, num: int, variant: str, *, is_copied: bool = False, **answer: Any) -> list[str]:
        """Log requests of as many users, and return their ids."""
        numbers = range(self.num_asked, self.num_asked + num)
        self.num_asked += num
        each = [asked(n, variant, self.now, is_copied=is_copied, **answer) for n in numbers]
        self.write(*(entry for entries in each for entry in entries))
        return [entries[0].request_id or "" for entries in each]

    def write(self, *entries: Attempt | Record) -> None:
        """Log entries as they are logged in the present step."""
        self.logs.write(*map(self._routed, entries))

    def _routed(self, entry: Attempt | Record) -> Attempt | Record:
        """Return a try as the gateway logs it, which tells the step while there are two arms."""
        rollout = self.entry.rollout
        if not isinstance(entry, Attempt) or rollout is None or not rollout.step.share:
            return entry
        return replace(entry, trial=trial_of(rollout.step.stage, rollout.rollout_id))

    def wait_for(self, action: str) -> None:
        """Look until the last transition is this one; a smoke test takes its time."""
        deadline = time.monotonic() + 10
        while self.entry.history[-1].action != action:
            assert time.monotonic() < deadline
            time.sleep(0.02)
            self.follow()
            self.look(0.02)
