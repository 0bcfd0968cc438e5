"""The log of a pod as the channel of Dagster Pipes: read piece by piece, each line once.

Dagster's own reader follows the log in one long answer. That hangs with a node that is lost, holds
every line back until the next one, and joins lines of the same time, so messages among them are
lost. Here the log is asked for whenever the pod is looked at.
"""

import json
import math
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from dagster_pipes import (
    PIPES_PROTOCOL_VERSION_FIELD,
    PipesDefaultMessageWriter,
    PipesMessage,
    PipesParams,
)

from llm_assets.resources.cluster import Cluster, ClusterError

# How much longer ago a line may have been written than the last time the log was asked for.
_OVERLAP_SECONDS = 10
_NUM_KEPT_LINES = 50


class PodMessages(dg.PipesMessageReader):
    """Hands the messages among a worker's lines to Dagster, and the other lines to its output."""

    def __init__(self) -> None:
        self._handler: dg.PipesMessageHandler | None = None
        self.lines: deque[str] = deque(maxlen=_NUM_KEPT_LINES)

    @contextmanager
    def read_messages(self, handler: dg.PipesMessageHandler) -> Iterator[PipesParams]:
        """Have the worker write its messages to its standard error, which is in the pod's log."""
        self._handler = handler
        yield {PipesDefaultMessageWriter.STDIO_KEY: PipesDefaultMessageWriter.STDERR}

    def no_messages_debug_text(self) -> str:
        """Say where messages were looked for."""
        return "Attempted to read messages from the log of the pod."

    def take(self, line: str) -> None:
        """Take one line of the log."""
        message = _message(line)
        if message is None:
            self.lines.append(line)
            print(line, file=sys.stdout, flush=True)
        else:
            assert self._handler
            self._handler.handle_message(message)


class PodLog:
    """What was read of a pod's log already."""

    def __init__(self, cluster: Cluster, pod: str, messages: PodMessages) -> None:
        self.pod = pod
        self._cluster = cluster
        self._messages = messages
        self._asked_at: float | None = None
        # The time of the last line, and how many lines of that time were read.
        self._last = ("", 0)

    def read(self, *, is_over: bool) -> bool:
        """Take the lines that are new; return whether the log could be read at all.

        Until the pod `is_over` a last line without its end is left for the next time.
        """
        now = time.monotonic()
        since = None if self._asked_at is None else math.ceil(now - self._asked_at)
        since_seconds = None if since is None else since + _OVERLAP_SECONDS
        try:
            log = self._cluster.log(self.pod, since_seconds=since_seconds)
        except ClusterError:
            return False
        self._asked_at = now
        for line in self._new_lines(log.decode(errors="replace"), is_over=is_over):
            self._messages.take(line)
        return True

    def _new_lines(self, log: str, *, is_over: bool) -> Iterator[str]:
        *lines, rest = log.split("\n")
        last, num_seen = self._last
        num_same = 0
        for stamped in [*lines, rest] if is_over and rest else lines:
            at, _, line = stamped.partition(" ")
            if at < last:
                continue
            if at == last:
                num_same += 1
                if num_same <= num_seen:
                    continue
            else:
                last, num_seen, num_same = at, 0, 1
            self._last = (last, num_same)
            yield line


def _message(line: str) -> PipesMessage | None:
    if not line.startswith("{"):
        return None
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if PIPES_PROTOCOL_VERSION_FIELD in message else None
