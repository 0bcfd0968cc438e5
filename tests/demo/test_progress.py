import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.demo import progress as module
from llm_assets.demo.progress import Progress

EXPECTED = {"start": 20.0, "replay": 60.0, "improve": 120.0}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Stands in for `time`: it moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


SECONDS = st.floats(0, 1000)


@given(st.lists(SECONDS, min_size=3, max_size=3), SECONDS, st.none() | st.floats(0, 1))
def test_the_time_left_is_never_negative(
    seconds: list[float], elapsed: float, fraction: float | None
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(module, "time", clock)
        progress = Progress(EXPECTED, stream=io.StringIO())
        for name, taken in zip(EXPECTED, seconds, strict=True):
            with progress.stage(name):
                clock.now += elapsed
                assert progress.seconds_left(fraction=fraction) >= 0
                clock.now += taken
        assert list(progress.seconds) == list(EXPECTED)


def test_before_anything_is_known_the_estimate_is_what_was_expected(clock: Clock) -> None:
    progress = Progress(EXPECTED, stream=io.StringIO())
    with progress.stage("start"):
        assert progress.seconds_left() == pytest.approx(200)
        clock.now += 5
        assert progress.seconds_left() == pytest.approx(195)


def test_a_slow_machine_is_taken_to_stay_slow(clock: Clock) -> None:
    progress = Progress(EXPECTED, stream=io.StringIO())
    for name in ("start", "replay"):
        with progress.stage(name):
            clock.now += 2 * EXPECTED[name]
    with progress.stage("improve"):
        assert progress.seconds_left() == pytest.approx(240)
        clock.now += 100
        # What is known of the stage itself counts more.
        assert progress.seconds_left(fraction=0.5) == pytest.approx(100)


def test_a_file_gets_a_line_now_and_then(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(EXPECTED, stream=stream)
    with progress.stage("start"):
        for _ in range(40):
            clock.now += 1
            progress.show("waiting")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[0] == "[1/3] start (about 3 min left)"
    assert lines[1].startswith("[1/3] start: waiting (about")
    assert lines[-1] == "[1/3] start: 40 s"
    assert "\r" not in stream.getvalue()


def test_a_terminal_gets_one_changing_line_a_stage(clock: Clock) -> None:
    stream = Terminal()
    progress = Progress(EXPECTED, stream=stream)
    with progress.stage("start"):
        for number in range(5):
            progress.show(f"{number}")
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().count("\r") == 7


def test_an_unexpected_stage_is_our_mistake() -> None:
    with pytest.raises(AssertionError), Progress(EXPECTED).stage("dance"):
        pass
