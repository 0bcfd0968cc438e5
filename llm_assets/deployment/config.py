"""How a candidate becomes the champion: the steps of its rollout, and what must not get worse."""

from typing import Literal, Self

import pydantic

from llm_assets.config import Config
from llm_assets.deployment.judging.config import JudgeConfig


class SmokeConfig(Config):
    """The first step: the challenger's server must answer these prompts, before any user asks it.

    `timeout_seconds` is how long its start and its answers may take together. A later step holds
    when the server has not been ready for so long.
    """

    prompts: list[str] = pydantic.Field(default=["Hello"], min_length=1)
    timeout_seconds: float = pydantic.Field(default=120.0, gt=0)


class ShadowConfig(Config):
    """The step in which the challenger answers copies of requests, and no user sees it.

    `share` is the part of the requests that are copied. The step ends when `min_pairs` pairs of
    answers were compared, and no earlier than after `min_minutes`. With a `judge` it must not have
    lost more of the judged pairs than it won; `margin` is how far below one half its mean score
    may lie.
    """

    share: float = pydantic.Field(default=1.0, gt=0, le=1)
    min_pairs: int = pydantic.Field(default=50, ge=1)
    min_minutes: float = pydantic.Field(default=0.0, ge=0)
    judge: JudgeConfig | None = None
    margin: float = pydantic.Field(default=0.1, ge=0, lt=0.5)


class CanaryConfig(Config):
    """The steps in which a growing share of the users is answered by the challenger.

    Each lasts until both arms had `min_requests` and every guardrail is clear, and no less than
    `min_minutes`.
    """

    shares: list[float] = pydantic.Field(default=[0.01, 0.05, 0.25])
    min_requests: int = pydantic.Field(default=50, ge=1)
    min_minutes: float = pydantic.Field(default=0.0, ge=0)

    @pydantic.field_validator("shares")
    @classmethod
    def _grow(cls, shares: list[float]) -> list[float]:
        if not all(0 < share < 1 for share in shares) or shares != sorted(set(shares)):
            raise ValueError(f"must be growing shares between 0 and 1, got {shares}")
        return shares


class AbConfig(Config):
    """The step that decides by the application's own metric whether the challenger is promoted.

    `metric` is a rate of users: `correction_rate` is how often an answer is corrected or gets a
    thumb down, `satisfaction` how often a rated answer is liked, `conversion` how often the
    client posts a score named `event` above 0. The challenger is promoted when the whole interval
    of the improvement lies above `-margin`, and rolled back when all of it lies below. The chance
    that either happens by luck, however often one looks, is at most `delta`.

    With `max_users` a test that is still open by then holds. `allocation: best_arm` gives the arm
    that looks better more of the users while the test goes on.
    """

    share: float = pydantic.Field(default=0.5, gt=0, lt=1)
    metric: Literal["correction_rate", "satisfaction", "conversion"] = "correction_rate"
    event: str = "converted"
    margin: float = pydantic.Field(default=0.0, ge=0, lt=1)
    delta: float = pydantic.Field(default=0.05, gt=0, lt=1)
    min_users: int = pydantic.Field(default=50, ge=1)
    max_users: int | None = pydantic.Field(default=None, ge=1)
    min_minutes: float = pydantic.Field(default=0.0, ge=0)
    allocation: Literal["fixed", "best_arm"] = "fixed"


class BlueGreenConfig(Config):
    """The one switch: all users at once, with the old version kept running beside.

    The new version is compared with what the old one did in the `baseline_minutes` before. Each of
    them needs `min_requests`; where the old one had fewer, the switch holds.
    """

    min_requests: int = pydantic.Field(default=50, ge=1)
    min_minutes: float = pydantic.Field(default=10.0, ge=0)
    baseline_minutes: float = pydantic.Field(default=60.0, gt=0)


class GuardrailConfig(Config):
    """What a challenger must not be worse in; `null` leaves a guardrail out.

    The first three are margins of rates: of failed tries, and a user's mean of answers that decline
    and of those with a thumb down or a correction. A challenger that is worse than the champion
    beyond chance is rolled back; one that is shown to be worse by less than the margin, if at all,
    may go on; between the two a step holds.

    The two ratios compare 95th percentiles: a request is slow when it takes that many times as
    long as the champion's 95th percentile, and a challenger is rolled back when more than 5 % of
    its requests are slow, beyond chance; to go on it must be shown that at most 5 % and
    `slow_margin` are. A server that had to be started again more than `max_restarts` times within
    a step is rolled back without statistics.

    The chance that a challenger as good as the champion is rolled back by luck in a whole rollout,
    however often one looks, is at most `false_alarm_rate`.
    """

    error_margin: float | None = pydantic.Field(default=0.05, gt=0, lt=1)
    refusal_margin: float | None = pydantic.Field(default=0.1, gt=0, lt=1)
    negative_margin: float | None = pydantic.Field(default=0.1, gt=0, lt=1)
    max_latency_ratio: float | None = pydantic.Field(default=2.0, gt=1)
    max_first_token_ratio: float | None = pydantic.Field(default=2.0, gt=1)
    slow_margin: float = pydantic.Field(default=0.1, gt=0, lt=0.95)
    max_restarts: int | None = pydantic.Field(default=3, ge=0)
    false_alarm_rate: float = pydantic.Field(default=0.05, gt=0, lt=1)


class DeploymentConfig(Config):
    """The `deployment` section of an application's file; `null` leaves a step out.

    With `strategy: blue_green` the steps are smoke, shadow, and the switch; otherwise smoke,
    shadow, canary, and A/B. A step that holds alerts after `alert_after_minutes`. Without any step
    a candidate is promoted as soon as it is registered.
    """

    strategy: Literal["gradual", "blue_green"] = "gradual"
    smoke: SmokeConfig | None = SmokeConfig()
    shadow: ShadowConfig | None = ShadowConfig()
    canary: CanaryConfig | None = CanaryConfig()
    ab: AbConfig | None = AbConfig()
    blue_green: BlueGreenConfig = BlueGreenConfig()
    guardrails: GuardrailConfig = GuardrailConfig()
    alert_after_minutes: float = pydantic.Field(default=60.0, gt=0)

    # A rollout keeps the steps that it started with. Of one that the file has left out since then
    # the defaults are in force.

    @property
    def smoke_rules(self) -> SmokeConfig:
        """What is in force in the smoke test."""
        return self.smoke or SmokeConfig()

    @property
    def shadow_rules(self) -> ShadowConfig:
        """What is in force in the shadow step."""
        return self.shadow or ShadowConfig()

    @property
    def canary_rules(self) -> CanaryConfig:
        """What is in force in the canary steps."""
        return self.canary or CanaryConfig()

    @property
    def ab_rules(self) -> AbConfig:
        """What is in force in the A/B test."""
        return self.ab or AbConfig()

    @pydantic.model_validator(mode="after")
    def _shares_grow_to_the_test(self) -> Self:
        if (
            self.canary
            and self.canary.shares
            and self.ab
            and self.canary.shares[-1] > self.ab.share
        ):
            raise ValueError(
                f"ab.share must not be less than the last of canary.shares "
                f"({self.canary.shares[-1]:g}), got {self.ab.share:g}"
            )
        return self
