"""From a job to a loop that is ready for its next step."""

from pathlib import Path

import torch

from llm_assets.training.config import TrainingConfig
from llm_assets.training.engine import deepspeed_engine
from llm_assets.training.engine.base import load_base, num_frozen_layers
from llm_assets.training.engine.checkpoints import Checkpoints, Progress
from llm_assets.training.engine.data import Data
from llm_assets.training.engine.frozen import FrozenInputs, Inputs
from llm_assets.training.engine.loop import Loop
from llm_assets.training.engine.objectives import objective_of
from llm_assets.training.engine.trained import trained_part
from llm_assets.training.job import TrainingJob
from llm_assets.training.processes import Rank
from llm_assets.training.progress import Reporter
from llm_assets.training.rows import Rows
from llm_assets.training.work_folder import REFERENCE


def settle_torch(config: TrainingConfig) -> None:
    """Let PyTorch compute the same whenever it computes the same again."""
    torch.set_num_threads(config.compute.num_threads)
    # On a GPU some kernels have no such form; there a warning would come for each of them.
    torch.use_deterministic_algorithms(not torch.cuda.is_available())
    if torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")


def prepare(
    job: TrainingJob,
    rows: Rows,
    rank: Rank,
    reporter: Reporter,
    checkpoints: Checkpoints,
    progress: Progress,
    *,
    device: torch.device,
) -> tuple[Loop, Data]:
    """Load the model and the data, and go on from the last checkpoint.

    Raises:
        UserError: as `load_base`, `tokenize` and `trained_part`.
    """
    from transformers import AutoTokenizer

    config = job.config
    reporter.say(f"loading the base model for {job.model_version}")
    data = Data.of(job, rows, AutoTokenizer.from_pretrained(job.base_model_dir))
    model = load_base(job.base_model_dir, config, device=device)
    num_frozen = num_frozen_layers(model, config)
    sequences = [sequence for example in data.all for sequence in example.sequences]
    inputs = Inputs(sequences, device=device)
    if num_frozen:
        reporter.say(f"running {len(sequences)} sequences through {num_frozen} frozen layers")
        inputs = FrozenInputs(
            sequences,
            model.to(device),
            num_layers=num_frozen,
            folder=job.work_dir,
            max_bytes=config.compute.max_states_gb * 1e9,
            rank=rank,
            batch_size=config.compute.per_device_train_batch_size,
            device=device,
        )
        reporter.say(str(inputs))
    part = trained_part(model, config)
    state = checkpoints.load(progress.step) if progress.step else None
    if state is not None:
        deepspeed_engine.restore_weights(part, state)
    engine = deepspeed_engine.start_engine(
        part,
        config,
        num_steps=config.num_steps(len(data.train)),
        world_size=rank.world_size,
    )
    objective = objective_of(config)
    loop = Loop(
        engine=engine,
        examples=data.numbered(inputs),
        objective=objective,
        config=config,
        rank=rank,
        reference=torch.zeros(0),
    )
    if objective.has_reference:
        loop.reference = _reference(loop, job.work_dir / REFERENCE, is_fresh=state is None)
    if state is not None:
        reporter.say(f"going on behind step {progress.step}")
        deepspeed_engine.restore_optimizer(engine, state, step=progress.step)
    return loop, data


def _reference(loop: Loop, path: Path, *, is_fresh: bool) -> torch.Tensor:
    """Return the log probabilities before the training: computed at its start, kept for later."""
    from safetensors.torch import load_file, save_file

    device = loop.examples.inputs.device
    if not is_fresh:
        return load_file(path)["logps"].to(device)
    found = loop.sequence_logps(range(len(loop.examples.examples)))
    if loop.rank.rank == 0:
        temporary = path.with_suffix(".safetensors.tmp")
        save_file({"logps": found.cpu()}, temporary)
        temporary.replace(path)
    return found
