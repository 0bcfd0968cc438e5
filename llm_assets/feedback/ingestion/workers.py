"""Processes that read lines side by side; what they read comes back in the order of the lines."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Self, TypeVar

from llm_assets.feedback.ingestion.rows import RowReader, Rows
from llm_assets.feedback.ingestion.units import Chunk

Source = TypeVar("Source")


class Workers:
    """A context in which `map` may be used; its end ends the processes.

    Each has a pipe of its own and one chunk of lines at a time, so memory stays flat, and a
    process whose parent was killed reads the end of its pipe and goes.
    """

    def __init__(self, num_processes: int, make_reader: Callable[[], RowReader]) -> None:
        self._num_processes = num_processes
        self._make_reader = make_reader
        self._processes: list[BaseProcess] = []
        self._connections: list[Connection] = []

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        for _ in range(self._num_processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, self._make_reader), daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
            self._connections.append(ours)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            if kind is not None:
                process.terminate()
            process.join()

    def map(self, chunks: Iterable[tuple[Source, Chunk]]) -> Iterator[tuple[Source, Rows]]:
        """Yield what each chunk held, beside whatever stood beside the chunk.

        Raises:
            RuntimeError: a process died; it said why on stderr.
        """
        idle = deque(self._connections)
        busy: deque[tuple[Source, Connection]] = deque()
        for source, chunk in chunks:
            finished = None
            if not idle:
                before, connection = busy.popleft()
                finished = before, _received(connection)
                idle.append(connection)
            connection = idle.popleft()
            _send(connection, chunk)
            busy.append((source, connection))
            if finished:
                yield finished
        for source, connection in busy:
            yield source, _received(connection)


_DIED = "a process that reads lines has died"


def _send(connection: Connection, chunk: Chunk) -> None:
    try:
        connection.send(chunk)
    except ConnectionError:
        raise RuntimeError(_DIED) from None


def _received(connection: Connection) -> Rows:
    try:
        return connection.recv()
    except (EOFError, ConnectionError):
        raise RuntimeError(_DIED) from None


def _serve(connection: Connection, make_reader: Callable[[], RowReader]) -> None:
    # Ctrl-C reaches the whole group of processes; the parent decides what becomes of this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    reader = make_reader()
    with suppress(EOFError, ConnectionError):
        while True:
            connection.send(reader.read(_next_chunk(connection)))


def _next_chunk(connection: Connection) -> Chunk:
    """Receive a chunk.

    Raises:
        EOFError: the parent has ended, maybe in the midst of sending.
    """
    try:
        return connection.recv()
    except OSError as error:  # a message that was cut off has no class of its own
        raise EOFError from error
