"""What the requests of a step add up to: the evidence that is decided on."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from llm_assets.deployment.evidence import ArmEvidence, Rate
from llm_assets.rollouts.request import Answer, Request
from llm_assets.rollouts.requests import StepRequests

# What the metric of a request is, from 0 to 1, the higher the better; None where it says nothing.
Metric = Callable[[Request], float | None]
METRICS: Mapping[str, Metric] = {
    "correction_rate": lambda request: float(request.is_liked is not False),
    "satisfaction": lambda request: None if request.is_liked is None else float(request.is_liked),
    "conversion": lambda request: float(request.has_event),
}


def arm_evidence(requests: StepRequests, variant: str, *, metric: Metric) -> ArmEvidence:
    """Return what an arm's requests show; of answers only those that the arm itself gave."""
    requests.settle()
    found, version = list(requests.of(variant)), requests.versions[variant]
    answered = [request for request in found if request.answer is not None]
    own = [r for r in answered if r.answer and _is_own(r.answer, version)]
    return ArmEvidence(
        failures=Rate(float(sum(request.has_failed for request in found)), len(found)),
        fallbacks=sum(request.fell_back for request in found),
        refusals=by_user(own, lambda r: float(r.answer is not None and r.answer.is_declined)),
        negative=by_user(answered, lambda request: float(request.is_liked is False)),
        metric=by_user(answered, metric),
        num_users=len({request.user for request in answered}),
        **_times(r.answer for r in own if r.answer),
    )


def shadow_evidence(requests: StepRequests) -> ArmEvidence:
    """Return what the challenger's unseen answers show, and how many copies it failed at."""
    copied = [r for r in requests.requests.values() if r.request_id in requests.copies]
    good = [r for r in copied if r.shadow and r.shadow.is_good]
    return ArmEvidence(
        failures=Rate(float(len(failed_copies(requests))), len(copied)),
        refusals=by_user(good, lambda r: float(r.shadow is not None and r.shadow.is_declined)),
        **_times(r.shadow for r in good if r.shadow),
    )


def failed_copies(requests: StepRequests) -> list[Request]:
    """Return the requests whose copy the challenger failed at, or answered with nothing."""
    return [
        request
        for request in requests.requests.values()
        if requests.copies.get(request.request_id)
        or (request.request_id in requests.copies and request.shadow and request.shadow.is_blank)
    ]


def by_user(requests: Iterable[Request], value: Metric) -> Rate:
    """Add up one value a user, the mean over the user's requests, because users were assigned."""
    of_user: dict[str, list[float]] = {}
    for request in requests:
        found = value(request)
        if found is not None:
            of_user.setdefault(request.user, []).append(found)
    # Sorted, so that rounding does not depend on which request was known first.
    return Rate(sum(sorted(sum(v) / len(v) for v in of_user.values())), len(of_user))


def _is_own(answer: Answer, version: str) -> bool:
    return answer.model_version == version and answer.status < 400 and not answer.is_cached


def _times(answers: Iterable[Answer]) -> dict[str, Any]:
    given = list(answers)
    seconds = (answer.seconds for answer in given)
    first_token_seconds = (answer.first_token_seconds for answer in given)
    tokens = [answer.num_tokens for answer in given if answer.num_tokens is not None]
    return {
        "seconds": _ascending(seconds),
        "first_token_seconds": _ascending(first_token_seconds),
        "num_response_tokens": Rate(float(sum(tokens)), len(tokens)),
    }


def _ascending(values: Iterable[float | None]) -> tuple[float, ...]:
    return tuple(sorted(value for value in values if value is not None))
