"""The requests of one step of a rollout, put together from what four logs say of each.

A request belongs to the step if the gateway routed it since the step began. What was answered and
what was said of it may be known earlier or later, in any order and more than once: what is counted
is the same.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from llm_assets.bounded import drop_oldest
from llm_assets.records import SHADOW_VARIANT, Feedback, FeedbackKind, Interaction
from llm_assets.rollouts.request import Answer, Request
from llm_assets.routing import CHALLENGER
from llm_assets.serving.attempts import Attempt, GatewayStart

# So many answers and signals are kept whose request the gateway's log did not tell yet.
_MAX_EARLY = 20_000
# Feedback may bear a client's clock.
_CLOCK_TOLERANCE = timedelta(minutes=1)

# What a gateway that ends cuts off ends with it.
_LAST_MOMENT = timedelta(seconds=2)
_MAX_FAILED = 1000


class _Failed(NamedTuple):
    ended_at: datetime
    request_id: str
    variant: str


@dataclass
class StepRequests:
    """The requests since `since`, by id; `versions` names the model version of each variant.

    With a `trial` only requests that were routed in that step belong to it: until both arms are
    there, all users get the champion. `declines` tells whether a text declines to answer, and
    scores count that are named `event`. `on_known` is called with each answer of a request that
    belongs to the step, and `copies` tells of each copy that was sent to the challenger whether it
    failed.
    """

    since: datetime
    versions: Mapping[str, str]
    declines: Callable[[str], bool]
    event: str
    trial: str | None = None
    on_known: Callable[[Interaction], object] = lambda _: None
    requests: dict[str, Request] = field(default_factory=dict)
    copies: dict[str, bool] = field(default_factory=dict)
    _failed: deque[_Failed] = field(default_factory=lambda: deque(maxlen=_MAX_FAILED))
    _last_end: datetime | None = None
    _answers: dict[str, Interaction] = field(default_factory=dict)
    _shadows: dict[str, Interaction] = field(default_factory=dict)
    _said: dict[str, dict[str, Feedback]] = field(default_factory=dict)
    _said_of_sessions: dict[str, dict[str, Feedback]] = field(default_factory=dict)

    def add_attempt(self, attempt: Attempt | GatewayStart) -> None:
        """Take in a try of the gateway, which says which arm the request belongs to.

        What failed in the last moment before the gateway was started anew was cut off by its end.
        """
        if isinstance(attempt, GatewayStart):
            self._forgive()
            return
        if attempt.time < self.since:
            return
        if attempt.is_failure:
            self._failed.append(_Failed(attempt.ended_at, attempt.request_id, attempt.variant))
        self._last_end = max(self._last_end or attempt.ended_at, attempt.ended_at)
        if attempt.variant == SHADOW_VARIANT:
            if attempt.model_version == self.versions[CHALLENGER]:
                self.copies[attempt.request_id] = attempt.is_failure
        elif attempt.variant in self.versions and self.trial in (None, attempt.trial):
            request = self._request(attempt.request_id, attempt.variant)
            request.fell_back |= attempt.model_version is None
            request.has_failed |= attempt.attempt == 1 and self._is_against_its_arm(attempt)

    def _forgive(self) -> None:
        while self._failed and self._last_end is not None:
            failed = self._failed.pop()
            if self._last_end - failed.ended_at > _LAST_MOMENT:
                continue
            if failed.variant == SHADOW_VARIANT:
                self.copies.pop(failed.request_id, None)
            elif request := self.requests.get(failed.request_id):
                request.has_failed = False

    def add_answer(self, interaction: Interaction) -> None:
        """Take in what a user was answered."""
        request = self.requests.get(interaction.request_id)
        if request is None:
            _keep(self._answers, interaction.request_id, interaction)
        else:
            request.answer = self._counted(interaction)

    def add_shadow(self, interaction: Interaction) -> None:
        """Take in what the challenger answered to a copy."""
        if interaction.model_version != self.versions[CHALLENGER]:
            return
        request = self.requests.get(interaction.request_id)
        if request is None:
            _keep(self._shadows, interaction.request_id, interaction)
        else:
            request.shadow = self._counted(interaction)

    def add_feedback(self, feedback: Feedback) -> None:
        """Take in what was said of a request, or of a session as a whole."""
        if feedback.kind is FeedbackKind.SCORE and feedback.name != self.event:
            return
        if feedback.request_id is None:
            session_id = feedback.session_id or ""
            said = self._said_of_sessions.get(session_id, {})
            _keep(self._said_of_sessions, session_id, said | {feedback.feedback_id: feedback})
        elif request := self.requests.get(feedback.request_id):
            request.said[feedback.feedback_id] = feedback
        else:
            said = self._said.get(feedback.request_id, {})
            _keep(self._said, feedback.request_id, said | {feedback.feedback_id: feedback})

    def of(self, variant: str) -> Iterator[Request]:
        """Yield the requests of an arm."""
        return (request for request in self.requests.values() if request.variant == variant)

    def settle(self) -> None:
        """Give what was said of a session to its last request before, else to one just after."""
        of_session: dict[str, list[Request]] = {}
        for request in self.requests.values():
            if request.answer and request.answer.session_id in self._said_of_sessions:
                of_session.setdefault(request.answer.session_id, []).append(request)
        for session_id, requests in of_session.items():
            requests.sort(key=lambda request: (_asked_at(request), request.request_id))
            for feedback in self._said_of_sessions[session_id].values():
                for request in requests:
                    request.said.pop(feedback.feedback_id, None)
                if meant := _meant(feedback, requests):
                    meant.said[feedback.feedback_id] = feedback

    def _request(self, request_id: str, variant: str) -> Request:
        request = self.requests.get(request_id)
        if request is None:
            request = self.requests[request_id] = Request(request_id, variant)
            if answer := self._answers.pop(request_id, None):
                request.answer = self._counted(answer)
            if shadow := self._shadows.pop(request_id, None):
                request.shadow = self._counted(shadow)
            request.said |= self._said.pop(request_id, {})
        return request

    def _is_against_its_arm(self, attempt: Attempt) -> bool:
        # Where the gateway has put the challenger out, the first try already goes elsewhere.
        is_put_out = (
            attempt.variant == CHALLENGER and attempt.model_version != self.versions[CHALLENGER]
        )
        return attempt.is_failure or is_put_out

    def _counted(self, interaction: Interaction) -> Answer:
        self.on_known(interaction)
        return Answer.of(interaction, declines=self.declines)


def _asked_at(request: Request) -> datetime:
    assert request.answer is not None
    return request.answer.time


def _meant(feedback: Feedback, requests: list[Request]) -> Request | None:
    """Return the one of a session's requests, oldest first, that feedback on it speaks of."""
    before = [request for request in requests if _asked_at(request) <= feedback.time]
    if before:
        return before[-1]
    is_close = _asked_at(requests[0]) <= feedback.time + _CLOCK_TOLERANCE
    return requests[0] if is_close else None


def _keep(early: dict[str, Any], key: str, value: object) -> None:
    early[key] = value
    drop_oldest(early, _MAX_EARLY)
