import json
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from time import monotonic
from typing import Literal

import pytest

from llm_assets.deployment.registry import Entry, Registry, Rollout
from llm_assets.errors import UserError
from llm_assets.routing import Split
from tests.deployment.rollouts import START, STEPS, VERSIONS


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path)


def register(registry: Registry, *versions: str) -> None:
    for version in versions:
        registry.register("helpdesk", version, time=START, reason="gate passed", run_id="run1")


def promote(registry: Registry, version: str, *, hours: int = 0) -> None:
    time = START + timedelta(hours=hours)
    registry.promote("helpdesk", version, time=time, reason="better", run_id="run1")


def test_an_application_without_an_entry_has_no_champion(registry: Registry) -> None:
    assert registry.champion("helpdesk") is None
    assert registry.history("helpdesk") == ()
    assert registry.served_at("helpdesk", START) is None


def test_an_unregistered_version_cannot_be_promoted(registry: Registry) -> None:
    with pytest.raises(
        UserError, match="helpdesk-v0009: not registered for application 'helpdesk'"
    ):
        promote(registry, "helpdesk-v0009")
    assert registry.champion("helpdesk") is None


def test_rolling_back_returns_to_the_champion_before(registry: Registry) -> None:
    register(registry, *VERSIONS)
    for version in VERSIONS[:3]:
        promote(registry, version)
    assert registry.roll_back("helpdesk", time=START, reason="worse") == VERSIONS[1]
    assert registry.roll_back("helpdesk", time=START, reason="worse") == VERSIONS[0]
    with pytest.raises(UserError, match="'helpdesk' has no earlier champion"):
        registry.roll_back("helpdesk", time=START, reason="worse")
    assert registry.champion("helpdesk") == VERSIONS[0]


def test_the_history_tells_who_served_when_and_why(registry: Registry) -> None:
    register(registry, *VERSIONS[:2])
    promote(registry, VERSIONS[0], hours=1)
    promote(registry, VERSIONS[1], hours=5)
    registry.roll_back("helpdesk", time=START + timedelta(hours=8), reason="slow", run_id="run2")
    served = [registry.served_at("helpdesk", START + timedelta(hours=h)) for h in (0, 1, 6, 9)]
    assert served == [None, VERSIONS[0], VERSIONS[1], VERSIONS[0]]
    last = registry.history("helpdesk")[-1]
    assert (last.action, last.reason, last.run_id) == ("roll_back", "slow", "run2")


def test_doing_it_twice_changes_nothing(registry: Registry) -> None:
    for _ in range(2):
        register(registry, VERSIONS[0])
        promote(registry, VERSIONS[0])
    assert [step.action for step in registry.history("helpdesk")] == ["register", "promote"]


def test_applications_do_not_share_an_entry(registry: Registry) -> None:
    register(registry, VERSIONS[0])
    with pytest.raises(UserError, match="not registered for application 'other'"):
        registry.promote("other", VERSIONS[0], time=START, reason="", run_id=None)


def test_a_damaged_file_is_named(registry: Registry) -> None:
    register(registry, VERSIONS[0])
    path = registry.root / "helpdesk.json"
    path.write_text(path.read_text().replace('"champion"', '"king"'))
    with pytest.raises(UserError, match=r"helpdesk\.json: king"):
        registry.champion("helpdesk")


def test_writers_in_several_processes_lose_nothing(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("forkserver")) as pool:
        list(pool.map(_register_many, [(tmp_path, writer) for writer in range(4)]))
    assert len(Registry(tmp_path).entry("helpdesk").versions) == 40


def _register_many(task: tuple[Path, int]) -> None:
    root, writer = task
    for number in range(10):
        register(Registry(root), f"helpdesk-v{writer}{number:03d}")


def begin(registry: Registry, version: str, *, is_again: bool = False) -> Rollout:
    registry.begin(
        "helpdesk", version, steps=STEPS, time=START, reason="gate passed", is_again=is_again
    )
    rollout = registry.entry("helpdesk").rollout
    assert rollout is not None
    return rollout


def end(registry: Registry, rollout: Rollout, action: Literal["promote", "reject"]) -> bool:
    return registry.move(
        "helpdesk", rollout, None, action=action, time=START, reason=f"because {action}"
    )


@pytest.fixture
def serving(registry: Registry) -> Registry:
    """Return a registry in which the first version serves and all are known."""
    register(registry, *VERSIONS)
    promote(registry, VERSIONS[0])
    return registry


def test_a_rollout_goes_through_its_steps_and_ends_with_the_promotion(serving: Registry) -> None:
    rollout = begin(serving, VERSIONS[1])
    wanted = [("canary", 0.1), ("ab", 0.5)]
    for number, (trial, share) in enumerate(wanted):
        split = serving.entry("helpdesk").split
        assert split == Split(
            champion=VERSIONS[0],
            challenger=VERSIONS[1],
            share=share,
            trial=trial,
            salt=rollout.rollout_id,
        )
        after = rollout.at_next_step(START + timedelta(hours=number))
        if after is not None:
            assert serving.move(
                "helpdesk", rollout, after, action="advance", time=after.since, reason="enough"
            )
            rollout = after
    assert end(serving, rollout, "promote")
    assert serving.entry("helpdesk").split == Split(champion=VERSIONS[1])
    assert serving.entry("helpdesk").rolled_back == {}
    actions = [transition.action for transition in serving.history("helpdesk")]
    assert actions[-3:] == ["start", "advance", "promote"]


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("helpdesk-v0009", "helpdesk-v0009: not registered for application 'helpdesk'"),
        (VERSIONS[0], f"{VERSIONS[0]}: is the champion already"),
        (VERSIONS[1], f"{VERSIONS[1]}: was rolled back: because reject"),
        (VERSIONS[3], f"{VERSIONS[3]}: the rollout of {VERSIONS[2]} is in its step canary 0.1"),
    ],
)
def test_what_cannot_be_tried_says_why_and_changes_nothing(
    serving: Registry, version: str, message: str
) -> None:
    end(serving, begin(serving, VERSIONS[1]), "reject")
    if version == VERSIONS[3]:
        begin(serving, VERSIONS[2])
    before = serving.entry("helpdesk")
    with pytest.raises(UserError, match=message):
        begin(serving, version)
    assert serving.entry("helpdesk") == before


def test_without_a_champion_there_is_nobody_to_challenge(registry: Registry) -> None:
    register(registry, VERSIONS[0])
    with pytest.raises(UserError, match="'helpdesk' has no champion to challenge yet"):
        begin(registry, VERSIONS[0])


def test_starting_the_rollout_that_runs_changes_nothing(serving: Registry) -> None:
    assert begin(serving, VERSIONS[1]) == begin(serving, VERSIONS[1])
    assert [t.action for t in serving.history("helpdesk")].count("start") == 1


def test_without_steps_a_version_is_promoted_at_once(serving: Registry) -> None:
    serving.begin("helpdesk", VERSIONS[1], steps=(), time=START, reason="trusted", run_id="run7")
    entry = serving.entry("helpdesk")
    assert (entry.champion, entry.rollout) == (VERSIONS[1], None)
    assert (entry.history[-1].action, entry.history[-1].run_id) == ("promote", "run7")


def test_a_version_that_was_rolled_back_stays_back_unless_a_person_wants_it(
    serving: Registry,
) -> None:
    end(serving, begin(serving, VERSIONS[1]), "reject")
    assert serving.entry("helpdesk").rolled_back == {VERSIONS[1]: "because reject"}
    end(serving, begin(serving, VERSIONS[1], is_again=True), "promote")
    assert serving.entry("helpdesk").rolled_back == {}
    serving.roll_back("helpdesk", time=START, reason="slow")
    assert serving.entry("helpdesk").rolled_back == {VERSIONS[1]: "slow"}


def test_what_was_decided_on_an_outdated_rollout_changes_nothing(serving: Registry) -> None:
    outdated = begin(serving, VERSIONS[1])
    assert serving.set_share("helpdesk", outdated, 0.3)
    before = serving.entry("helpdesk")
    prepared: list[int] = []
    for action in ("promote", "reject"):
        assert not end(serving, outdated, action)
    assert not serving.move(
        "helpdesk",
        outdated,
        None,
        action="reject",
        time=START,
        reason="",
        prepare=lambda: prepared.append(1),
    )
    assert not serving.set_share("helpdesk", outdated, 0.9)
    assert serving.entry("helpdesk") == before
    assert prepared == []


def test_what_is_prepared_is_there_before_the_transition(serving: Registry) -> None:
    rollout = begin(serving, VERSIONS[1])
    seen: list[Entry] = []
    serving.move(
        "helpdesk",
        rollout,
        None,
        action="reject",
        time=START,
        reason="",
        prepare=lambda: seen.append(serving.entry("helpdesk")),
    )
    assert [entry.rollout for entry in seen] == [rollout]


def test_a_person_may_promote_the_challenger_but_nobody_beside_it(serving: Registry) -> None:
    begin(serving, VERSIONS[1])
    with pytest.raises(UserError, match=f"{VERSIONS[2]}: the rollout of {VERSIONS[1]} runs"):
        promote(serving, VERSIONS[2])
    with pytest.raises(UserError, match=f"helpdesk: the rollout of {VERSIONS[1]} runs"):
        serving.roll_back("helpdesk", time=START, reason="")
    promote(serving, VERSIONS[1])
    entry = serving.entry("helpdesk")
    assert (entry.champion, entry.rollout) == (VERSIONS[1], None)


def test_an_entry_from_before_there_were_rollouts_reads(registry: Registry) -> None:
    transition = {"time": "2026-05-01T00:00:00Z", "reason": "", "run_id": None}
    history = [
        {**transition, "model_version": version, "action": action}
        for version, action in [
            (VERSIONS[0], "register"),
            (VERSIONS[0], "promote"),
            (VERSIONS[1], "register"),
            (VERSIONS[1], "promote"),
            (VERSIONS[0], "roll_back"),
        ]
    ]
    content = {"versions": VERSIONS[:2], "champion": VERSIONS[0], "history": history}
    (registry.root / "helpdesk.json").write_text(json.dumps(content))
    entry = registry.entry("helpdesk")
    assert entry.split == Split(champion=VERSIONS[0])
    assert entry.rolled_back == {VERSIONS[1]: ""}
    register(registry, VERSIONS[2])
    begin(registry, VERSIONS[2])


def test_of_many_processes_that_decide_on_one_rollout_one_does(serving: Registry) -> None:
    rollout = begin(serving, VERSIONS[1])
    actions = ["promote", "reject"] * 4
    with ProcessPoolExecutor(4, mp_context=get_context("forkserver")) as pool:
        tasks = [(serving.root, rollout, action) for action in actions]
        moved = list(pool.map(_end, tasks))
    assert moved.count(True) == 1
    last = serving.history("helpdesk")[-1].action
    assert last == actions[moved.index(True)]
    assert (serving.champion("helpdesk") == VERSIONS[1]) == (last == "promote")


def _end(task: tuple[Path, Rollout, Literal["promote", "reject"]]) -> bool:
    root, rollout, action = task
    return end(Registry(root), rollout, action)


@pytest.mark.chaos
def test_whatever_is_killed_an_entry_reads_and_its_split_is_one_of_those_that_were_written(
    serving: Registry,
) -> None:
    rollout = begin(serving, VERSIONS[1])
    splits = {serving.entry("helpdesk").split}
    for share in SHARES:
        splits.add(replace(serving.entry("helpdesk"), rollout=replace(rollout, share=share)).split)
    program = [sys.executable, "-c", _SETS_SHARES_FOR_EVER, str(serving.root)]
    seen = set()
    for _ in range(8):
        writer = subprocess.Popen(program, stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.read(1)
        until = monotonic() + 0.05
        while monotonic() < until:
            seen.add(serving.entry("helpdesk").split)
        writer.kill()
        writer.communicate()
        seen.add(serving.entry("helpdesk").split)
    assert seen <= splits
    assert len(seen) > 1


SHARES = (0.2, 0.4)
_SETS_SHARES_FOR_EVER = f"""
import itertools, sys
from pathlib import Path
from llm_assets.deployment.registry import Registry
registry = Registry(Path(sys.argv[1]))
for share in itertools.cycle({SHARES}):
    registry.set_share("helpdesk", registry.entry("helpdesk").rollout, share)
    print(".", end="", flush=True)
"""
