"""The logs that tell how a rollout goes, of one application, read as they grow."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from llm_assets.errors import UserError
from llm_assets.feedback.log import Log
from llm_assets.records import Feedback, Interaction
from llm_assets.rollouts.tail import Tail
from llm_assets.serving.attempts import ATTEMPTS, OLD_ATTEMPTS, Attempt, GatewayStart, read_line

Record = TypeVar("Record", Interaction, Feedback)

# Clocks and file systems may differ by so much.
_SLACK = timedelta(minutes=1)


@dataclass
class Sources:
    """What was written of an application since `since`, each line once.

    Records are read from segments that were written to since then, whatever day they belong to: a
    replay of old traffic says itself when its requests happened.
    """

    home: Path
    application: str
    since: datetime
    _tails: dict[str, Tail] = field(init=False)

    def __post_init__(self) -> None:
        gateway = self.home / "gateway"
        self._tails = {
            "attempts": Tail(lambda: [gateway / OLD_ATTEMPTS, gateway / ATTEMPTS]),
            "answers": Tail(lambda: self._segments(Log.interactions(self.home))),
            "shadows": Tail(lambda: self._segments(Log.shadows(self.home))),
            "feedback": Tail(lambda: self._segments(Log.feedback(self.home))),
        }

    def attempts(self) -> Iterator[Attempt | GatewayStart]:
        """Yield what the gateway tried, and when it was started anew."""
        for line in self._tails["attempts"].lines():
            entry = read_line(line)
            if isinstance(entry, GatewayStart) or (
                entry is not None and entry.application == self.application
            ):
                yield entry

    def answers(self) -> Iterator[Interaction]:
        """Yield what users were answered."""
        return self._records("answers", Interaction)

    def shadows(self) -> Iterator[Interaction]:
        """Yield what the challenger answered to copies."""
        return self._records("shadows", Interaction)

    def feedback(self) -> Iterator[Feedback]:
        """Yield what was said of answers."""
        return self._records("feedback", Feedback)

    def _records(self, name: str, cls: type[Record]) -> Iterator[Record]:
        for line in self._tails[name].lines():
            try:
                yield cls.from_json(line)
            except UserError:
                continue  # the asset of the log tells which line and why

    def _segments(self, log: Log) -> Iterator[Path]:
        oldest = (self.since - _SLACK).timestamp()
        folder = log.root / f"application={self.application}"
        try:
            days = [entry.path for entry in os.scandir(folder) if entry.is_dir()]
        except FileNotFoundError:
            return
        for day in days:
            for entry in os.scandir(day):
                if entry.name.endswith(".ndjson") and entry.stat().st_mtime >= oldest:
                    yield Path(entry.path)
