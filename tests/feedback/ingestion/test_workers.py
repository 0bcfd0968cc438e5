import os
import struct
import time
from collections.abc import Iterator
from functools import partial

import pytest

from llm_assets.feedback.ingestion.rows import RowReader, Rows
from llm_assets.feedback.ingestion.units import Lines
from llm_assets.feedback.ingestion.workers import Workers
from llm_assets.feedback.log import Scrub
from llm_assets.feedback.scrubbing.scrubber import Scrubbers
from tests.records import an_interaction

MAKE_READER = partial(RowReader, "helpdesk", None, partial(Scrubbers, {}, bytes(32)))


def chunks(num: int) -> Iterator[tuple[int, Lines]]:
    for number in range(num):
        yield number, Lines(number, an_interaction(f"r{number}").to_json())


def lines(rows: Rows) -> list[bytes]:
    return [row.line for of_day in rows.by_day.values() for row in of_day]


def test_what_the_processes_read_comes_in_order_and_is_what_one_would_read() -> None:
    reader = MAKE_READER()
    expected = [(number, lines(reader.read(chunk))) for number, chunk in chunks(20)]
    with Workers(2, MAKE_READER) as workers:
        found = [(number, lines(rows)) for number, rows in workers.map(chunks(20))]
    assert found == expected


def die() -> Scrub:
    os._exit(1)


def test_a_process_that_dies_is_an_error() -> None:
    with (
        Workers(2, partial(RowReader, "helpdesk", None, die)) as workers,
        pytest.raises(RuntimeError, match="a process that reads lines has died"),
    ):
        list(workers.map(chunks(20)))


def test_an_error_outside_ends_the_processes() -> None:
    started = time.monotonic()
    workers = Workers(2, MAKE_READER)

    def interrupted() -> None:
        with workers:
            next(workers.map(chunks(20)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert all(not process.is_alive() for process in workers._processes)
    assert time.monotonic() - started < 30


def test_a_chunk_that_was_cut_off_ends_its_process_quietly() -> None:
    with Workers(1, MAKE_READER) as workers:
        os.write(workers._connections[0].fileno(), struct.pack("!i", 1000) + b"half")
    assert [process.exitcode for process in workers._processes] == [0]
