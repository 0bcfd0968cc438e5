"""A request's two answers: the champion's, and the challenger's that no user saw.

They are recorded apart and come in any order; one of them may never come.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from llm_assets.bounded import drop_oldest
from llm_assets.records import FALLBACK_VARIANT, SHADOW_VARIANT, Interaction


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A request that both versions answered with status 200 and some text.

    `messages` is the whole conversation, or nothing where the client's was not recorded. Seconds
    are None where they were not measured, and of an answer from a cache, whose seconds say nothing
    of the model.
    """

    request_id: str
    time: datetime
    prompt: str
    messages: tuple[Mapping[str, str], ...]
    champion_answer: str
    challenger_answer: str
    champion_seconds: float | None
    challenger_seconds: float | None
    champion_first_token_seconds: float | None
    challenger_first_token_seconds: float | None
    champion_num_tokens: int | None
    challenger_num_tokens: int | None
    user_id: str | None


@dataclass(frozen=True, kw_only=True)
class PairingCounts:
    """What became of the interactions that were taken.

    `num_shadow_failures` of the `num_shadows` had a status of 500 or more, or no text. A request of
    which one answer is no answer to a user is one of `num_unusable`. Of an interaction whose other
    half did not come, `num_crowded_out` and `num_expired` say whether room or time ran out.
    """

    num_pairs: int = 0
    num_unusable: int = 0
    num_waiting: int = 0
    num_crowded_out: int = 0
    num_expired: int = 0
    num_shadows: int = 0
    num_shadow_failures: int = 0


class _Waiting(NamedTuple):
    interaction: Interaction
    since: datetime


class Pairing:
    """Makes pairs of interactions, each request's once.

    At most `capacity` interactions wait for their other half, none for longer than `patience`: the
    oldest are forgotten. As many requests that are done with are remembered, so that what is read
    twice is not counted twice.
    """

    def __init__(
        self, *, capacity: int = 10_000, patience: timedelta = timedelta(minutes=10)
    ) -> None:
        assert capacity > 0, capacity
        self._capacity, self._patience = capacity, patience
        # Both in the order of arrival.
        self._waiting: dict[str, _Waiting] = {}
        self._done: dict[str, None] = {}
        self._num_pairs = self._num_unusable = 0
        self._num_crowded_out = self._num_expired = 0
        self._num_shadows = self._num_shadow_failures = 0

    @property
    def counts(self) -> PairingCounts:
        """What became of everything until now."""
        return PairingCounts(
            num_pairs=self._num_pairs,
            num_unusable=self._num_unusable,
            num_waiting=len(self._waiting),
            num_crowded_out=self._num_crowded_out,
            num_expired=self._num_expired,
            num_shadows=self._num_shadows,
            num_shadow_failures=self._num_shadow_failures,
        )

    def take(self, interactions: Iterable[Interaction], *, now: datetime) -> list[Pair]:
        """Return the pairs that interactions complete; the others wait, from `now` on."""
        self._expire(now)
        return [pair for each in interactions if (pair := self._pair(each, now)) is not None]

    def _pair(self, interaction: Interaction, now: datetime) -> Pair | None:
        request_id = interaction.request_id
        other = self._waiting.get(request_id)
        if request_id in self._done:
            return None
        if other and _is_shadow(other.interaction) == _is_shadow(interaction):
            return None
        if _is_shadow(interaction):
            self._num_shadows += 1
            self._num_shadow_failures += interaction.status >= 500 or not _has_text(interaction)
        if other is None:
            self._waiting[request_id] = _Waiting(interaction, now)
            self._num_crowded_out += drop_oldest(self._waiting, self._capacity)
            return None
        del self._waiting[request_id]
        self._done[request_id] = None
        drop_oldest(self._done, self._capacity)
        champion, shadow = sorted((interaction, other.interaction), key=_is_shadow)
        if not _is_usable(champion) or not _is_usable(shadow):
            self._num_unusable += 1
            return None
        self._num_pairs += 1
        return _pair_of(champion, shadow)

    def _expire(self, now: datetime) -> None:
        late = [key for key, each in self._waiting.items() if now - each.since > self._patience]
        for request_id in late:
            del self._waiting[request_id]
        self._num_expired += len(late)


def _is_shadow(interaction: Interaction) -> bool:
    return interaction.variant == SHADOW_VARIANT


def _has_text(interaction: Interaction) -> bool:
    return bool(interaction.response.strip())


def _is_usable(interaction: Interaction) -> bool:
    is_answered = interaction.status == 200 and _has_text(interaction)
    return is_answered and interaction.variant != FALLBACK_VARIANT


def _pair_of(champion: Interaction, shadow: Interaction) -> Pair:
    return Pair(
        request_id=champion.request_id,
        time=champion.time,
        prompt=champion.prompt,
        messages=tuple(champion.messages),
        champion_answer=champion.response,
        challenger_answer=shadow.response,
        champion_seconds=None if champion.is_cached else champion.latency_seconds,
        challenger_seconds=None if shadow.is_cached else shadow.latency_seconds,
        champion_first_token_seconds=_first_token_seconds(champion),
        challenger_first_token_seconds=_first_token_seconds(shadow),
        champion_num_tokens=champion.num_response_tokens,
        challenger_num_tokens=shadow.num_response_tokens,
        user_id=champion.user_id,
    )


def _first_token_seconds(interaction: Interaction) -> float | None:
    return None if interaction.is_cached else interaction.first_token_seconds
