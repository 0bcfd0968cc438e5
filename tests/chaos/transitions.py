"""The loop is killed just before and just after each transition, and the rollout goes on."""

from dataclasses import dataclass
from typing import Any

from llm_assets.deployment.incidents import incidents_of
from llm_assets.rollouts.kept import read_kept
from tests.chaos.load import Answer, Load, failures
from tests.chaos.platform import NAME, NO_GUARDRAILS, Platform

# All kinds of steps, each as short as can be.
QUICK: dict[str, Any] = {
    "smoke": {"prompts": ["Hello"]},
    "shadow": {"min_pairs": 10},
    "canary": {"shares": [0.3], "min_requests": 10},
    "ab": {"min_users": 10, "margin": 0.9},
    "guardrails": NO_GUARDRAILS,
}
EXPECTED = ["start smoke", "advance shadow 1", "advance canary 0.3", "advance ab 0.5", "promote"]


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """The history of a rollout whose loop was killed, and what users had of it."""

    history: list[str]
    num_kills: int
    num_incidents: int
    has_all_evidence: bool
    seconds: float
    answers: list[Answer]

    def __str__(self) -> str:
        return (
            f"{self.num_kills} kills in {self.seconds:.0f} s: {', '.join(self.history)}; "
            f"{len(failures(self.answers))} of {len(self.answers)} requests failed"
        )


def roll_out_and_die(platform: Platform) -> Rollout:
    """Carry a rollout through, from the first step to the promotion, on a mortal platform."""
    platform.configure(QUICK)
    version = platform.add_version()
    assert platform.num_starts == 1
    num_before = len(platform.entry.history)
    with Load(platform.url).running() as load:
        platform.start(version)
        seconds = platform.wait_for(lambda: platform.entry.champion == version, seconds=180)
        platform.wait_for(platform.serves(version))
        load.wait_for(20)
    history = platform.entry.history[num_before:]
    names = [transition.evidence for transition in history if transition.action != "start"]
    return Rollout(
        history=[f"{t.action} {t.step or ''}".strip() for t in history],
        num_kills=platform.num_starts - 1,
        num_incidents=len(incidents_of(platform.home, NAME)),
        has_all_evidence=all(name and read_kept(platform.home, NAME, name) for name in names),
        seconds=seconds,
        answers=load.answers,
    )
