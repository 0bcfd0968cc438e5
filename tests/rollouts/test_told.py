from typing import Any

import pytest

from llm_assets.errors import UserError
from llm_assets.installation import Installation
from llm_assets.rollouts import by_hand
from llm_assets.rollouts.told import describe, gather
from tests.installations import CANDIDATE, VERSION
from tests.rollouts.world import World


@pytest.fixture
def world(installation: Installation) -> World:
    return World(installation)


def lines(world: World) -> list[str]:
    return describe(gather(world.installation, "helpdesk")).splitlines()


def look_at_canary(world: World, *, num_challenger: int, **deployment: Any) -> None:
    """Start with a canary, ask the champion 60 times and the challenger so often, and look."""
    world.configure(smoke=None, shadow=None, **deployment)
    world.start()
    world.follow()
    world.ask(60, "champion")
    world.ask(num_challenger, "challenger")
    world.look()


def test_without_a_rollout_it_says_who_serves_since_when(world: World) -> None:
    assert lines(world) == [
        f"helpdesk: champion {VERSION}",
        "  no rollout runs",
        f"  2026-05-01T00:00:00  promote   {VERSION}  ",
    ]


def test_a_rollout_is_told_with_its_step_its_steps_and_what_is_wrong(world: World) -> None:
    world.configure(shadow=None)
    world.start()
    first, second, third, *_ = lines(world)
    assert first == f"helpdesk: champion {VERSION}"
    assert second == (
        f"  challenger {CANDIDATE} in smoke (goes on) since 2026-05-01T01:00:01; "
        "the gateway does not follow yet"
    )
    assert third == "  steps: smoke → canary 0.01 → canary 0.05 → canary 0.25 → ab 0.5"
    world.follow(ready=False, error="no such model version")
    assert lines(world)[1].endswith("does not follow yet: no such model version")
    world.follow(trial="shadow")
    assert not gather(world.installation, "helpdesk")["is_followed"]
    world.follow()
    assert lines(world)[1].endswith("since 2026-05-01T01:00:01")


def test_a_step_that_holds_and_a_roll_back_are_told_with_their_evidence(world: World) -> None:
    look_at_canary(world, num_challenger=60, guardrails={"error_margin": 0.01})
    assert f"  challenger {CANDIDATE} in canary 0.01 (holds) since" in lines(world)[1]
    shown = gather(world.installation, "helpdesk")
    assert shown["transitions"][-1]["evidence"]["challenger"]["num_users"] == 60
    by_hand.roll_back(world.installation, "helpdesk", reason="no patience")
    assert lines(world)[-1] == (f"  incident: {CANDIDATE} rolled back in canary 0.01: no patience")
    assert gather(world.installation, "helpdesk")["rolled_back"] == {CANDIDATE: "no patience"}


def test_what_the_last_look_saw_is_told_while_a_step_goes_on(world: World) -> None:
    look_at_canary(world, num_challenger=2)
    look, errors, *_ = lines(world)[3:]
    assert look == "  looked at 2026-05-01T01:00:02: 2 and 60 of 50 requests"
    assert errors.startswith("    errors open: +0.000 (")
    latest = gather(world.installation, "helpdesk")["latest"]
    assert latest["challenger"]["num_answers"] == 2
    by_hand.roll_back(world.installation, "helpdesk", reason="no patience")
    world.start(is_again=True)
    assert gather(world.installation, "helpdesk")["latest"] is None


def test_evidence_that_is_gone_is_none(world: World) -> None:
    look_at_canary(world, num_challenger=60)
    for path in world.installation.home.glob("rollouts/helpdesk/*.json"):
        path.unlink()
    assert gather(world.installation, "helpdesk")["transitions"][-1]["evidence"] is None


def test_an_application_that_is_not_there_is_an_error(world: World) -> None:
    with pytest.raises(UserError, match="application 'bank': no "):
        gather(world.installation, "bank")
