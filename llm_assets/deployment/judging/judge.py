"""The judge of a rollout: takes pairs, and has the verdicts that are known so far.

Nothing here makes its caller wait or fails it for the sake of a model that is away.
"""

import functools
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx

from llm_assets.deployment.judging.background import InBackground
from llm_assets.deployment.judging.by_model import ModelJudge
from llm_assets.deployment.judging.by_scorer import Scorer, judge_by_scorer
from llm_assets.deployment.judging.choice_cache import ChoiceCache
from llm_assets.deployment.judging.config import JudgeConfig
from llm_assets.deployment.judging.endpoint import Endpoint
from llm_assets.deployment.judging.pairs import Pair
from llm_assets.deployment.judging.sample import is_drawn
from llm_assets.deployment.judging.verdicts import Verdict
from llm_assets.errors import UserError


class Worker(Protocol):
    """Judges pairs, at once or in a while."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong at present, a line each."""
        ...

    def start(self, pair: Pair, tell: Callable[[Verdict | None], None]) -> None:
        """Have a pair judged, and its verdict told; None where it cannot be judged."""
        ...

    def stop(self) -> None:
        """Give up what is not judged yet."""
        ...


@dataclass(frozen=True)
class AtOnce:
    """Judges with a function."""

    judge: Callable[[Pair], Verdict | None]
    problems: tuple[str, ...] = ()

    def start(self, pair: Pair, tell: Callable[[Verdict | None], None]) -> None:
        """Judge a pair."""
        tell(self.judge(pair))

    def stop(self) -> None:
        """Nothing is ever left."""


@dataclass(frozen=True, kw_only=True)
class JudgeCounts:
    """What became of the pairs: `num_left_out` were not drawn, or beyond `max_judged`."""

    num_judged: int
    num_pending: int
    num_not_judged: int
    num_left_out: int


class Judge:
    """Has a sample of pairs judged; at most `max_judged` of them, and each request once.

    A pair that cannot be judged leaves its place to another.
    """

    def __init__(self, worker: Worker, *, judge_rate: float, max_judged: int) -> None:
        self._worker = worker
        self._judge_rate, self._max_judged = judge_rate, max_judged
        self._lock = threading.Lock()
        # In the order of the pairs; None while pending.
        self._verdicts: dict[str, Verdict | None] = {}
        self._num_not_judged = self._num_left_out = 0
        self._is_stopped = False

    def submit(self, pairs: Iterable[Pair]) -> None:
        """Have those judged that are drawn; once stopped this does nothing."""
        for pair in pairs:
            if not self._is_stopped and self._admits(pair):
                self._worker.start(pair, functools.partial(self._note, pair.request_id))

    def verdicts(self) -> tuple[Verdict, ...]:
        """Return what is known so far, in the order in which the pairs were submitted."""
        with self._lock:
            return tuple(verdict for verdict in self._verdicts.values() if verdict is not None)

    @property
    def counts(self) -> JudgeCounts:
        """What became of the pairs until now."""
        with self._lock:
            num_pending = sum(verdict is None for verdict in self._verdicts.values())
            return JudgeCounts(
                num_judged=len(self._verdicts) - num_pending,
                num_pending=num_pending,
                num_not_judged=self._num_not_judged,
                num_left_out=self._num_left_out,
            )

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps pairs from being judged at present, a line each without text of users."""
        return self._worker.problems

    def stop(self) -> None:
        """Give up what is pending; the verdicts stay."""
        if not self._is_stopped:
            self._is_stopped = True
            self._worker.stop()

    def _admits(self, pair: Pair) -> bool:
        with self._lock:
            if pair.request_id in self._verdicts:
                return False
            has_room = len(self._verdicts) < self._max_judged
            if not has_room or not is_drawn(pair.request_id, rate=self._judge_rate):
                self._num_left_out += 1
                return False
            self._verdicts[pair.request_id] = None
            return True

    def _note(self, request_id: str, verdict: Verdict | None) -> None:
        with self._lock:
            if verdict is None:
                del self._verdicts[request_id]
                self._num_not_judged += 1
            else:
                self._verdicts[request_id] = verdict


def judge_of(
    config: JudgeConfig,
    *,
    scorer: Scorer,
    scorer_name: str,
    wanted: Mapping[str, str],
    environment: Mapping[str, str],
    cache_folder: Path,
) -> Judge:
    """Return the judge of a rollout.

    `wanted` has the answers that users wanted by normalised prompt, and may grow meanwhile.
    `cache_folder` belongs to one process at a time; it keeps what a model chose.

    Raises:
        UserError: the variable that `api_key_env` names holds no key.
    """
    if config.kind == "scorer":
        judge = functools.partial(
            judge_by_scorer, scorer=scorer, scorer_name=scorer_name, wanted=wanted
        )
        worker: Worker = AtOnce(judge)
    else:
        worker = _asking_a_model(config, environment, cache_folder)
    return Judge(worker, judge_rate=config.judge_rate, max_judged=config.max_judged)


def _asking_a_model(
    config: JudgeConfig, environment: Mapping[str, str], cache_folder: Path
) -> InBackground:
    assert config.base_url is not None
    assert config.model is not None
    client = httpx.AsyncClient(
        headers=_credentials(config.api_key_env, environment),
        timeout=None,  # the endpoint keeps one time for the whole call
    )
    endpoint = Endpoint(
        base_url=config.base_url,
        model=config.model,
        client=client,
        timeout_seconds=config.timeout_seconds,
        max_calls=2 * config.max_judged,
    )
    judge = ModelJudge(endpoint, rubric=config.rubric, cache=ChoiceCache(cache_folder))
    return InBackground(judge, client=client, max_concurrency=config.max_concurrency)


def _credentials(api_key_env: str | None, environment: Mapping[str, str]) -> dict[str, str]:
    if api_key_env is None:
        return {}
    key = environment.get(api_key_env, "").strip()
    if not key or not (key.isascii() and key.isprintable()):
        # The name is not shown: some write the key itself there.
        raise UserError("judge.api_key_env: no environment variable of that name holds a key")
    return {"authorization": f"Bearer {key}"}
