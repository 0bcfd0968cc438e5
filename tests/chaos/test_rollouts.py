"""Short forms of the proofs that a rollout harms no user; `make benchmark-chaos` has the long ones.

Each prints its numbers, which `pytest -s` shows.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_assets.base_model import BaseModelFile
from tests.chaos.bad_challengers import (
    CANARY,
    SHADOW,
    start_at_once_after_a_bad_one,
    try_challenger,
)
from tests.chaos.bad_model import Fault
from tests.chaos.changes import change_under_load
from tests.chaos.deaths import DEATHS
from tests.chaos.kills import kill_one_after_another
from tests.chaos.load import Load, failures
from tests.chaos.platform import CHAMPION, Platform, a_platform
from tests.chaos.shadows import hang_a_shadow, mirror_all
from tests.chaos.transitions import EXPECTED, roll_out_and_die

pytestmark = pytest.mark.chaos


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, tiny_base_model: BaseModelFile
) -> Iterator[Platform]:
    with a_platform(tmp_path_factory.mktemp("chaos"), tiny_base_model) as platform:
        yield platform


@pytest.fixture
def platform(running: Platform) -> Iterator[Platform]:
    """Return a platform on which the first version is the champion and no rollout runs."""
    yield running
    running.restore()


def test_no_request_fails_while_traffic_moves_between_versions(platform: Platform) -> None:
    changes = change_under_load(platform, num_rounds=5, num_requests=1500)
    print(changes)
    assert (changes.num_shares, changes.num_promotions, changes.num_roll_backs) == (20, 5, 5)
    assert len(changes.answers) >= 1500
    assert {answer.model_version for answer in changes.answers} > {CHAMPION}
    assert failures(changes.answers) == []


@pytest.mark.parametrize(
    ("deployment", "fault"),
    [
        (CANARY, Fault.CRASH),
        (CANARY, Fault.HANG),
        (CANARY, Fault.STOP),
        (CANARY, Fault.ERRORS),
        (CANARY, Fault.SLOW),
        (CANARY, Fault.EMPTY),
        (CANARY, Fault.WRONG),
        (SHADOW, Fault.EMPTY),
    ],
)
def test_a_bad_challenger_is_rolled_back_for_good_and_no_user_notices(
    platform: Platform, deployment: dict[str, object], fault: Fault
) -> None:
    with Load(platform.url, has_feedback=True).running() as load:
        trial = try_challenger(platform, load, fault, deployment=deployment)
    print(trial)
    assert failures(trial.answers) == []
    assert trial.incident is not None
    assert "was rolled back" in trial.refusal
    assert trial.num_late == 0


def test_a_bad_challenger_does_no_harm_to_the_next_one(platform: Platform) -> None:
    answers = start_at_once_after_a_bad_one(platform, num_requests=200)
    assert failures(answers) == []
    assert platform.entry.rollout is not None


def test_what_is_killed_comes_back_by_itself_and_no_record_is_lost(platform: Platform) -> None:
    survived = kill_one_after_another(platform, num_requests=100)
    print(survived)
    assert survived.missing == []
    assert survived.num_acknowledged_lost == survived.num_duplicates == 0
    assert survived.num_users_moved == 0
    of_gateway, of_champion, _, of_collector = survived.kills
    assert {answer.status for answer in of_gateway.failures} <= {0, 200}
    # What was being streamed has no other end.
    assert all(answer.status == 200 and answer.is_stream for answer in of_champion.failures)
    assert of_collector.failures == []


def test_every_copy_that_a_shadow_gets_is_recorded(platform: Platform) -> None:
    mirrored = mirror_all(platform, num_requests=300)
    print(mirrored)
    assert failures(mirrored.answers) == []
    assert mirrored.num_counted == mirrored.num_tried == mirrored.num_recorded
    # A copy that finds the mirror full, on a busy machine, is not sent.
    assert 100 < mirrored.num_recorded <= len(mirrored.answers)


def test_a_hung_shadow_fails_no_request(platform: Platform) -> None:
    slowed = hang_a_shadow(platform, num_rounds=1, num_requests=300)
    print(slowed)
    assert failures(slowed.answers) == []
    assert len(slowed.answers) >= 600


def test_a_rollout_goes_on_wherever_its_loop_is_killed(
    tiny_base_model: BaseModelFile, tmp_path: Path
) -> None:
    mortal = {DEATHS: str(tmp_path / "deaths")}
    with a_platform(tmp_path, tiny_base_model, environment=mortal) as platform:
        rollout = roll_out_and_die(platform)
    print(rollout)
    assert rollout.num_kills == 2 * (len(EXPECTED) - 1)
    assert rollout.history == EXPECTED
    assert rollout.has_all_evidence
    assert rollout.num_incidents == 0
