import contextlib
import itertools
import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from llm_assets.deployment.incidents import golden_request_ids, incidents_of
from llm_assets.installation import Installation
from llm_assets.records import FeedbackKind
from llm_assets.rollouts.kept import read_kept
from llm_assets.routing import Split
from tests.deployment.rollouts import START
from tests.installations import CANDIDATE, VERSION, helpdesk, write_application
from tests.rollouts.logs import a_signal, an_answer, an_attempt
from tests.rollouts.models import Model
from tests.rollouts.world import EASY, World

NO_STEPS: dict[str, Any] = {"smoke": None, "shadow": None, "canary": None, "ab": None}
CANARY = {**NO_STEPS, "canary": {"shares": [0.1]}}


@pytest.fixture(params=[False, True], ids=["one watch", "a new watch at every look"])
def world(installation: Installation, request: pytest.FixtureRequest) -> World:
    return World(installation, restarts=request.param)


@pytest.fixture
def canary(installation: Installation) -> World:
    """Return a rollout in its only step, a canary that the gateway follows."""
    world = World(installation)
    world.configure(**CANARY)
    world.start()
    world.follow()
    world.look()
    return world


def correct(world: World, keys: list[str]) -> None:
    signals = [a_signal(f"f-{key}", key, FeedbackKind.CORRECTION, world.now) for key in keys]
    world.write(*signals)


def test_a_good_challenger_goes_through_all_steps_and_is_promoted(world: World) -> None:
    world.configure(
        smoke={"prompts": ["hello"]},
        shadow={"min_pairs": 60},
        canary={"shares": [0.1, 0.2], "min_requests": 60},
        ab={"min_users": 120},
    )
    world.start()
    with Model().running() as world.port:
        # A smoke test that is begun anew at every look never ends.
        world.restarts, restarts = False, world.restarts
        world.wait_for("advance")
        world.restarts = restarts
    assert world.entry.split is not None
    assert (world.entry.split.trial, world.entry.split.mirrored) == ("shadow", 1.0)
    for num in (50, 100):
        world.follow()
        world.ask(num, "champion", is_copied=True)
        world.look()
    while world.rollout.step.stage == "canary":
        world.follow()
        world.ask(100, "champion")
        world.ask(50, "challenger")
        world.look()
        assert world.num_asked < 1000
    world.follow()
    while world.entry.rollout is not None:
        correct(world, world.ask(60, "champion")[:30])
        correct(world, world.ask(60, "challenger")[:5])
        world.look()
        assert world.num_asked < 2000
    assert world.moves == [
        ("start", "smoke"),
        ("advance", "shadow 1"),
        ("advance", "canary 0.1"),
        ("advance", "canary 0.2"),
        ("advance", "ab 0.5"),
        ("promote", None),
    ]
    last = world.entry.history[-1]
    assert last.reason.startswith("better: not corrected 0.917 against 0.500: +0.417")
    assert last.evidence is not None
    kept = read_kept(world.installation.home, "helpdesk", last.evidence)
    assert kept["challenger"]["num_users"] == kept["champion"]["num_users"]
    assert {part["name"] for part in kept["slices"]} == {
        "prompts under 100 characters",
        "first messages",
    }
    assert world.entry.split == Split(champion=CANDIDATE)
    assert incidents_of(world.installation.home, "helpdesk") == []


def fail_copies(world: World) -> list[str]:
    keys = world.ask(40, "champion")
    world.write(*(an_attempt(k, "shadow", world.now, is_failure=True) for k in keys))
    return keys


def fail(world: World) -> list[str]:
    world.ask(200, "champion")
    keys = [f"failed-{number}-{world.now:%S}" for number in range(30)]
    for key in keys:
        # The champion answers instead, under the same id.
        first = an_attempt(key, "challenger", world.now, is_failure=True)
        world.write(first, replace(first, attempt=2, model_version=VERSION, is_failure=False))
    return keys


def be_slow(world: World) -> list[str]:
    world.ask(200, "champion")
    world.ask(30, "challenger", latency_seconds=5.0)
    return []


def be_corrected(world: World) -> list[str]:
    world.ask(150, "champion")
    keys = world.ask(150, "challenger")
    correct(world, keys[:60])
    return keys[:60]


@pytest.mark.parametrize(
    ("step", "traffic", "reason"),
    [
        ({"shadow": {}}, fail_copies, "errors breached: +1.000"),
        ({"canary": {"shares": [0.1]}}, fail, "errors breached: +1.000"),
        ({"canary": {"shares": [0.1]}}, be_slow, "slow_answers breached: +1.000"),
        ({"canary": {"shares": [0.1]}}, be_corrected, "negative_feedback breached: +0.400"),
        ({"ab": {}, "guardrails": {**EASY, "negative_margin": None}}, be_corrected, "worse: "),
        ({"strategy": "blue_green"}, fail, "errors breached: +1.000"),
    ],
)
def test_a_bad_challenger_is_rolled_back_and_what_it_failed_at_is_golden(
    world: World,
    step: dict[str, Any],
    traffic: Callable[[World], list[str]],
    reason: str,
) -> None:
    world.configure(**{**NO_STEPS, **step})
    world.ask(100, "champion")
    world.start()
    world.follow()
    world.look()
    failed = traffic(world)
    world.look()
    entry = world.entry
    assert (entry.champion, entry.rollout) == (VERSION, None)
    assert entry.rolled_back[CANDIDATE].startswith(reason)
    assert entry.split == Split(champion=VERSION)
    home = world.installation.home
    (incident,) = incidents_of(home, "helpdesk")
    assert (incident.model_version, incident.reason) == (CANDIDATE, entry.history[-1].reason)
    assert incident.num_failures == len(failed)
    golden = golden_request_ids(home, "helpdesk")
    assert golden <= set(failed)
    assert len(golden) == min(50, len(failed))
    assert [action for action, _ in world.moves] == ["start", "reject"]


@pytest.mark.parametrize(("champion", "challenger"), [("sports", "money"), ("money", "sports")])
def test_a_judge_that_knows_what_users_wanted_compares_the_answers(
    world: World, champion: str, challenger: str
) -> None:
    world.configure(**{**NO_STEPS, "shadow": {"min_pairs": 30, "judge": {"kind": "scorer"}}})
    world.start()
    world.follow()
    for _ in range(3):
        keys = world.ask(50, "champion", prompt="coins?", response=champion)
        answer = {"prompt": "coins?", "response": challenger}
        world.write(*(an_attempt(key, "shadow", world.now) for key in keys))
        world.write(*(an_answer(key, "shadow", world.now, **answer) for key in keys))
        correct(world, keys)
        if world.look().rollout is None:
            break
    last = world.entry.history[-1]
    if challenger == "money":
        assert (last.action, last.model_version) == ("promote", CANDIDATE)
    else:
        assert last.reason.startswith("loses the judged pairs; mean score 0.000 (0.000 to 0.")


class KilledError(BaseException):
    """What nobody catches."""


@pytest.mark.parametrize("is_bad", [True, False])
def test_wherever_the_watch_is_killed_the_next_one_comes_to_the_same_end(
    installation: Installation, is_bad: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(installation)
    world.configure(**CANARY)
    replaced, die_at, replace_file, home = 0, 0, Path.replace, installation.home
    for die_at in itertools.count(1):
        world.start(is_again=True)
        world.follow()
        if is_bad:
            fail(world)
        else:
            world.ask(200, "champion")
            world.ask(200, "challenger")
        replaced = 0

        def replace_or_die(path: Path, target: Path, die_at: int = die_at) -> Path:
            nonlocal replaced
            replaced += 1
            if replaced == die_at:
                raise KilledError
            return replace_file(path, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", replace_or_die)
            with contextlib.suppress(KilledError):
                world.look()
        was_killed = replaced == die_at
        world.restart()
        last = world.look().history[-1]
        assert last.action == ("reject" if is_bad else "promote")
        assert world.entry.rollout is None
        assert last.evidence is not None
        assert read_kept(home, "helpdesk", last.evidence)["move"] == last.action
        if not is_bad:
            assert incidents_of(home, "helpdesk") == []
            installation.registry.roll_back("helpdesk", time=world.now, reason="once more")
        else:
            assert incidents_of(home, "helpdesk")[-1].reason == last.reason
            assert len(incidents_of(home, "helpdesk")) == die_at
        if not was_killed:
            break
    assert die_at == (4 if is_bad else 3)


def test_a_server_that_fails_the_smoke_test_is_rolled_back(installation: Installation) -> None:
    world = World(installation)
    world.configure()
    world.start()
    with Model(status=500).running() as world.port:
        world.wait_for("reject")
    assert world.entry.rolled_back == {CANDIDATE: "smoke test: status 500"}


def test_a_version_that_cannot_be_served_is_rolled_back_with_the_reason(
    installation: Installation,
) -> None:
    world = World(installation)
    world.configure()
    world.start()
    world.follow(ready=False, port=None, error=f"models/{CANDIDATE}: no such model version")
    world.look()
    assert world.look(118).rollout is not None
    world.look(2)
    assert world.entry.rolled_back == {
        CANDIDATE: f"smoke test: after 120 s: models/{CANDIDATE}: no such model version"
    }


def test_a_night_in_which_nobody_looked_is_no_time_that_a_server_had(
    installation: Installation,
) -> None:
    world = World(installation)
    world.configure()
    world.start()
    # The port of a server of before; nothing is asked there.
    world.follow(pid=_a_dead_process())
    assert world.look(36_000).rollout is not None
    assert world.look(119).rollout is not None


def _a_dead_process() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_a_server_that_is_started_again_and_again_is_rolled_back(canary: World) -> None:
    canary.follow(num_restarts=3)
    assert canary.look().rollout is not None
    canary.follow(num_restarts=4)
    assert canary.look().rolled_back[CANDIDATE].startswith("restarts breached: +4.000")


def test_a_server_that_stays_away_holds_its_step_until_it_is_back(canary: World) -> None:
    canary.ask(60, "champion")
    canary.ask(60, "challenger")
    canary.follow(ready=False, port=None, error="no such model version")
    canary.look()
    assert canary.rollout.holding_since is None
    canary.look(120)
    held = canary.entry.history[-1]
    assert (held.action, held.reason) == (
        "hold",
        "its server has not been ready for 120 s: no such model version",
    )
    canary.look(3600)
    assert canary.entry.history[-1].action == "alert"
    canary.follow()
    canary.look()
    assert canary.entry.champion == CANDIDATE


def test_starts_of_an_earlier_step_are_none_of_this_one(installation: Installation) -> None:
    world = World(installation)
    world.configure(**CANARY)
    world.start()
    for num_restarts in (5, 8):
        world.follow(num_restarts=num_restarts)
        assert world.look().rollout is not None
    world.follow(num_restarts=9)
    assert world.look().rollout is None


@pytest.mark.parametrize("status", ["another step", "another rollout", "a dead controller", "none"])
def test_nothing_is_decided_while_the_gateway_does_not_follow(canary: World, status: str) -> None:
    fail(canary)
    match status:
        case "another step":
            canary.follow(trial="shadow")
        case "another rollout":
            canary.follow(salt="before")
        case "a dead controller":
            canary.follow(pid=_a_dead_process())
        case _:
            (canary.installation.home / "run" / "status.json").unlink()
    assert canary.look().rollout is not None
    canary.follow()
    assert canary.look().rollout is None


def test_evidence_that_does_not_decide_holds_once_and_alerts_once(world: World) -> None:
    world.configure(**{**CANARY, "guardrails": {"error_margin": 0.01}})
    world.start()
    for _ in range(3):
        world.follow()
        world.ask(60, "champion")
        world.ask(60, "challenger")
        world.look()
    assert [action for action, _ in world.moves] == ["start", "hold"]
    assert world.rollout.holding_since is not None
    for _ in range(3):
        world.look(1800)
    assert [action for action, _ in world.moves] == ["start", "hold", "alert"]


def test_the_better_arm_gets_more_users_if_the_file_says_so(world: World) -> None:
    ab = {"min_users": 40, "allocation": "best_arm", "delta": 1e-6}
    world.configure(**{**NO_STEPS, "ab": ab})
    world.start()
    world.follow()
    correct(world, world.ask(30, "champion")[:10])
    world.ask(30, "challenger")
    world.look()
    assert world.entry.split is not None
    assert world.entry.split.share == 0.5
    correct(world, world.ask(30, "champion")[:10])
    world.ask(30, "challenger")
    before = world.entry.history
    split = world.look().split
    assert split is not None
    assert 0.8 < split.share <= 0.9
    assert world.entry.history == before
    # It is the same step, and its evidence is still there.
    world.follow()
    assert world.look().split == split


def test_one_applications_damaged_registry_does_not_stop_anothers_rollout(
    canary: World, caplog: pytest.LogCaptureFixture
) -> None:
    installation = canary.installation
    content = helpdesk(installation.base_model("helpdesk").path)
    write_application(installation.settings.applications, "bank", content)
    path = installation.registry.root / "bank.json"
    path.write_text("{")
    fail(canary)
    with caplog.at_level(logging.WARNING):
        assert canary.look().rollout is None
        canary.look()
    (record,) = caplog.records
    assert record.getMessage().startswith(f"bank: rollout: {path}: ")


def test_a_damaged_status_is_told_once_and_looked_at_again(
    canary: World, caplog: pytest.LogCaptureFixture
) -> None:
    fail(canary)
    path = canary.installation.home / "run" / "status.json"
    path.write_text('{"shadow": 1}')
    with caplog.at_level(logging.WARNING):
        canary.look()
        assert canary.look().rollout is not None
    assert len(caplog.records) == 1
    canary.follow()
    assert canary.look().rollout is None


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("{")])
def test_a_challenger_is_looked_after_also_when_its_file_is_gone_or_wrong(
    canary: World, damage: Callable[[Path], object]
) -> None:
    damage(canary.installation.settings.applications / "helpdesk.yaml")
    canary.look()
    fail(canary)
    assert canary.look().rollout is None


def test_what_the_file_says_of_a_step_holds_from_then_on_but_the_steps_are_those_of_the_start(
    canary: World,
) -> None:
    canary.configure(ab=None, canary={"shares": [0.3], "min_requests": 250})
    canary.ask(200, "champion")
    canary.ask(200, "challenger")
    assert canary.look().rollout is not None
    assert canary.rollout.step.share == 0.1
    canary.ask(60, "champion")
    canary.ask(60, "challenger")
    assert canary.look().champion == CANDIDATE


def test_what_an_earlier_trial_of_the_same_version_showed_does_not_count(world: World) -> None:
    world.configure(**{**NO_STEPS, "shadow": {"min_pairs": 60}})
    world.start()
    world.follow()
    world.look()
    world.ask(59, "champion", is_copied=True)
    fail_copies(world)
    assert world.look().rollout is None
    world.now += timedelta(minutes=1)
    world.start(is_again=True)
    world.follow()
    for _ in range(2):
        world.ask(59, "champion", is_copied=True)
        assert world.look().rollout is not None or world.moves[-1][0] == "promote"
    assert world.entry.champion == CANDIDATE
    (incident,) = incidents_of(world.installation.home, "helpdesk")
    assert incident.opened_at < world.now - timedelta(minutes=1)


def test_a_clock_that_is_set_back_only_makes_it_wait(canary: World) -> None:
    canary.now = START - timedelta(hours=5)
    fail(canary)
    assert canary.look().rollout is not None
    canary.now = START + timedelta(hours=2)
    fail(canary)
    assert canary.look().rollout is None


def test_looking_takes_a_bounded_part_of_the_time(canary: World) -> None:
    fail(canary)
    canary.watch.timer = lambda: canary._seconds
    canary.watch.look()
    # Half a second has not passed since the last look.
    assert canary.entry.rollout is not None
    canary._seconds += 0.6
    canary.watch.look()
    assert canary.entry.rollout is None


def test_nobody_is_looked_after_without_a_rollout(installation: Installation) -> None:
    world = World(installation)
    world.ask(10, "champion")
    before = set(installation.home.rglob("*"))
    world.look()
    assert set(installation.home.rglob("*")) == before
