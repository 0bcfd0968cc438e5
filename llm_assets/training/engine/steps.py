"""The steps of a training: taken, reported, kept in checkpoints, and ended early."""

import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llm_assets.training.config import TrainingConfig
from llm_assets.training.engine import deepspeed_engine, guards
from llm_assets.training.engine.checkpoints import Checkpoints, Progress
from llm_assets.training.engine.clock import Clock
from llm_assets.training.engine.data import Data
from llm_assets.training.engine.loop import Loop
from llm_assets.training.engine.memory import memory_bytes
from llm_assets.training.plan import plan
from llm_assets.training.progress import Reporter, StepReport


class Stop:
    """Whether this process was told to stop; once steps are taken, it first finishes its step."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.can_wait = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def _handle(self, number: int, _: Any) -> None:
        self.number = number
        if not self.can_wait:
            sys.exit(128 + number)


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The steps of one attempt at a training."""

    config: TrainingConfig
    loop: Loop
    data: Data
    progress: Progress
    checkpoints: Checkpoints
    clock: Clock
    reporter: Reporter
    stop: Stop

    def take(self) -> None:
        """Take the steps that are left.

        A process that is told to stop, and with it all others, writes a checkpoint and exits.

        Raises:
            UserError: a loss is not a number.
        """
        batches = plan(len(self.data.train), self.config, num_replay=len(self.data.replay))
        first = self.progress.step
        self.clock.begin_steps(self.progress)
        self.stop.can_wait = True
        for number, batch in enumerate(batches[first:], start=first + 1):
            report, is_stopping = self._take(number, batch, num_steps=len(batches))
            has_stalled = report.validation_loss is not None and self._has_stalled()
            if is_stopping or number % self.config.compute.save_steps == 0:
                self._save()
            if is_stopping:
                sys.exit(128 + (self.stop.number or signal.SIGTERM))
            if has_stalled:
                self.reporter.say("the validation loss falls no more: the training ends early")
                break
        self.stop.can_wait = False

    def _take(
        self, number: int, batch: Sequence[int], *, num_steps: int
    ) -> tuple[StepReport, bool]:
        progress, loop = self.progress, self.loop
        learning_rate = loop.engine.get_lr()[0]
        loss, is_stopping = loop.step(number, batch, is_stopping=self.stop.number is not None)
        guards.require_finite(loss, step=number)
        validation_loss = None
        if self.data.held_out and number % self.config.eval_steps == 0:
            validation_loss = loop.mean_loss(self.data.held_out)
        progress.step = number
        progress.num_rows += len(batch)
        for example in loop.examples.of(batch):
            progress.num_tokens += example.num_tokens
            progress.num_answer_tokens += example.num_answer
        self.clock.tick(progress)
        report = StepReport(
            step=number,
            max_steps=num_steps,
            loss=loss,
            validation_loss=validation_loss,
            learning_rate=learning_rate,
            tokens_per_second=self.clock.tokens_per_second(progress),
            memory_bytes=memory_bytes(),
            seconds_left=self.clock.seconds_left(progress, num_steps),
        )
        progress.reports.append(report)
        self.reporter.step(report)
        return report, is_stopping

    def _has_stalled(self) -> bool:
        """Return whether to end after an evaluation, whose weights are kept if they are best."""
        patience = self.config.early_stopping_patience
        if patience is None:
            return False
        losses = [r.validation_loss for r in self.progress.reports if r.validation_loss is not None]
        num_since_best = len(losses) - 1 - losses.index(min(losses))
        if num_since_best == 0:
            self._keep_best()
        return num_since_best >= patience

    def _keep_best(self) -> None:
        # All give their pieces, one keeps the whole.
        state = deepspeed_engine.state_of(self.loop.engine)
        weights = {name: value.cpu() for name, value in state if name.startswith("weight/")}
        if self.loop.rank.rank == 0:
            self.checkpoints.save_best(weights)

    def _save(self) -> None:
        is_first = self.loop.rank.rank == 0
        state = deepspeed_engine.state_of(self.loop.engine)
        whole = {name: value.cpu() for name, value in state if is_first}
        if is_first:
            self.checkpoints.save(whole, self.progress)
