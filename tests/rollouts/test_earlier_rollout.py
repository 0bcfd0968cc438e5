"""The gateway follows a new rollout a little after it began."""

from datetime import datetime

import pytest

from llm_assets.installation import Installation
from llm_assets.routing import trial_of
from llm_assets.serving.attempts import Attempt
from tests.installations import VERSION
from tests.rollouts.logs import an_attempt
from tests.rollouts.world import World

EARLIER = "helpdesk-v0003"
NO_STEPS = {"smoke": None, "shadow": None, "ab": None}


def of_an_earlier_rollout(number: int, time: datetime, model_version: str) -> Attempt:
    trial = trial_of("canary", f"{EARLIER}@20260101T000000.000000")
    key = f"earlier-{number}"
    return an_attempt(key, "challenger", time, model_version=model_version, trial=trial)


@pytest.mark.parametrize("asked", [EARLIER, VERSION], ids=["good", "put out"])
def test_what_is_still_split_as_the_rollout_before_wanted_speaks_of_no_other(
    installation: Installation, asked: str
) -> None:
    world = World(installation)
    world.configure(**NO_STEPS, canary={"shares": [0.1]})
    world.start()
    world.follow()
    world.ask(200, "champion")
    world.logs.write(*(of_an_earlier_rollout(n, world.now, asked) for n in range(100)))
    assert world.look().rollout is not None
    world.ask(20, "challenger")
    assert world.look().rollout is not None
