"""Whatever process is killed comes back, traffic is split as before, and no record is lost."""

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import httpx

from tests.chaos.changes import STANDING_CANARY
from tests.chaos.load import Answer, Load, failures
from tests.chaos.platform import CHAMPION, Platform

# Gateway, champion's server, the loop with all that it started, collector.
PROCESSES = ("gateway", CHAMPION, "platform", "api")
# A record leaves a model server so long after its answer at the latest, on a busy machine; and so
# long a client may take to see an answer that was sent before the kill.
_OUTBOX_SECONDS, _READING_SECONDS = 1.0, 0.3
_QUIET_SECONDS = 3.0
_FALLBACK = "the fallback answered"


class Kill(NamedTuple):
    """One kill: when, how long until all was as before, and the requests that failed meanwhile.

    `answers_after` is when the first request that was begun after it was answered.
    """

    process: str
    killed_at: float
    recovered_after: float
    answers_after: float
    failures: list[Answer]

    def __str__(self) -> str:
        kinds = Counter(answer.problem for answer in self.failures)
        told = ", ".join(f"{number} {kind}" for kind, number in kinds.items()) or "none"
        return (
            f"kill -9 of {self.process:<14} answers again after {self.answers_after:4.1f} s, "
            f"all as before after {self.recovered_after:4.1f} s; requests that failed: {told}"
        )


@dataclass(frozen=True, kw_only=True)
class Survived:
    """What became of the answers that users got in full, and of their records.

    `lost` were answered by a server that was killed less than a second later, with the record in
    its memory still; `missing` are all others that are not in the log. `num_acknowledged_lost` were
    in the log before a kill and are not any more.
    """

    kills: list[Kill]
    answers: list[Answer]
    lost: list[Answer]
    missing: list[Answer]
    num_duplicates: int
    num_users_moved: int
    num_acknowledged_lost: int

    def __str__(self) -> str:
        whole = _whole(self.answers)
        return "\n".join(
            [
                *map(str, self.kills),
                f"{len(whole)} requests answered in full, "
                f"{len(whole) - len(self.lost) - len(self.missing)} of them in the log once, "
                f"{self.num_duplicates} twice; {len(self.lost)} were answered in the last second "
                f"of a killed server, {len(self.missing)} are missing otherwise; of what was in "
                f"the log before a kill {self.num_acknowledged_lost} are lost; "
                f"{self.num_users_moved} users changed their arm",
            ]
        )


def kill_one_after_another(
    platform: Platform, *, num_requests: int, num_rounds: int = 1
) -> Survived:
    """Kill each process in the midst of a canary, with `num_requests` before and after each."""
    platform.configure(STANDING_CANARY)
    platform.start(platform.add_version())
    platform.set_share(0.3)
    kills, acknowledged = [], set[str]()
    with Load(platform.url).running() as load:
        load.wait_for(num_requests)
        for process in PROCESSES * num_rounds:
            acknowledged |= _logged(platform).keys()
            kills.append(_kill(platform, load, process, num_requests=num_requests))
    logged = _wait_until_logged(platform, load.answers)
    missing = [answer for answer in _whole(load.answers) if answer.request_id not in logged]
    lost = [answer for answer in missing if _was_killed_with(answer, kills)]
    return Survived(
        kills=kills,
        answers=load.answers,
        lost=lost,
        missing=[answer for answer in missing if answer not in lost],
        num_duplicates=sum(number > 1 for number in logged.values()),
        num_users_moved=_count_moved(load.answers, kills),
        num_acknowledged_lost=len(acknowledged - logged.keys()),
    )


def _kill(platform: Platform, load: Load, process: str, *, num_requests: int) -> Kill:
    before, num_before = platform.processes(), len(load.answers)
    killed_at = time.time()
    os.kill(before[process], signal.SIGKILL)

    rollout = platform.entry.rollout
    assert rollout is not None
    versions = (CHAMPION, rollout.challenger)

    def is_back() -> bool:
        now = platform.processes()
        return (
            now.get(process) not in (None, before[process])
            and all(v in now and platform.has_answered(v, now[v]) for v in versions)
            and platform.follows_registry()
            and _is_healthy(platform)
        )

    recovered_after = platform.wait_for(is_back)
    load.wait_for(num_requests)
    since = load.answers[num_before:]
    answered = [a for a in since if a.began > killed_at and a.problem is None]
    return Kill(
        process=process,
        killed_at=killed_at,
        recovered_after=recovered_after,
        answers_after=min(answer.ended for answer in answered) - killed_at,
        failures=failures(since),
    )


def _is_healthy(platform: Platform) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{platform.url}/healthz", timeout=2, trust_env=False).is_success
    return False


def _whole(answers: Iterable[Answer]) -> list[Answer]:
    """Return the answers that their users have in full, be it the polite one of the API."""
    return [answer for answer in answers if answer.problem in (None, _FALLBACK)]


def _logged(platform: Platform) -> Counter[str]:
    """Return how often each request is in the log of interactions."""
    log = platform.installation.interaction_log
    return Counter(ids.record_id for day in log.partitions() for ids in log.ids(day))


def _wait_until_logged(platform: Platform, answers: list[Answer]) -> Counter[str]:
    """Return the log once all answers are in it, or nothing has come for some seconds."""
    wanted = {answer.request_id for answer in _whole(answers)}
    logged, since = _logged(platform), time.monotonic()
    while wanted - logged.keys() and time.monotonic() < since + _QUIET_SECONDS:
        time.sleep(0.2)
        now = _logged(platform)
        if now.total() > logged.total():
            since = time.monotonic()
        logged = now
    return logged


def _was_killed_with(answer: Answer, kills: Iterable[Kill]) -> bool:
    """Tell whether the server that answered was killed just afterwards."""
    deadly = {answer.model_version, "platform"}
    return any(
        kill.process in deadly
        and -_READING_SECONDS < kill.killed_at - answer.ended < _OUTBOX_SECONDS
        for kill in kills
    )


def _count_moved(answers: Iterable[Answer], kills: Iterable[Kill]) -> int:
    """Return how many users were assigned to more than one arm while nothing was being mended.

    After a restart of everything the champion answers for a challenger that is not up yet.
    """
    arms: dict[str, set[str]] = {}
    for answer in answers:
        is_mending = any(0 <= answer.ended - k.killed_at <= k.recovered_after for k in kills)
        if answer.problem is None and not is_mending:
            arms.setdefault(answer.user, set()).add(answer.variant)
    return sum(len(variants) > 1 for variants in arms.values())
