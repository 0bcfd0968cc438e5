"""The registry does what a simple model of it does, whatever is done in whatever order."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llm_assets.deployment.registry import Registry, Rollout
from llm_assets.errors import UserError
from tests.deployment.rollouts import START, STEPS, VERSIONS


class RegistryAgainstAModel(RuleBasedStateMachine):
    """The registry does what a list of standing promotions and one trial do."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.hours = 0
        self.registered: set[str] = set()
        self.standing: list[str] = []
        self.back: set[str] = set()
        self.trial: Rollout | None = None
        self.served: list[str | None] = [None]

    @property
    def registry(self) -> Registry:
        return Registry(Path(self.folder.name))

    @property
    def champion(self) -> str | None:
        return self.standing[-1] if self.standing else None

    def tick(self) -> datetime:
        self.hours += 1
        return START + timedelta(hours=self.hours)

    @contextlib.contextmanager
    def doing(self, *, is_allowed: bool) -> Iterator[datetime]:
        """Expect an error and an entry as before, unless it is allowed."""
        before, time = self.registry.entry("helpdesk"), self.tick()
        if is_allowed:
            yield time
        else:
            with pytest.raises(UserError):
                yield time
            assert self.registry.entry("helpdesk") == before
        self.served.append(None)  # filled in by the rule's end

    def done(self) -> None:
        self.served[-1] = self.champion

    @rule(version=st.sampled_from(VERSIONS))
    def register(self, version: str) -> None:
        with self.doing(is_allowed=True) as time:
            self.registry.register("helpdesk", version, time=time, reason="", run_id=None)
        self.registered.add(version)
        self.done()

    @rule(version=st.sampled_from(VERSIONS))
    def promote(self, version: str) -> None:
        is_other = self.trial is not None and self.trial.challenger != version
        is_known = version in self.registered
        is_allowed = is_known and (version == self.champion or not is_other)
        with self.doing(is_allowed=is_allowed) as time:
            self.registry.promote("helpdesk", version, time=time, reason="", run_id=None)
        if is_allowed and version != self.champion:
            self._promoted(version)
        self.done()

    @rule(version=st.sampled_from(VERSIONS), is_again=st.booleans(), has_steps=st.booleans())
    def begin(self, version: str, is_again: bool, has_steps: bool) -> None:
        is_running = self.trial is not None and self.trial.challenger == version
        is_allowed = (
            version in self.registered
            and self.champion is not None
            and (is_running or self.trial is None)
            and (is_running or version != self.champion)
            and (is_running or is_again or version not in self.back)
        )
        steps = STEPS if has_steps else ()
        with self.doing(is_allowed=is_allowed) as time:
            self.registry.begin(
                "helpdesk", version, steps=steps, time=time, reason="", is_again=is_again
            )
        if is_allowed and not is_running:
            if has_steps:
                self.trial = self.registry.entry("helpdesk").rollout
            else:
                self._promoted(version)
        self.done()

    @precondition(lambda self: self.trial is not None)
    @rule(action=st.sampled_from(["advance", "hold", "alert", "promote", "reject"]))
    def move(self, action: Any) -> None:
        assert self.trial is not None
        before = self.trial
        with self.doing(is_allowed=True) as time:
            after = _after(before, action, time)
            action = action if after or action != "advance" else "promote"
            assert self.registry.move(
                "helpdesk", before, after, action=action, time=time, reason=""
            )
            if after != before:
                assert not self.registry.move(
                    "helpdesk", before, None, action="reject", time=time, reason=""
                )
        if action == "promote":
            self._promoted(before.challenger)
        elif action == "reject":
            self.back.add(before.challenger)
        self.trial = after
        self.done()

    @precondition(lambda self: self.trial is not None)
    @rule(share=st.floats(0, 1))
    def set_share(self, share: float) -> None:
        assert self.trial is not None
        with self.doing(is_allowed=True):
            assert self.registry.set_share("helpdesk", self.trial, share)
        self.trial = replace(self.trial, share=share)
        self.done()

    @rule()
    def roll_back(self) -> None:
        is_allowed = self.trial is None and len(self.standing) > 1
        with self.doing(is_allowed=is_allowed) as time:
            before = self.registry.roll_back("helpdesk", time=time, reason="")
        if is_allowed:
            self.back.add(self.standing.pop())
            assert before == self.champion
        self.done()

    def _promoted(self, version: str) -> None:
        self.standing.append(version)
        self.back.discard(version)
        self.trial = None

    @invariant()
    def champion_and_rollout_are_those_of_the_model(self) -> None:
        entry = self.registry.entry("helpdesk")
        assert (entry.champion, entry.rollout) == (self.champion, self.trial)
        assert set(entry.versions) == self.registered
        assert set(entry.rolled_back) == self.back

    @invariant()
    def nobody_is_champion_and_challenger(self) -> None:
        split = self.registry.entry("helpdesk").split
        if split is None:
            assert self.champion is None
            return
        trial = self.trial
        assert split.champion == self.champion
        assert split.challenger == (trial.challenger if trial else None)
        assert split.challenger != split.champion
        if trial is None:
            assert (split.share, split.mirrored, split.trial, split.salt) == (0, 0, "", "")
        else:
            assert split.share == (trial.step.share if trial.share is None else trial.share)
            assert (split.trial, split.salt) == (trial.step.stage, trial.rollout_id)

    @invariant()
    def the_past_stays_as_it_was_and_a_trial_is_no_part_of_it(self) -> None:
        for hours, champion in enumerate(self.served):
            time = START + timedelta(hours=hours, minutes=30)
            assert self.registry.served_at("helpdesk", time) == champion

    def teardown(self) -> None:
        self.folder.cleanup()


def _after(before: Rollout, action: str, time: datetime) -> Rollout | None:
    if action == "advance":
        return before.at_next_step(time)
    if action == "hold":
        return replace(before, holding_since=time)
    return replace(before, has_alerted=True) if action == "alert" else None


TestRegistryAgainstAModel = RegistryAgainstAModel.TestCase
TestRegistryAgainstAModel.settings = settings(
    max_examples=30, stateful_step_count=20, deadline=None
)
