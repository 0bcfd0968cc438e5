"""The validation loss of adapters, whoever trained them: a mean over all answer tokens.

    python benchmarks/training_loss.py JOB FOLDER ... FILE

Each folder holds an adapter of PEFT on the job's base model; the file gets a JSON list.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llm_assets.training.job import TrainingJob
from llm_assets.training.rows import read_rows
from llm_assets.training.tokens import TokenRow, tokenize


def main() -> None:
    import peft
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    job_file, *folders, file = sys.argv[1:]
    job = TrainingJob.read(Path(job_file))
    rows = read_rows(job.rows_file, job.config).validation
    tokenizer = AutoTokenizer.from_pretrained(job.base_model_dir)
    examples = tokenize(rows, tokenizer, system_prompt=job.system_prompt, config=job.config)
    losses = []
    for folder in folders:
        base = AutoModelForCausalLM.from_pretrained(job.base_model_dir, dtype=torch.float32)
        model = peft.PeftModel.from_pretrained(base, folder).eval()
        with torch.no_grad():
            each = [
                loss for e in examples for row in e.sequences for loss in _token_losses(model, row)
            ]
        losses.append(sum(each) / len(each))
    Path(file).write_text(json.dumps(losses))


def _token_losses(model: Any, row: TokenRow) -> Iterator[float]:
    """Yield the loss of each answer token of a row, which the model sees alone."""
    import torch

    ids = torch.tensor([row.ids])
    logits = model(input_ids=ids).logits[0, row.num_prompt - 1 : -1]
    losses = torch.nn.functional.cross_entropy(logits, ids[0, row.num_prompt :], reduction="none")
    yield from losses.tolist()


if __name__ == "__main__":
    main()
