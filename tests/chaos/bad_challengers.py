"""A bad challenger is rolled back by itself, for good, and no user notices."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from llm_assets.deployment.incidents import Incident, incidents_of
from llm_assets.errors import UserError
from llm_assets.records import SHADOW_VARIANT
from llm_assets.rollouts import by_hand
from llm_assets.routing import CHALLENGER
from tests.chaos.bad_model import Fault
from tests.chaos.changes import STANDING_CANARY
from tests.chaos.load import Answer, Load, failures
from tests.chaos.platform import NAME, NO_GUARDRAILS, Platform

CANARY: dict[str, Any] = {"smoke": None, "shadow": None, "canary": {"shares": [0.25]}, "ab": None}
SHADOW: dict[str, Any] = {**CANARY, "shadow": {"min_pairs": 10_000}, "canary": None}
# Longer than the gateway takes to write down what it tried.
_WRITING_SECONDS = 0.6


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How the rollout of a bad challenger went; times are in seconds after its first request.

    Of the `num_assigned` that were its own `num_late` began when the controller had said that it
    gets none any more; copies that a shadow still kept waiting are not among them. `refusal` is
    what is said to whoever starts the same rollout again.
    """

    fault: Fault
    incident: Incident | None
    rolled_back_after: float
    last_request_after: float
    num_assigned: int
    num_late: int
    refusal: str
    answers: list[Answer]

    @property
    def step(self) -> str:
        """The step in which it was rolled back."""
        return self.incident.step if self.incident else "none"

    def __str__(self) -> str:
        return (
            f"{self.fault:<7} {self.step:<12} rolled back after {self.rolled_back_after:4.1f} s, "
            f"asked last after {self.last_request_after:4.1f} s, {self.num_assigned:4d} requests "
            f"were its own; {len(failures(self.answers))} of {len(self.answers)} requests failed"
        )


def try_challenger(
    platform: Platform, load: Load, fault: Fault, *, deployment: dict[str, Any]
) -> Trial:
    """Roll out a version with that fault and wait until it is rolled back."""
    platform.configure(deployment)
    version, began = platform.add_version(fault=fault), datetime.now(UTC)
    num_before = len(load.answers)
    platform.start(version)
    platform.wait_for(lambda: platform.entry.rollout is None)
    rolled_back_at = datetime.now(UTC)
    platform.wait_for(platform.follows_registry)
    followed_at = datetime.now(UTC)
    load.wait_for_those_before(time.time())
    time.sleep(_WRITING_SECONDS)
    variant = SHADOW_VARIANT if deployment["shadow"] else CHALLENGER
    attempts = [a for a in platform.attempts(since=began) if a.variant == variant]
    # Who is asked after a first try is of the same variant, and is no user of the challenger's.
    assigned = [a for a in attempts if a.attempt == 1]
    incidents = incidents_of(platform.home, NAME)
    reached = [a.time for a in assigned if a.model_version == version]
    return Trial(
        fault=fault,
        incident=next((i for i in incidents if i.model_version == version), None),
        rolled_back_after=(rolled_back_at - min(reached)).total_seconds(),
        last_request_after=(max(a.time for a in assigned) - min(reached)).total_seconds(),
        num_assigned=len(assigned),
        num_late=sum(a.time > followed_at for a in assigned),
        refusal=_refusal(platform, version),
        answers=load.answers[num_before:],
    )


def start_at_once_after_a_bad_one(platform: Platform, *, num_requests: int) -> list[Answer]:
    """Start the rollout of a good version the moment a bad one is rolled back; return the answers.

    The gateway still follows the bad one's then.
    """
    platform.configure(STANDING_CANARY | {"guardrails": NO_GUARDRAILS | {"error_margin": 0.05}})
    bad, good = platform.add_version(fault=Fault.CRASH), platform.add_version()
    with Load(platform.url).running() as load:
        platform.start(bad)
        platform.wait_for(lambda: platform.entry.rollout is None)
        platform.start(good)
        load.wait_for(num_requests)
    return load.answers


def _refusal(platform: Platform, version: str) -> str:
    """Return why the rollout of a version cannot be started again, or nothing if it can."""
    try:
        by_hand.start(platform.installation, version, reason=None)
    except UserError as error:
        return str(error)
    return ""
