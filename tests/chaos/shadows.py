"""What users feel of a shadow: nothing, however it does; and each copy's answer is recorded."""

import math
import statistics
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from llm_assets.records import SHADOW_VARIANT
from llm_assets.rollouts import by_hand
from llm_assets.serving.gateway import Gateway
from tests.chaos.bad_model import Fault
from tests.chaos.load import Answer, Load, failures
from tests.chaos.platform import NAME, NO_GUARDRAILS, Platform

# A shadow of all requests that lasts until somebody ends it.
_STANDING_SHADOW: dict[str, Any] = {
    "smoke": None,
    "shadow": {"share": 1.0, "min_minutes": 60.0},
    "canary": None,
    "ab": None,
    "guardrails": NO_GUARDRAILS,
}
_QUIET_SECONDS = 30.0


class Mirrored(NamedTuple):
    """How many copies the gateway counted, wrote down, and the shadow's log holds."""

    num_counted: int | None
    num_tried: int
    num_recorded: int
    answers: list[Answer]

    def __str__(self) -> str:
        num_streams = sum(answer.is_stream for answer in self.answers)
        return (
            f"{len(self.answers)} requests ({num_streams} streams), "
            f"{len(failures(self.answers))} failed; {self.num_counted} copies sent, "
            f"{self.num_tried} in the log of attempts, {self.num_recorded} recorded"
        )


def mirror_all(platform: Platform, *, num_requests: int) -> Mirrored:
    """Copy requests to a challenger and count the copies in three places."""
    platform.configure(_STANDING_SHADOW)
    version, began = platform.add_version(), datetime.now(UTC)
    platform.start(version)
    with Load(platform.url, num_clients=4).running() as load:
        load.wait_for(num_requests)
    deadline = time.monotonic() + _QUIET_SECONDS
    while True:
        found = _count(platform, version, began, load.answers)
        is_quiet = found.num_counted == found.num_tried == found.num_recorded
        if is_quiet or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


@dataclass(frozen=True, kw_only=True)
class Slowed:
    """The same load with and without a hung shadow, in turn; 99th percentiles in seconds."""

    without: list[float]
    hung: list[float]
    answers: list[Answer]

    @property
    def log_ratios(self) -> list[float]:
        """Of each round, the 99th percentile with the hung shadow over that without."""
        rounds = zip(self.hung, self.without, strict=True)
        return [math.log(hung / without) for hung, without in rounds]

    @property
    def ratio(self) -> float:
        """The geometric mean over the rounds."""
        return math.exp(statistics.fmean(self.log_ratios))

    @property
    def error(self) -> float:
        """What to multiply with and divide by for two standard errors; infinite for one round."""
        if len(self.log_ratios) < 2:
            return math.inf
        return math.exp(2 * statistics.stdev(self.log_ratios) / math.sqrt(len(self.log_ratios)))

    def __str__(self) -> str:
        without, hung = (
            ", ".join(f"{1000 * seconds:.0f}" for seconds in rounds)
            for rounds in (self.without, self.hung)
        )
        return (
            f"{len(failures(self.answers))} of {len(self.answers)} requests failed; "
            f"p99 without a shadow {without} ms, with a hung one {hung} ms: {self.ratio:.2f} times "
            f"({self.ratio / self.error:.2f} to {self.ratio * self.error:.2f})"
        )


def hang_a_shadow(platform: Platform, *, num_rounds: int, num_requests: int) -> Slowed:
    """Ask as much with a shadow that never answers as without one, round after round."""
    platform.configure(_STANDING_SHADOW)
    version = platform.add_version(fault=Fault.HANG)
    without, hung, answers = [], [], []
    for number in range(num_rounds):
        without.append(_ask(platform, num_requests, answers))
        platform.start(version, is_again=number > 0)
        hung.append(_ask(platform, num_requests, answers))
        by_hand.roll_back(platform.installation, NAME, reason="the round is over")
        platform.wait_for(lambda: version not in platform.processes())
    return Slowed(without=without, hung=hung, answers=answers)


def _ask(platform: Platform, num_requests: int, answers: list[Answer]) -> float:
    """Ask, keep the answers, and return the 99th percentile of what they took."""
    with Load(platform.url, num_clients=4).running() as load:
        load.wait_for(num_requests)
    answers += load.answers
    seconds = [answer.seconds for answer in load.answers if answer.problem is None]
    return statistics.quantiles(seconds, n=100)[98]


def _count(platform: Platform, version: str, began: datetime, answers: list[Answer]) -> Mirrored:
    gateway = Gateway(platform.home / "gateway", platform.home / "none", "", 0, ("", 0))
    log = platform.installation.shadow_log
    tried = [
        attempt
        for attempt in platform.attempts(since=began)
        if attempt.variant == SHADOW_VARIANT and attempt.model_version == version
    ]
    recorded = [
        record
        for day in log.partitions()
        for record in log.read(day)[0]
        if getattr(record, "model_version", None) == version
    ]
    return Mirrored(gateway.mirrored(version), len(tried), len(recorded), answers)
