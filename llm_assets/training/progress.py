"""Who hears how a training goes: the orchestrator through Dagster Pipes, or a terminal.

The processes that train tell their supervisor, which keeps the one connection to the orchestrator
open whatever happens to them.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Protocol

EVENTS_VARIABLE = "LLM_ASSETS_TRAINING_EVENTS"

_SECONDS_BETWEEN_LINES = 5.0


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """One optimizer step. `tokens_per_second` is the mean since this attempt's first step.

    `validation_loss` is there only where it was taken.
    """

    step: int
    max_steps: int
    loss: float
    learning_rate: float
    tokens_per_second: float
    memory_bytes: int
    seconds_left: float
    validation_loss: float | None = None

    def __str__(self) -> str:
        validation = self.validation_loss
        return (
            f"step {self.step}/{self.max_steps}  loss {self.loss:.4f}  "
            + (f"validation loss {validation:.4f}  " if validation is not None else "")
            + f"learning rate {self.learning_rate:.2e}  {self.tokens_per_second:.0f} tokens/s  "
            f"{self.memory_bytes / 2**30:.2f} GiB  {duration(self.seconds_left)} left"
        )


class Reporter(Protocol):
    """Takes what a worker has to say."""

    def say(self, text: str) -> None:
        """Take a line about what happens now."""
        ...

    def step(self, report: StepReport) -> None:
        """Take the report of one step."""
        ...

    def finish(self, metrics: dict[str, float]) -> None:
        """Take the numbers that the training ended with."""
        ...


@contextmanager
def open_reporter(*, is_first: bool = True) -> Iterator[Reporter]:
    """Yield the reporter that fits how this process was started; of several the first talks."""
    from dagster_pipes import PipesEnvVarParamsLoader, open_dagster_pipes

    if not is_first:
        yield _SilentReporter()
    elif EVENTS_VARIABLE in os.environ:
        with os.fdopen(int(os.environ[EVENTS_VARIABLE]), "w") as events:
            yield _EventReporter(lambda event: print(json.dumps(event), file=events, flush=True))
    elif PipesEnvVarParamsLoader().is_dagster_pipes_process():
        with open_dagster_pipes() as context:
            yield _PipesReporter(context)
    else:
        yield _TerminalReporter()


def relay(event: str, reporter: Reporter) -> None:
    """Tell a reporter what a process that trains wrote to its supervisor, one line of JSON."""
    ((kind, content),) = json.loads(event).items()
    if kind == "say":
        reporter.say(content)
    elif kind == "step":
        reporter.step(StepReport(**content))
    else:
        assert kind == "finish", kind
        reporter.finish(content)


@dataclass(frozen=True)
class _EventReporter:
    write: Callable[[dict[str, Any]], None]

    def say(self, text: str) -> None:
        self.write({"say": text})

    def step(self, report: StepReport) -> None:
        self.write({"step": asdict(report)})

    def finish(self, metrics: dict[str, float]) -> None:
        self.write({"finish": metrics})


class _SilentReporter:
    def say(self, text: str) -> None: ...

    def step(self, report: StepReport) -> None: ...

    def finish(self, metrics: dict[str, float]) -> None: ...


class _PipesReporter:
    def __init__(self, context: Any) -> None:
        self._context = context
        self._last_line = float("-inf")

    def say(self, text: str) -> None:
        self._context.log.info(text)

    def step(self, report: StepReport) -> None:
        # A line costs the orchestrator a write to its database: quick steps share one.
        now = time.monotonic()
        is_worth_a_line = report.step in (1, report.max_steps) or report.validation_loss is not None
        if is_worth_a_line or now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            self._context.log.info(str(report))
        self._context.report_custom_message({"step": asdict(report)})

    def finish(self, metrics: dict[str, float]) -> None:
        self._context.report_custom_message({"metrics": metrics})


class _TerminalReporter:
    def say(self, text: str) -> None:
        print(text, flush=True)

    def step(self, report: StepReport) -> None:
        # On a terminal the line is written over itself; in a file every step keeps its line.
        is_last = report.step == report.max_steps
        if sys.stdout.isatty():
            print(f"\r{_bar(report)} {report}\x1b[K", end="\n" if is_last else "", flush=True)
        else:
            print(report, flush=True)

    def finish(self, metrics: dict[str, float]) -> None:
        print("  ".join(f"{name} {value:g}" for name, value in metrics.items()), flush=True)


def duration(seconds: float) -> str:
    """Return a duration for people.

    >>> duration(7.2), duration(150)
    ('7 s', '2 min 30 s')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _bar(report: StepReport, width: int = 20) -> str:
    done = round(width * report.step / report.max_steps)
    return f"[{'#' * done}{'.' * (width - done)}]"
