"""What a judge model chose before, on disk, so that a restart asks nothing twice."""

import json
from pathlib import Path
from typing import Any

from llm_assets.deployment.judging.question import Choice


class ChoiceCache:
    """The choices in a folder by a key, one line of JSON each; no text of users is among them.

    None is remembered as well: it stands for a reply that held no choice. A line that cannot be
    read, such as the last one of a process that was killed, is passed over. `problem` says in one
    line why nothing is kept; what is asked meanwhile is then asked again.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "choices.jsonl"
        self._choices: dict[str, Choice | None] = {}
        self._is_torn = False
        self.problem: str | None = None
        try:
            content = self._path.read_bytes() if self._path.exists() else b""
        except OSError as error:
            self.problem = f"{self._path}: cannot be read: {error.strerror}"
            return
        for line in content.splitlines():
            self._load(line)
        self._is_torn = bool(content) and not content.endswith(b"\n")

    def __contains__(self, key: str) -> bool:
        return key in self._choices

    def __getitem__(self, key: str) -> Choice | None:
        return self._choices[key]

    def __setitem__(self, key: str, choice: Choice | None) -> None:
        self._choices[key] = choice
        line = json.dumps({"key": key, "choice": choice}).encode() + b"\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(b"\n" + line if self._is_torn else line)
        except OSError as error:
            self._is_torn = True  # a full disk takes half a line
            self.problem = f"{self._path}: cannot be written: {error.strerror}"
            return
        self._is_torn, self.problem = False, None

    def _load(self, line: bytes) -> None:
        try:
            entry: Any = json.loads(line)
            key, choice = entry["key"], entry["choice"]
            self._choices[str(key)] = None if choice is None else Choice(choice)
        except (ValueError, KeyError, TypeError):
            return
