"""The Trainer of Hugging Face and TRL's SFTTrainer on the rows of one of our jobs.

    python benchmarks/training_with_peers.py JOB TRAINER VARIANT LAYERS FOLDER

They get the tokens and labels that we train on, in our order, an adapter that begins as ours does,
and every setting that makes them faster on a CPU: float32, nothing computed twice, no logs, no
checkpoints. What does not change the order, `flattened`, so learns the same but for rounding.
LAYERS is how many of the top layers are trained, or `all`.
"""

import functools
import os
from pathlib import Path
from typing import Any

from training_cost import Cost, Usage, main

from llm_assets.training.deepspeed_config import learning_rate_factor
from llm_assets.training.job import TrainingJob
from llm_assets.training.plan import plan
from llm_assets.training.rows import read_rows
from llm_assets.training.tokens import TokenRow, tokenize

# Rows of a step that are computed at once: with all 16, both are half as fast on a CPU.
_AT_ONCE = 4
_PACKED_TOKENS = 256

# How rows come together: padded beside others of about their length, one after the other without
# padding, or in packs that are made before the training.
VARIANTS = {
    "hf": ("padded", "flattened"),
    "trl": ("padded", "flattened", "packed"),
}


def train(job_file: str, trainer: str, variant: str, layers: str, folder: Path) -> Cost:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    job = TrainingJob.read(Path(job_file))
    tokenizer: Any = AutoTokenizer.from_pretrained(job.base_model_dir)
    rows = read_rows(job.rows_file, job.config).train
    examples = tokenize(rows, tokenizer, system_prompt=job.system_prompt, config=job.config)
    batches = plan(len(examples), job.config)
    sequences = [examples[number].sequences[0] for batch in batches for number in batch]
    make = _make_hf if trainer == "hf" else _make_trl
    settings = _settings(job, len(batches), variant, folder)
    model = AutoModelForCausalLM.from_pretrained(job.base_model_dir, dtype=torch.float32)
    torch.manual_seed(job.config.seed)  # the adapter is drawn next, as ours is
    made = make(model, _lora(job, layers), _dataset(sequences), tokenizer, settings, variant)
    _schedule_as_ours(made, job)
    counted = _count(made)
    begin = Usage.now()
    made.train()
    used = Usage.now().since(begin)
    made.model.save_pretrained(folder)
    return Cost(
        num_steps=made.state.global_step,
        num_tokens=counted["tokens"],
        num_answer_tokens=counted["answer"],
        cpu_seconds=used.cpu_seconds,
        wall_seconds=used.wall_seconds,
    )


def _dataset(sequences: list[TokenRow]) -> Any:
    import datasets

    return datasets.Dataset.from_list(
        [
            {
                "input_ids": list(row.ids),
                "labels": [-100] * row.num_prompt + list(row.ids[row.num_prompt :]),
            }
            for row in sequences
        ]
    )


def _settings(job: TrainingJob, num_steps: int, variant: str, folder: Path) -> dict[str, Any]:
    config = job.config
    strategies = {"padded": "group_by_length", "flattened": "sequential", "packed": "random"}
    return {
        "output_dir": str(folder / "trainer"),
        "per_device_train_batch_size": _AT_ONCE,
        "gradient_accumulation_steps": config.train_batch_size // _AT_ONCE,
        "max_steps": num_steps,
        "learning_rate": config.learning_rate,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "train_sampling_strategy": strategies[variant],
        "seed": config.seed,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "dataloader_pin_memory": False,
        "report_to": "none",
        "save_strategy": "no",
        "logging_strategy": "no",
    }


def _lora(job: TrainingJob, layers: str) -> Any:
    import peft

    config = job.config
    num_layers = 30  # of SmolLM2-135M
    return peft.LoraConfig(
        r=config.r,
        lora_alpha=config.lora_alpha,
        lora_dropout=0.0,
        target_modules=list(config.target_modules),
        layers_to_transform=(
            None if layers == "all" else list(range(num_layers - int(layers), num_layers))
        ),
        task_type="CAUSAL_LM",
    )


def _make_hf(
    model: Any, lora: Any, dataset: Any, tokenizer: Any, settings: dict[str, Any], variant: str
) -> Any:
    import peft
    import transformers

    collator = (
        transformers.DataCollatorWithFlattening()
        if variant == "flattened"
        else transformers.DataCollatorForSeq2Seq(tokenizer)
    )
    return transformers.Trainer(
        model=peft.get_peft_model(model, lora),
        args=transformers.TrainingArguments(**settings),
        train_dataset=dataset,
        data_collator=collator,
    )


def _make_trl(
    model: Any, lora: Any, dataset: Any, tokenizer: Any, settings: dict[str, Any], variant: str
) -> Any:
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    if variant == "flattened":
        settings |= {"padding_free": True, "max_length": None}
    if variant == "packed":
        settings |= {"packing": True, "packing_strategy": "bfd", "max_length": _PACKED_TOKENS}
        settings |= {"per_device_train_batch_size": 1}
    made: Any = SFTTrainer(
        model=model,
        args=SFTConfig(**settings),
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=lora,
    )
    if variant == "packed":
        # As many packs a step as give the others' number of steps, as nearly as can be.
        num_packs = round(len(made.train_dataset) / made.args.max_steps)
        made.args.gradient_accumulation_steps = num_packs
        _require_same_answers(dataset, made.train_dataset)
    return made


def _require_same_answers(rows: Any, packs: Any) -> None:
    """Make sure that packing has kept the loss on the answers, and on all of them."""
    learnt, packed = (
        sum(label != -100 for labels in data["labels"] for label in labels)
        for data in (rows, packs)
    )
    assert learnt == packed, f"{learnt} answer tokens, {packed} of them packed"


def _schedule_as_ours(trainer: Any, job: TrainingJob) -> None:
    import torch

    factor = functools.partial(
        learning_rate_factor,
        num_steps=trainer.args.max_steps,
        warmup_ratio=job.config.warmup_ratio,
    )
    optimizer = trainer.create_optimizer()
    trainer.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def _count(trainer: Any) -> dict[str, int]:
    """Count what steps see; a data loader is ahead of them."""
    counted = {"tokens": 0, "answer": 0}
    step = trainer.training_step

    def counting_step(model: Any, inputs: Any, *arguments: Any) -> Any:
        mask = inputs.get("attention_mask")
        counted["tokens"] += int(inputs["input_ids"].numel() if mask is None else mask.sum())
        counted["answer"] += int((inputs["labels"] != -100).sum())
        return step(model, inputs, *arguments)

    trainer.training_step = counting_step
    return counted


if __name__ == "__main__":
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    main(train)
