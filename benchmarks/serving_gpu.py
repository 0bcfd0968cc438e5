"""Measures vLLM on one GPU: that adapters stay apart, and its speed beside sequential `generate`.

    python -W ignore benchmarks/serving_gpu.py [--model DIR | --random 1b|8b] [--json FILE]
        [--work DIR] [--quick] [--url URL]

Takes a model of the llama architecture, or makes one of a published size with random weights, and
two adapters of it that each begin their answers with a word of their own. First requests to the
base model and to both adapters come interleaved, and each must get its own answer: vLLM has mixed
them when its adapters had fewer slots than `--max-loras` has now, one more than there are. Then
prompts of 102 tokens with 64 answered are asked by 1 to 128 clients, beside `generate` of Hugging
Face on the same GPU before. Without a GPU or vLLM it says so and ends; `--url` asks a server that
runs already, with the adapters `champion` and `challenger` of `--work`.
"""

import argparse
import importlib.util
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

from serving_client import Asked, Body, ask
from serving_gpu_model import questions
from serving_servers import free_port, running, script

_BASE = "base"
_NUM_PROMPT_TOKENS, _NUM_ANSWER_TOKENS = 102, 64
_CLIENTS = (1, 8, 32, 128)
_NUM_ISOLATION, _ISOLATION_CLIENTS = 384, 32


class Made(NamedTuple):
    """What is served: the model's folder, and each adapter's folder and word."""

    model: Path
    adapters: dict[str, dict[str, str]]


def main() -> None:
    """Run the check and the comparison and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--model", type=Path, help="a folder as Hugging Face saves it")
    source.add_argument("--random", default="1b", help="a size of random weights")
    parser.add_argument("--quick", action="store_true", help="few requests, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes all numbers there")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keeps models and logs")
    parser.add_argument("--url", help="of a server that runs already, instead of vLLM")
    parser.add_argument("--device", default="cuda", help="of generate and of making adapters")
    options = parser.parse_args()
    if missing := _missing(options):
        print(missing)
        return
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="llm-assets-benchmark-") as temporary:
        work = (options.work or Path(temporary)).absolute()
        made = _make(work, options)
        prompts = _prompts(made.model, 2 * max(_CLIENTS) if options.quick else 2048)
        # One after the other: each of them takes the whole GPU.
        hf = measure_hf(
            made,
            prompts,
            log=work / "logs" / "hf.log",
            device=options.device,
            num=2 if options.quick else 16,
        )
        found["generate"] = hf
        with _server(made, work, options) as url:
            num = 48 if options.quick else _NUM_ISOLATION
            found["isolation"] = check_isolation(url, made, num=num)
            num_waves = 1 if options.quick else 4
            found["speed"] = measure_speed(url, made, prompts, hf=hf, num_waves=num_waves)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))
    sys.exit(0 if found["isolation"]["num_wrong"] == 0 else 1)


def _missing(options: argparse.Namespace) -> str | None:
    """Return why nothing can be measured, in one line."""
    if options.url is not None:
        return None
    import torch

    if not torch.cuda.is_available():
        return "no GPU"
    return None if importlib.util.find_spec("vllm") else "vLLM is not installed"


def _make(work: Path, options: argparse.Namespace) -> Made:
    """Make model and adapters in a process of its own, which leaves the GPU empty behind it."""
    source = ("--model", options.model) if options.model else ("--random", options.random)
    command = script("serving_gpu_model.py", work, *source, "--device", options.device)
    made = json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
    return Made(Path(made["model"]), made["adapters"])


@contextmanager
def _server(made: Made, work: Path, options: argparse.Namespace) -> Iterator[str]:
    """Give the URL of vLLM with both adapters, or of the server that runs already."""
    if options.url is not None:
        yield options.url
        return
    port = free_port()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(made.model), "--served-model-name", _BASE, "--dtype", "bfloat16"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--max-model-len", "512"]
    command += ["--max-num-seqs", str(max(_CLIENTS))]
    command += ["--enable-lora", "--max-loras", str(len(made.adapters) + 1), "--max-lora-rank", "8"]
    command += ["--lora-modules"]
    command += [f"{name}={adapter['folder']}" for name, adapter in made.adapters.items()]
    environment = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    log = work / "logs" / "vllm.log"
    # It compiles kernels and captures graphs before it answers.
    with running(
        "vLLM", command, port=port, log=log, environment=environment, start_seconds=600
    ) as server:
        yield server.url


def check_isolation(url: str, made: Made, *, num: int) -> dict[str, Any]:
    """Ask the base model and both adapters in turn, many at once, and count wrong answers.

    An answer is right if it begins with the word of its adapter, and that of the base model if it
    begins with none.
    """
    names = list(islice(cycle((_BASE, *made.adapters)), num))
    bodies = [
        {"messages": _messages(q), "model": name, "max_tokens": 4, "temperature": 0.0}
        for name, q in zip(names, questions(num), strict=True)
    ]
    asked = ask(url, bodies, num_clients=_ISOLATION_CLIENTS)
    wrong: Counter[str] = Counter()
    for name, reply in zip(names, asked.replies, strict=True):
        said = {n for n, a in made.adapters.items() if reply.text.strip().startswith(a["word"])}
        wrong[name] += reply.problem is not None or said != {name} - {_BASE}
    print(f"isolation: {wrong.total()} of {num} answers wrong {dict(+wrong) or ''}", flush=True)
    return {"num": num, "num_wrong": wrong.total(), "wrong": dict(+wrong)}


def measure_hf(
    made: Made, prompts: list[str], *, log: Path, device: str, num: int
) -> dict[str, float]:
    """Return the speed of `generate`, one request after the other."""
    port = free_port()
    command = script("serving_with_hf.py", made.model, "--port", port, "--device", device)
    with running("generate", command, port=port, log=log) as server:
        ask(server.url, _bodies(prompts[-1:], (_BASE,), is_streamed=False), num_clients=1)
        bodies = _bodies(prompts[:num], (_BASE,), is_streamed=False)
        return _speed(ask(server.url, bodies, num_clients=1))


def measure_speed(
    url: str, made: Made, prompts: list[str], *, hf: dict[str, float], num_waves: int
) -> dict[str, Any]:
    """Print the speed at each number of clients, of the base model and with adapters mixed in."""
    print(
        f"\n{'clients':>7} {'asked':<15}{'requests/s':>11}{'tokens/s':>10}{'x HF':>7}"
        f"{'first p50':>11}{'p50 s':>8}{'failed':>8}"
    )
    _print_speed(1, "generate", hf, hf)
    found: dict[str, Any] = {}
    for num_clients in _CLIENTS:
        for what, names in (("base model", (_BASE,)), ("with adapters", (_BASE, *made.adapters))):
            bodies = _bodies(prompts, names, is_streamed=True)
            # Other prompts each time as long as they last: the cache keeps beginnings.
            ask(url, bodies[-num_clients:], num_clients=num_clients)
            num = min(len(bodies), num_waves * max(num_clients, 4))
            speed = _speed(ask(url, bodies[:num], num_clients=num_clients))
            _print_speed(num_clients, what, speed, hf)
            found[f"{num_clients} {what}"] = speed
            prompts = prompts[num:] + prompts[:num]
    print(
        "\nPublished for GPUs, of continuous batching against sequential generate: 8 to 23 times."
    )
    return found


def _speed(asked: Asked) -> dict[str, float]:
    """Return the numbers of a load.

    Raises:
        RuntimeError: no request was answered; the message holds the first failure.
    """
    if not asked.good:
        raise RuntimeError(f"all {len(asked.problems)} requests failed: {asked.problems[0]}")
    return {
        "requests_per_second": len(asked.good) / asked.seconds,
        "tokens_per_second": sum(reply.num_tokens for reply in asked.good) / asked.seconds,
        "p50_first_seconds": statistics.median(reply.first_seconds for reply in asked.good),
        "p50_seconds": statistics.median(reply.seconds for reply in asked.good),
        "num_failed": len(asked.problems),
    }


def _print_speed(
    num_clients: int, what: str, speed: dict[str, float], hf: dict[str, float]
) -> None:
    print(
        f"{num_clients:>7} {what:<15}{speed['requests_per_second']:>11.2f}"
        f"{speed['tokens_per_second']:>10.0f}"
        f"{speed['tokens_per_second'] / hf['tokens_per_second']:>7.1f}"
        f"{speed['p50_first_seconds']:>11.3f}{speed['p50_seconds']:>8.3f}"
        f"{speed['num_failed']:>8.0f}",
        flush=True,
    )


def _bodies(prompts: Sequence[str], names: Sequence[str], *, is_streamed: bool) -> list[Body]:
    """Return requests whose answers all have the same length, to each model in turn."""
    stream = {"stream": True, "stream_options": {"include_usage": True}} if is_streamed else {}
    asked = {"max_tokens": _NUM_ANSWER_TOKENS, "ignore_eos": True, "temperature": 0.0, **stream}
    return [
        {"model": name, "messages": _messages(prompt), **asked}
        for name, prompt in zip(cycle(names), prompts, strict=False)
    ]


def _messages(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


def _prompts(model: Path, num: int) -> list[str]:
    """Return texts that share nothing but what the template begins with, of 102 tokens each."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(model)
    empty = tokenizer.apply_chat_template(_messages(""), add_generation_prompt=True, tokenize=False)
    num_words = _NUM_PROMPT_TOKENS - len(tokenizer(empty)["input_ids"])
    rng = random.Random(0)
    texts = (" ".join(str(rng.randrange(1000)) for _ in range(num_words)) for _ in range(num))
    return [tokenizer.decode(tokenizer(text)["input_ids"][:num_words]) for text in texts]


if __name__ == "__main__":
    main()
