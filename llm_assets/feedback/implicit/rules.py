"""The rules that find signals in sessions: what a user does after an answer judges the answer.

A signal's `request_id` is the interaction whose answer is judged, and its time is when the signal
was there: when the next prompt was sent, or when the session had been silent long enough. No
signal holds any text of the user.

`confidence` is a score, not a probability: of two signals of one kind the higher one is the surer
one, and `combination` weighs the kinds against each other.
"""

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from llm_assets.feedback.implicit import phrases
from llm_assets.feedback.implicit.calibration import is_comparable
from llm_assets.feedback.implicit.config import ImplicitConfig
from llm_assets.feedback.implicit.sessions import Turn
from llm_assets.normalise import normalise
from llm_assets.records import Feedback, FeedbackKind

# Count a rule up whenever it may find something else: then its days can be backfilled.
RULES: Mapping[FeedbackKind, str] = {
    FeedbackKind.REPHRASE: "rephrase-1",
    FeedbackKind.REGENERATE: "regenerate-1",
    FeedbackKind.ABANDON: "abandon-1",
    FeedbackKind.CORRECTION_PHRASE: "correction_phrase-1",
    FeedbackKind.THANKS: "thanks-1",
}
CODE_VERSION = " ".join(sorted(RULES.values()))

_ASKED_AGAIN = frozenset(
    {FeedbackKind.REPHRASE, FeedbackKind.REGENERATE, FeedbackKind.CORRECTION_PHRASE}
)
_MAX_ID_LENGTH = 200

Reaction = tuple[FeedbackKind, float]


def rephrase_candidates(
    sessions: Sequence[Sequence[Turn]], *, config: ImplicitConfig
) -> list[tuple[Turn, Turn]]:
    """Return the pairs of consecutive turns whose prompts must be compared by their meaning."""
    return [
        (turn, following)
        for turns in sessions
        for turn, following in itertools.pairwise(turns)
        if _may_ask_again(turn, following, config)
        and is_comparable(turn.prompt)
        and is_comparable(following.prompt)
        and not _is_repeat(turn, following)
    ]


def find_signals(
    sessions: Sequence[Sequence[Turn]],
    similarities: Mapping[str, float],
    *,
    threshold: float,
    config: ImplicitConfig,
) -> list[Feedback]:
    """Return what the users of these sessions showed of their answers.

    `similarities` holds, by the `request_id` of the earlier turn, how similar the prompts of a
    `rephrase_candidates` pair are; where the threshold is nan nothing counts as rephrased.

    - `correction_phrase`: the next prompt starts by rejecting the answer. English only.
    - `thanks`: the next prompt starts by thanking or by saying that it worked. English only.
    - `regenerate`: the next prompt is the same again but for its writing, or says "try again".
      After a failed request it is none, because clients repeat those by themselves.
    - `rephrase`: the next prompt is another one and similar over the threshold, without thanks.
    - `abandon`: nobody asked on, and the last answer was a failure, empty, or a refusal; or its
      question had been asked again already. To stop asking after an answer is no signal: most
      users who got what they wanted do just that.
    """
    return [
        signal
        for turns in sessions
        for signal in _signals_of(turns, similarities, threshold=threshold, config=config)
    ]


def _signals_of(
    turns: Sequence[Turn],
    similarities: Mapping[str, float],
    *,
    threshold: float,
    config: ImplicitConfig,
) -> Iterator[Feedback]:
    was_asked_again = False
    silence = timedelta(seconds=config.session_gap_seconds)
    for turn, following in zip(turns, [*turns[1:], None], strict=True):
        if following is None or following.asked - turn.asked > silence:
            confidence = _abandon_confidence(turn, was_asked_again=was_asked_again)
            if confidence is not None:
                yield _signal(turn, FeedbackKind.ABANDON, confidence, time=turn.asked + silence)
            was_asked_again = False
            continue
        similarity = similarities.get(turn.request_id, math.nan)
        reactions = _reactions(turn, following, similarity, threshold=threshold, config=config)
        for kind, confidence in reactions:
            yield _signal(turn, kind, confidence, time=following.asked)
        was_asked_again = any(kind in _ASKED_AGAIN for kind, _ in reactions)


def _reactions(
    turn: Turn, following: Turn, similarity: float, *, threshold: float, config: ImplicitConfig
) -> list[Reaction]:
    if not _was_seen(turn, following):
        return []
    thanks = phrases.thanks_confidence(following.prompt)
    if thanks is not None:
        return [(FeedbackKind.THANKS, thanks)]
    reactions: list[Reaction] = []
    correction = phrases.correction_confidence(following.prompt, answer=turn.response)
    if correction is not None:
        reactions.append((FeedbackKind.CORRECTION_PHRASE, correction))
    if _may_ask_again(turn, following, config):
        if _is_repeat(turn, following):
            reactions.append((FeedbackKind.REGENERATE, 1.0))
        elif phrases.asks_again(following.prompt):
            reactions.append((FeedbackKind.REGENERATE, 0.9))
        elif similarity >= threshold:  # nan is never over anything
            reactions.append((FeedbackKind.REPHRASE, _rephrase_confidence(similarity, threshold)))
    return reactions


def _rephrase_confidence(similarity: float, threshold: float) -> float:
    """Return 0.25 at the threshold and 1 for prompts of the same meaning."""
    share = (similarity - threshold) / max(1 - threshold, 1e-9)
    return min(1.0, 0.25 + 0.75 * share)


def _abandon_confidence(turn: Turn, *, was_asked_again: bool) -> float | None:
    if phrases.thanks_confidence(turn.prompt) is not None:
        return None
    if turn.status >= 400 or not turn.response.strip():
        return 0.9
    if turn.finish_reason == "content_filter" or phrases.is_refusal(turn.response):
        return 0.7
    # The second answer may have been the right one: the weakest of all signals.
    return 0.3 if was_asked_again else None


def _was_seen(turn: Turn, following: Turn) -> bool:
    """Say whether there was an answer before the next prompt; parallel requests react to none."""
    return turn.status < 400 and following.asked >= turn.answered


def _may_ask_again(turn: Turn, following: Turn, config: ImplicitConfig) -> bool:
    gap = following.asked - turn.asked
    return _was_seen(turn, following) and gap <= timedelta(seconds=config.rephrase_gap_seconds)


def _is_repeat(turn: Turn, following: Turn) -> bool:
    first, second = turn.prompt, following.prompt
    # Documents are compared by their length first: normalising them costs more than all the rest.
    if abs(len(first) - len(second)) > 16 + len(first) // 8 or len(first.split(None, 3)) < 3:
        return False
    return first == second or normalise(first) == normalise(second)


def _signal(turn: Turn, kind: FeedbackKind, confidence: float, *, time: datetime) -> Feedback:
    rule = RULES[kind]
    feedback_id = f"{rule}:{turn.request_id}"
    if len(feedback_id) > _MAX_ID_LENGTH:
        feedback_id = f"{rule}:{hashlib.sha256(turn.request_id.encode()).hexdigest()}"
    return Feedback(
        feedback_id=feedback_id,
        application=turn.application,
        time=time,
        kind=kind,
        request_id=turn.request_id,
        session_id=turn.session_id,
        user_id=turn.user_id,
        confidence=round(confidence, 4),
        rule=rule,
    )
