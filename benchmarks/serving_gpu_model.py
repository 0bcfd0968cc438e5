"""A model to serve and two adapters of it whose answers tell which of them answered.

    python benchmarks/serving_gpu_model.py FOLDER (--model DIR | --random 1b|8b|tiny) [--device cpu]

Prints where they lie as JSON. An adapter is not trained: in the last layer it adds the direction of
its word to what is said after a question, so that the answer begins with that word and no other.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training_gpu_model import ARCHITECTURES, make_model

WORDS = {"champion": "alpha", "challenger": "bravo"}
_RANK = 8
# So many times as long as what the layers have said: no other word is left.
_STRENGTH = 20.0
_QUESTIONS = tuple(f"Name {number + 2} things about topic {7 * number}." for number in range(16))


def main() -> None:
    """Make what is asked for and print where it is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", type=Path)
    source.add_argument("--random", choices=ARCHITECTURES)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    folder = options.model
    if folder is None:
        folder = options.folder / options.random
        make_model(ARCHITECTURES[options.random], folder, options.device)
        name_all_tokens(folder)
    made = make_adapters(folder, options.folder, options.device)
    print(json.dumps({"model": str(folder), "adapters": made}))


def name_all_tokens(folder: Path) -> None:
    """Give a name to each token that a random model may say, so that its answers are texts."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    names = content["model"]["vocab"]
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    taken = {*names.values(), *(token["id"] for token in content["added_tokens"])}
    names |= {f"<{number}>": number for number in range(size) if number not in taken}
    path.write_text(json.dumps(content))


def make_adapters(model_dir: Path, folder: Path, device: str) -> dict[str, dict[str, str]]:
    """Write both adapters; return their folders and words.

    Raises:
        RuntimeError: with an adapter the model does not answer with its word.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(model_dir)
    loaded: Any = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    model = loaded.to(device).eval()
    made = {}
    for name, word in WORDS.items():
        token = tokenizer(word, add_special_tokens=False)["input_ids"][0]
        down, up = _matrices(model, tokenizer, token)
        _require_word(model, tokenizer, token, down, up)
        path = folder / name
        _write(path, model_dir, down, up, layer=model.config.num_hidden_layers - 1)
        made[name] = {"folder": str(path), "word": tokenizer.decode([token])}
    return made


def _matrices(model: Any, tokenizer: Any, token: int) -> tuple[Any, Any]:
    """Return A and B of rank one: B A x is the word's direction at the end of every question."""
    import torch

    seen, heard = [], []
    module = model.model.layers[-1].mlp.down_proj
    hooks = [
        module.register_forward_hook(lambda _, args, __: seen.append(args[0][0, -1])),
        model.model.norm.register_forward_hook(lambda _, args, __: heard.append(args[0][0, -1])),
    ]
    for _ in _next_tokens(model, tokenizer):
        pass
    for hook in hooks:
        hook.remove()
    mean = torch.stack(seen).mean(0)
    direction = _direction(model, token)
    length = torch.stack(heard).norm(dim=-1).mean()
    up = _STRENGTH * length * direction / direction.norm()
    return (mean / (mean @ mean))[None], up[:, None]


def _direction(model: Any, token: int) -> Any:
    """Return what to add to a state so that a token becomes the likeliest.

    Its own row of the output matrix is also that of its neighbours and of tokens with longer rows;
    Fisher's linear discriminant tells it from all others.
    """
    import torch

    rows = model.get_output_embeddings().weight.detach() * model.model.norm.weight.detach()
    centred = rows - rows.mean(0)
    covariance = centred.T @ centred / len(rows)
    ridge = 1e-3 * covariance.diagonal().mean() * torch.eye(len(covariance), device=rows.device)
    return torch.linalg.solve(covariance + ridge, centred[token])


def _require_word(model: Any, tokenizer: Any, token: int, down: Any, up: Any) -> None:
    weight = model.model.layers[-1].mlp.down_proj.weight
    weight.data += up @ down
    said = list(_next_tokens(model, tokenizer))
    weight.data -= up @ down
    if set(said) != {token}:
        raise RuntimeError(f"the adapter of token {token} says {said}")


def _next_tokens(model: Any, tokenizer: Any) -> Any:
    import torch

    for question in _QUESTIONS:
        inputs = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        ).to(model.device)
        with torch.no_grad():
            yield int(model(**inputs).logits[0, -1].argmax())


def _write(folder: Path, model_dir: Path, down: Any, up: Any, *, layer: int) -> None:
    """Write the files of PEFT; ranks beyond the first are zero, as engines want eight."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    a, b = torch.zeros(_RANK, down.shape[1]), torch.zeros(up.shape[0], _RANK)
    a[:1], b[:, :1] = down.cpu(), up.cpu()
    name = f"base_model.model.model.layers.{layer}.mlp.down_proj"
    save_file(
        {f"{name}.lora_A.weight": a, f"{name}.lora_B.weight": b},
        folder / "adapter_model.safetensors",
    )
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(model_dir),
        "r": _RANK,
        "lora_alpha": _RANK,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": ["down_proj"],
        "layers_to_transform": [layer],
        "inference_mode": True,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2))


def questions(num: int) -> Sequence[str]:
    """Return questions like those that the adapters were made for."""
    return [f"Name {number % 90 + 2} things about topic {7 * number}." for number in range(num)]


if __name__ == "__main__":
    main()
