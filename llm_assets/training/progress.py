"""Who hears how a training goes: the orchestrator through Dagster Pipes, or a terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """One optimizer step. `tokens_per_second` is the mean since the first step."""

    step: int
    max_steps: int
    loss: float
    learning_rate: float
    tokens_per_second: float
    seconds_left: float

    def __str__(self) -> str:
        return (
            f"step {self.step}/{self.max_steps}  loss {self.loss:.4f}  "
            f"learning rate {self.learning_rate:.2e}  {self.tokens_per_second:.0f} tokens/s  "
            f"{duration(self.seconds_left)} left"
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
def open_reporter() -> Iterator[Reporter]:
    """Yield the reporter that fits how this process was started."""
    from dagster_pipes import PipesEnvVarParamsLoader, open_dagster_pipes

    if PipesEnvVarParamsLoader().is_dagster_pipes_process():
        with open_dagster_pipes() as context:
            yield _PipesReporter(context)
    else:
        yield _TerminalReporter()


class _PipesReporter:
    def __init__(self, context: Any) -> None:
        self._context = context

    def say(self, text: str) -> None:
        self._context.log.info(text)

    def step(self, report: StepReport) -> None:
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
