"""The rows that trainings are compared on: short questions that people asked, answered twice.

Of `helpdesk` the answer is the desk, one or two tokens behind the application's long system prompt,
which all rows share. Of `chat` it is what the corpus answers, behind an empty system prompt, so
that rows share nothing but the 8 tokens that every chat begins with. Both come to whole steps of
16 rows an epoch, so that every trainer takes the same.
"""

import importlib.resources
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import yaml

from llm_assets.applications import Application, load_application
from llm_assets.demo.questions import DESKS, load_questions
from llm_assets.training.base_model import prepare_hf
from llm_assets.training.config import TrainingConfig
from llm_assets.training.job import TrainingJob

BATCH_SIZE = 16
NUM_TRAIN = {"helpdesk": 19 * BATCH_SIZE, "chat": 16 * BATCH_SIZE}
_NUM_VALIDATION = 34
_MIN_TOKENS, _MAX_TOKENS = 30, 200
_SEED = 0


class Pair(NamedTuple):
    """A question and what is learnt to answer."""

    prompt: str
    response: str


class Workplace(NamedTuple):
    """Where a benchmark keeps its files; the base model stays there from run to run."""

    folder: Path
    application: Application
    base_model_dir: Path

    @classmethod
    def make(cls, folder: Path) -> "Workplace":
        """Prepare a folder; that of an earlier run has the base model already."""
        application = load_application(Path(__file__).parents[1] / "applications" / "helpdesk.yaml")
        base = prepare_hf(application.base_model.resolve(), folder / "base")
        return cls(folder, application, base)

    def job(self, name: str, pairs: Sequence[Pair], **settings: Any) -> TrainingJob:
        """Return a job, in a folder of its own, that learns all pairs but the last few."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        rows_file = folder / "rows.parquet"
        num_train = len(pairs) - _NUM_VALIDATION
        splits = ["train"] * num_train + ["validation"] * _NUM_VALIDATION
        frame = pl.DataFrame(pairs, schema=["prompt", "response"], orient="row")
        frame.with_columns(split=pl.Series(splits)).write_parquet(rows_file)
        return TrainingJob(
            model_version=f"{name}-v0002",
            base_model_dir=self.base_model_dir,
            rows_file=rows_file,
            system_prompt="" if name.startswith("chat") else self.application.system_prompt,
            config=TrainingConfig.of_plain(settings),
            output_dir=folder / "trained",
            work_dir=folder / "work",
        )

    def pairs(self, data: str) -> list[Pair]:
        """Return the pairs of a data set, those for the validation last."""
        num = NUM_TRAIN[data] + _NUM_VALIDATION
        pairs = helpdesk_pairs() if data == "helpdesk" else self._chats()
        assert len(pairs) >= num, f"{data}: {len(pairs)} pairs"
        return pairs[:num]

    def _chats(self) -> list[Pair]:
        from transformers import AutoTokenizer

        tokenizer: Any = AutoTokenizer.from_pretrained(self.base_model_dir)
        answers = _corpus_answers()
        pairs = [Pair(prompt, answers[_key(prompt)]) for prompt, _ in helpdesk_pairs()]
        chats = [
            pair
            for pair in pairs
            if _MIN_TOKENS <= len(tokenizer(_text(pair, tokenizer))["input_ids"]) <= _MAX_TOKENS
        ]
        random.Random(_SEED).shuffle(chats)
        return chats


def helpdesk_pairs() -> list[Pair]:
    """Return all questions of the demonstration with their desks."""
    return [Pair(question.text, question.desk) for question in load_questions(seed=_SEED)]


def _text(pair: Pair, tokenizer: Any) -> str:
    roles = zip(("system", "user", "assistant"), ("", *pair), strict=True)
    messages = [{"role": role, "content": content} for role, content in roles]
    return tokenizer.apply_chat_template(messages, tokenize=False)


def _corpus_answers() -> dict[str, str]:
    """Return the first answer of the corpus to each of its questions."""
    folder = importlib.resources.files("chatterbot_corpus") / "data" / "english"
    answers: dict[str, str] = {}
    for desk in DESKS:
        content = yaml.safe_load((folder / f"{desk}.yml").read_text(encoding="utf-8"))
        for question, answer, *_ in content["conversations"]:
            answers.setdefault(_key(str(question)), " ".join(str(answer).split()))
    return answers


def _key(question: str) -> str:
    return " ".join(question.split()).casefold().rstrip("?!. ")
