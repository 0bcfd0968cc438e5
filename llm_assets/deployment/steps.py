"""The steps of a rollout, frozen when it starts: what a file says later changes the next one."""

from typing import Literal

import pydantic
from pydantic.dataclasses import dataclass

from llm_assets.deployment.config import DeploymentConfig

Stage = Literal["smoke", "shadow", "canary", "ab", "blue_green"]


@dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class Step:
    """One step: the share of users that the challenger answers, and of requests copied to it."""

    stage: Stage
    share: float = 0.0
    mirrored: float = 0.0

    @property
    def compared_share(self) -> float:
        """The challenger's planned part of what it is compared on: half where all of it counts."""
        return self.share if self.stage in ("canary", "ab") else 0.5

    def __str__(self) -> str:
        share = self.mirrored if self.stage == "shadow" else self.share
        return f"{self.stage} {share:.3g}" if share else self.stage


def steps_of(config: DeploymentConfig) -> tuple[Step, ...]:
    """Return the steps that a rollout takes, in their order; none if all are left out.

    >>> from llm_assets.deployment.config import DeploymentConfig
    >>> [str(step) for step in steps_of(DeploymentConfig())]
    ['smoke', 'shadow 1', 'canary 0.01', 'canary 0.05', 'canary 0.25', 'ab 0.5']
    """
    steps: list[Step] = []
    if config.smoke:
        steps.append(Step(stage="smoke"))
    if config.shadow:
        steps.append(Step(stage="shadow", mirrored=config.shadow.share))
    if config.strategy == "blue_green":
        return (*steps, Step(stage="blue_green", share=1.0))
    if config.canary:
        steps += [Step(stage="canary", share=share) for share in config.canary.shares]
    if config.ab:
        steps.append(Step(stage="ab", share=config.ab.share))
    return tuple(steps)
