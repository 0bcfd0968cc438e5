"""Traffic moves between two versions, again and again, and no user notices."""

import time
from dataclasses import dataclass
from typing import Any

from llm_assets.rollouts import by_hand
from tests.chaos.load import Answer, Load, failures
from tests.chaos.platform import CHAMPION, NAME, NO_GUARDRAILS, Platform

# One step that lasts until somebody ends it.
STANDING_CANARY: dict[str, Any] = {
    "smoke": None,
    "shadow": None,
    "canary": {"shares": [0.1], "min_minutes": 60.0},
    "ab": None,
    "guardrails": NO_GUARDRAILS,
}
_SHARES = (0.25, 0.5, 0.05, 0.9)


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What was changed under load, and what became of the requests."""

    num_shares: int
    num_promotions: int
    num_roll_backs: int
    answers: list[Answer]
    seconds: float

    def __str__(self) -> str:
        num_streams = sum(answer.is_stream for answer in self.answers)
        return (
            f"{self.num_shares} weight changes, {self.num_promotions} promotions, "
            f"{self.num_roll_backs} roll-backs in {self.seconds:.0f} s: "
            f"{len(failures(self.answers))} of {len(self.answers)} requests failed "
            f"({num_streams} of them streams)"
        )


def change_under_load(platform: Platform, *, num_rounds: int, num_requests: int) -> Changes:
    """Roll one version out and back, `num_rounds` times, while clients ask `num_requests`."""
    platform.configure(STANDING_CANARY)
    version, began = platform.add_version(), time.monotonic()
    num_each = -(-num_requests // (num_rounds * (len(_SHARES) + 2)))
    with Load(platform.url).running() as load:
        for _ in range(num_rounds):
            platform.start(version, is_again=True)
            for share in _SHARES:
                platform.set_share(share)
                load.wait_for(num_each)
            by_hand.promote(platform.installation, NAME, reason="a person wants it")
            platform.wait_for(platform.serves(version))
            load.wait_for(num_each)
            by_hand.roll_back(platform.installation, NAME, reason="a person regrets it")
            platform.wait_for(platform.serves(CHAMPION))
            load.wait_for(num_each)
    return Changes(
        num_shares=num_rounds * len(_SHARES),
        num_promotions=num_rounds,
        num_roll_backs=num_rounds,
        answers=load.answers,
        seconds=time.monotonic() - began,
    )
