"""How sure the engine and transformers are of each token of an answer."""

from collections.abc import Sequence
from typing import Any

import httpx

PROMPTS = ["Who wrote Faust?", "What is a stack?", "tell me a joke", "How high is Mount Everest?"]


def greedy_steps(client: httpx.Client, prompt: str) -> tuple[list[int], list[dict[int, float]]]:
    """Return prompt and answer as tokens, and for each answer token the likeliest ones."""
    tokens = client.post("/tokenize", json={"content": prompt}).json()["tokens"]
    request = {"prompt": tokens, "n_predict": 6, "temperature": 0, "n_probs": 20}
    request |= {"return_tokens": True, "ignore_eos": True}
    answer = client.post("/completion", json=request).json()
    steps = [
        {likely["id"]: likely["logprob"] for likely in step["top_logprobs"]}
        for step in answer["completion_probabilities"]
    ]
    return [*tokens, *answer["tokens"][:-1]], steps


def largest_difference(logits: Any, steps: Sequence[dict[int, float]]) -> float:
    """Return by how much the log probabilities of the engine's likeliest tokens differ."""
    ours = logits.log_softmax(-1)[-len(steps) :]
    differences = [
        abs(float(ours[position, token]) - logprob)
        for position, step in enumerate(steps)
        for token, logprob in step.items()
    ]
    return max(differences)
