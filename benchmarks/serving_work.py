"""The two kinds of traffic that servers are compared on, made of questions that people asked.

`helpdesk` is the example application's: a question of some 12 tokens behind a long system prompt
that all requests share, and the name of a desk as the answer. Of `chat` each prompt has 102 tokens,
of which only the template's are shared, and answers of up to 64 tokens are streamed.
"""

from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from serving_client import Body

from llm_assets.applications import load_application
from llm_assets.demo.questions import load_questions

_HELPDESK = Path(__file__).parents[1] / "applications" / "helpdesk.yaml"
_CHAT_TOKENS = 102
_CHAT_START = "Write a long story in which somebody answers all of these. "
# Every client of the largest number has a slot of its own that holds prompt and answer.
_CONTEXT_TOKENS = 512
_TIMEOUT_SECONDS = 900.0


class Workload(NamedTuple):
    """Requests of one kind; `num_shared_tokens` are those that all prompts begin with."""

    name: str
    system_prompt: str
    prompts: tuple[str, ...]
    max_tokens: int
    is_streamed: bool
    num_prompt_tokens: float
    num_shared_tokens: int

    def bodies(self, num: int, *, first: int, has_system_prompt: bool) -> list[Body]:
        """Return requests; those of another `first` are others, so that no cache knows them.

        The platform adds the system prompt itself.
        """
        return [
            self._body(p, has_system_prompt) for p in islice(self._distinct(), first, first + num)
        ]

    def application(self, *, num_clients: int, num_threads: int) -> dict[str, Any]:
        """Return the content of an application's file that serves that many clients at once."""
        content = yaml.safe_load(_HELPDESK.read_text())
        serving = {
            **content["serving"],
            "max_tokens": self.max_tokens,
            "context_tokens": _CONTEXT_TOKENS,
            "parallel_requests": num_clients,
            "threads": num_threads,
            "timeout_seconds": _TIMEOUT_SECONDS,
        }
        return {**content, "system_prompt": self.system_prompt, "serving": serving}

    def _distinct(self) -> Iterator[str]:
        for number in count():
            for prompt in self.prompts:
                yield f"{prompt} ({number})" if number else prompt

    def _body(self, prompt: str, has_system_prompt: bool) -> Body:
        messages = [{"role": "user", "content": prompt}]
        if has_system_prompt and self.system_prompt:
            messages.insert(0, {"role": "system", "content": self.system_prompt})
        body: Body = {"model": self.name, "messages": messages, "max_tokens": self.max_tokens}
        body["temperature"] = 0.0
        if self.is_streamed:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body


def workloads(model_dir: Path) -> dict[str, Workload]:
    """Return both kinds of traffic; tokens are those of the model."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(model_dir)
    questions = [question.text for question in load_questions(seed=0)]
    helpdesk = load_application(_HELPDESK)
    assert helpdesk.serving is not None
    made = (
        ("helpdesk", helpdesk.system_prompt, questions, helpdesk.serving.max_tokens, False),
        ("chat", "", list(_chats(questions, tokenizer)), 64, True),
    )
    return {
        name: Workload(
            name,
            system_prompt,
            tuple(prompts),
            max_tokens,
            is_streamed,
            *_token_counts(system_prompt, prompts, tokenizer),
        )
        for name, system_prompt, prompts, max_tokens, is_streamed in made
    }


def _chats(questions: list[str], tokenizer: Any) -> Iterator[str]:
    """Yield a prompt of the wanted length for each question, of it and of those that follow."""
    num_words = _CHAT_TOKENS - len(_chat_tokens("", "", tokenizer))
    for number, question in enumerate(questions):
        others = " ".join((questions * 2)[number + 1 : number + 20])
        ids = tokenizer(f"{question} {_CHAT_START}{others}")["input_ids"]
        yield tokenizer.decode(ids[:num_words])


def _token_counts(system_prompt: str, prompts: list[str], tokenizer: Any) -> tuple[float, int]:
    rows = [_chat_tokens(system_prompt, prompt, tokenizer) for prompt in prompts[:100]]
    columns = zip(*rows, strict=False)
    num_shared = next(n for n, column in enumerate(columns) if len(set(column)) > 1)
    return sum(map(len, rows)) / len(rows), num_shared


def _chat_tokens(system_prompt: str, prompt: str, tokenizer: Any) -> list[int]:
    messages = [{"role": "user", "content": prompt}]
    if system_prompt:
        messages.insert(0, {"role": "system", "content": system_prompt})
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return tokenizer(text)["input_ids"]
