"""The questions of the help-desk router: those of `chatterbot-corpus`, labelled by topic.

The package (BSD-3-Clause) holds question and answer pairs written by people outside this project.
The first utterance of a pair is the question and the topic of its file is the desk it belongs to.
"""

import importlib.resources
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import yaml

DESKS = (
    "trivia",
    "coding",
    "psychology",
    "ai",
    "emotion",
    "literature",
    "science",
    "conversations",
    "movies",
    "sports",
    "money",
)
# Half of all distinct questions are trivia. A router that only ever says "trivia" would look half
# right, so no desk gets more questions than this.
MAX_QUESTIONS_PER_DESK = 100

_MIN_CHARACTERS, _MAX_CHARACTERS = 8, 160


@dataclass(frozen=True)
class Question:
    """A user's question and the desk that it belongs to: the gold answer."""

    text: str
    desk: str


def load_questions(*, seed: int) -> list[Question]:
    """Return the distinct questions in an order that depends on the seed only.

    A question that stands under two topics has no single gold answer and is left out.
    """
    desks_of: dict[str, set[str]] = defaultdict(set)
    spelling: dict[str, str] = {}
    folder = importlib.resources.files("chatterbot_corpus") / "data" / "english"
    for desk in DESKS:
        content = yaml.safe_load((folder / f"{desk}.yml").read_text(encoding="utf-8"))
        for conversation in content["conversations"]:
            text = " ".join(str(conversation[0]).split())
            if _MIN_CHARACTERS <= len(text) <= _MAX_CHARACTERS:
                key = text.casefold().rstrip("?!. ")
                desks_of[key].add(desk)
                spelling.setdefault(key, text)
    by_desk: dict[str, list[Question]] = defaultdict(list)
    for key in sorted(desks_of):
        if len(desks_of[key]) == 1:
            (desk,) = desks_of[key]
            by_desk[desk].append(Question(spelling[key], desk))
    rng = np.random.default_rng(seed)
    questions = [
        questions[i]
        for questions in by_desk.values()
        for i in rng.permutation(len(questions))[:MAX_QUESTIONS_PER_DESK]
    ]
    return [questions[i] for i in rng.permutation(len(questions))]
