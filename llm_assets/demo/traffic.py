"""The plan of the demonstration's traffic: who asks what when, decided before anything runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from llm_assets.demo.questions import Question

# The desks whose questions are there from the first day; the others come up in the last days.
KNOWN_DESKS = frozenset({"coding", "psychology", "emotion", "conversations", "sports"})


@dataclass(frozen=True)
class PlannedRequest:
    """One question at one time, and whether its user will react to a wrong answer, and when."""

    time: datetime
    session_id: str
    user_id: str
    question: Question
    will_correct: bool
    feedback_delay: timedelta


@dataclass(frozen=True, kw_only=True)
class TrafficPlan:
    """How much traffic the demonstration sends.

    On the `num_known_days` first days only known desks are asked. On the `num_new_days` after
    them the other desks come up as well, and `repeat_rate` of the requests repeat a question of
    the days before.
    """

    num_questions: int
    num_known_days: int = 7
    num_new_days: int = 3
    repeat_rate: float = 0.15
    correction_rate: float = 0.8
    late_rate: float = 0.2


FULL = TrafficPlan(num_questions=495)
SMALL = TrafficPlan(num_questions=270)


def plan_traffic(
    questions: Sequence[Question], plan: TrafficPlan, *, end: datetime, seed: int
) -> tuple[list[PlannedRequest], list[PlannedRequest]]:
    """Return the requests of the known days and of the new days, each in order of time.

    The last new day is the one that ends at `end`.
    """
    rng = np.random.default_rng(seed)
    chosen = questions[: plan.num_questions]
    known = [question for question in chosen if question.desk in KNOWN_DESKS]
    new = [question for question in chosen if question.desk not in KNOWN_DESKS]
    num_repeats = int(plan.repeat_rate * len(new))
    repeats = [known[i] for i in rng.choice(len(known), num_repeats, replace=False)]
    mixed = new + repeats
    mixed = [mixed[i] for i in rng.permutation(len(mixed))]
    first = end - timedelta(days=plan.num_known_days + plan.num_new_days)
    change = first + timedelta(days=plan.num_known_days)
    return (
        _requests(known, plan, rng, start=first, end=change),
        _requests(mixed, plan, rng, start=change, end=end),
    )


def _requests(
    questions: Sequence[Question],
    plan: TrafficPlan,
    rng: np.random.Generator,
    *,
    start: datetime,
    end: datetime,
) -> list[PlannedRequest]:
    seconds = np.sort(rng.uniform(0, (end - start).total_seconds(), len(questions)))
    requests: list[PlannedRequest] = []
    for offset, question in zip(seconds, questions, strict=True):
        time = start + timedelta(seconds=float(offset))
        user = int(rng.integers(40))
        is_late = rng.random() < plan.late_rate
        delay = timedelta(hours=30 if is_late else 0, seconds=float(rng.uniform(5, 90)))
        requests.append(
            PlannedRequest(
                time=time,
                session_id=f"session-{user:02d}-{time:%m%d}",
                user_id=f"user-{user:02d}",
                question=question,
                will_correct=bool(rng.random() < plan.correction_rate),
                feedback_delay=min(delay, max(end - time, timedelta(seconds=1))),
            )
        )
    return requests
