"""The traffic of a rollout: new users ask until the endpoint has decided on the challenger."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from llm_assets.demo.questions import Question
from llm_assets.demo.replay import Outcome, replay
from llm_assets.demo.traffic import PlannedRequest
from llm_assets.errors import UserError

_BATCH = 8
_CORRECTION_RATE = 0.8


def new_users(questions: Sequence[Question], *, seed: int) -> Iterator[PlannedRequest]:
    """Yield requests of today without end, each of a user who was never there before."""
    rng = np.random.default_rng(seed)
    for number in itertools.count():
        question = questions[int(rng.integers(len(questions)))]
        yield PlannedRequest(
            time=datetime.now(UTC),
            session_id=f"trial-{number:05d}",
            user_id=f"trial-{number:05d}",
            question=question,
            will_correct=bool(rng.random() < _CORRECTION_RATE),
            feedback_delay=timedelta(seconds=1),
        )


def ask_until(
    is_decided: Callable[[], bool],
    requests: Iterator[PlannedRequest],
    *,
    application: str,
    base_url: str,
    max_requests: int,
    progress: Callable[[int], None],
) -> list[Outcome]:
    """Ask until it is decided, and return what came of each question.

    Raises:
        UserError: it was not decided after `max_requests`.
    """
    outcomes: list[Outcome] = []
    while not is_decided():
        if len(outcomes) >= max_requests:
            raise UserError(f"the rollout was not decided after {max_requests} questions")
        batch = list(itertools.islice(requests, _BATCH))
        outcomes += replay(
            batch, application=application, base_url=base_url, progress=lambda *_: None
        )
        progress(len(outcomes))
    return outcomes
