"""One whole improvement cycle of the help desk, through the real parts, told as it happens."""

import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg

from llm_assets.bootstrap import prepare_dagster_home
from llm_assets.demo.home import prepare_home
from llm_assets.demo.platform import (
    cycle_run,
    is_ready,
    launch_cycle,
    running_platform,
    served_version,
    step_seconds,
    wait_for,
)
from llm_assets.demo.progress import Progress
from llm_assets.demo.questions import load_questions
from llm_assets.demo.replay import Outcome, replay
from llm_assets.demo.summary import Summary, summarise
from llm_assets.demo.traffic import FULL, SMALL, PlannedRequest, plan_traffic
from llm_assets.demo.trial import ask_until, new_users
from llm_assets.errors import UserError
from llm_assets.installation import Installation
from llm_assets.serving.process import Child
from llm_assets.settings import Settings

APPLICATION = "helpdesk"
_FIRST, _SECOND, _BAD = (f"{APPLICATION}-v{number:04d}" for number in (1, 2, 3))
_SEED = 0
_MAX_TRIAL_REQUESTS = 2000
_PLANS = {"full": FULL, "small": SMALL}

# Seconds of each stage on two idle cores; only the estimate of the time left depends on them.
_EXPECTED = {
    "full": {
        "start the platform": 20,
        "replay the known days": 40,
        "replay the new days": 50,
        "notice drift": 35,
        "improve": 180,
        "roll out": 70,
        "refuse a bad candidate": 180,
    },
    "small": {
        "start the platform": 20,
        "replay the known days": 20,
        "replay the new days": 25,
        "notice drift": 30,
        "improve": 75,
        "roll out": 60,
        "refuse a bad candidate": 60,
    },
}


def run_demo(settings: Settings, *, size: str, as_json: bool) -> int:
    """Run the demonstration and print its table; return the exit code.

    On a terminal everything stays on until Ctrl-C, so that one can look around.
    """
    archive = prepare_home(settings.home)
    if archive is not None:
        print(f"the run before this one was moved to {archive}", file=sys.stderr)
    # Asked to end in either way, end with every child stopped.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    os.environ["LLM_ASSETS_HOME"] = str(settings.home)
    prepare_dagster_home(settings)
    # The instance first: it makes Dagster's tables, and two processes must not make them at once.
    with dg.DagsterInstance.get() as instance, running_platform(settings) as platform:
        demo = _Demo(settings, platform, instance, Progress(_EXPECTED[size]))
        summary = demo.run(_PLANS[size])
        print(json.dumps(summary.to_json()) if as_json else summary.table())
        if sys.stdout.isatty():
            print(f"\nStill running; the Dagster UI is at {settings.ui_url}. Ctrl-C stops it.")
            with contextlib.suppress(KeyboardInterrupt):
                while platform.is_running:
                    time.sleep(0.5)
    if not as_json:
        print(f"`make up` starts it again with the Dagster UI at {settings.ui_url}.")
    return 0 if summary.is_success else 1


@dataclass
class _Demo:
    settings: Settings
    platform: Child
    instance: dg.DagsterInstance
    progress: Progress

    def run(self, plan) -> Summary:
        settings, progress = self.settings, self.progress
        # Whole days, so that every window has its share of the traffic at any hour of today.
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        known, new = plan_traffic(load_questions(seed=_SEED), plan, end=midnight, seed=_SEED)
        with progress.stage("start the platform"):
            self._wait(lambda: is_ready(settings), 240, "the platform to start")
        with progress.stage("replay the known days"):
            outcomes = self._replay(known)
        with progress.stage("replay the new days"):
            outcomes += self._replay(new)
        with progress.stage("notice drift"):
            self._wait(lambda: cycle_run(self.instance, _SECOND), 300, "the drift sensor")
        with progress.stage("improve"):
            run = self._wait_for_run(_SECOND, 900)
            if run.status is not dg.DagsterRunStatus.SUCCESS:
                raise UserError(
                    f"the cycle {_SECOND} ended with {run.status.value}; see {self._logs}"
                )
        with progress.stage("roll out"):
            self._wait(self._has_rollout, 120, f"the rollout of {_SECOND}")
            trial = self._ask_new_users()
        with progress.stage("refuse a bad candidate"):
            self._launch_bad_candidate()
            bad_run = self._wait_for_run(_BAD, 900)
        return summarise(
            Installation(settings),
            application=APPLICATION,
            versions=(_FIRST, _SECOND, _BAD),
            is_bad_refused=bad_run.status is dg.DagsterRunStatus.FAILURE
            and served_version(settings, APPLICATION) == _SECOND,
            cause=dict(run.tags),
            stages=progress.seconds,
            steps=step_seconds(self.instance, run.run_id),
            num_requests=len(outcomes),
            num_right=sum(outcome.is_right for outcome in outcomes),
            num_trial_requests=len(trial),
        )

    @property
    def _logs(self) -> str:
        return str(self.platform.log.parent)

    def _replay(self, requests: list[PlannedRequest]) -> list[Outcome]:
        def show(num_done: int, num: int) -> None:
            self.progress.show(f"{num_done} of {num} questions", fraction=num_done / num)

        return replay(
            requests,
            application=APPLICATION,
            base_url=self.settings.endpoint_url,
            progress=show,
        )

    def _has_rollout(self) -> bool:
        return Installation(self.settings).registry.entry(APPLICATION).rollout is not None

    def _ask_new_users(self) -> list[Outcome]:
        """Be the users of the rollout until the candidate serves all of them."""
        installation = Installation(self.settings)

        def is_decided() -> bool:
            entry = installation.registry.entry(APPLICATION)
            if entry.rollout is None and entry.champion != _SECOND:
                raise UserError(f"{_SECOND} was rolled back: {entry.rolled_back.get(_SECOND)}")
            return served_version(self.settings, APPLICATION) == _SECOND

        def show(num: int) -> None:
            rollout = installation.registry.entry(APPLICATION).rollout
            self.progress.show(f"{rollout.step if rollout else 'promoted'}, {num} questions")

        return ask_until(
            is_decided,
            new_users(load_questions(seed=_SEED), seed=_SEED),
            application=APPLICATION,
            base_url=self.settings.endpoint_url,
            max_requests=_MAX_TRIAL_REQUESTS,
            progress=show,
        )

    def _wait(self, condition, timeout_seconds: float, what: str) -> object:
        return wait_for(
            condition,
            timeout_seconds=timeout_seconds,
            what=what,
            child=self.platform,
            show=self.progress.show,
        )

    def _wait_for_run(self, model_version: str, timeout_seconds: float) -> dg.DagsterRun:
        def finished() -> dg.DagsterRun | None:
            run = cycle_run(self.instance, model_version)
            if run is not None and not run.is_finished:
                steps = list(step_seconds(self.instance, run.run_id))
                self.progress.show(steps[-1] if steps else "starting")
            return run if run is not None and run.is_finished else None

        run = self._wait(finished, timeout_seconds, f"the cycle {model_version}")
        assert isinstance(run, dg.DagsterRun)
        return run

    def _launch_bad_candidate(self) -> None:
        self.instance.add_dynamic_partitions("model_version", [_BAD])
        shuffled = {"curated_dataset": {"config": {"shuffle_labels": True}}}
        launch_cycle(self.settings, _BAD, shuffled)
