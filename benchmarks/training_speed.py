"""The speed of our supervised fine-tuning beside its peers', on the same rows, in as many steps."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from training_cost import Cost, ask, run
from training_data import BATCH_SIZE, NUM_TRAIN, Workplace
from training_with_peers import VARIANTS

from llm_assets.training.job import TrainingJob

_NUM_TOP_LAYERS = 10
_NUM_TRIAL_STEPS = 2
# Of a loss: the same steps in another order of sums have come that far apart at their end.
_ROUNDING = 0.01
# What an application trains by default, when it does not say.
_USUAL_EPOCHS = 5


class Comparison(NamedTuple):
    """Which layers are trained on which data, and how many times as fast we want to be."""

    data: str
    num_top_layers: int | None
    goal: float

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return self.data if self.num_top_layers is None else f"{self.data}-top"


COMPARISONS = (
    Comparison("helpdesk", None, 1.5),
    Comparison("chat", None, 1.5),
    Comparison("helpdesk", _NUM_TOP_LAYERS, 3.0),
    Comparison("chat", _NUM_TOP_LAYERS, 3.0),
)


class Peer(NamedTuple):
    """A peer, how it makes batches, and how many top layers it trains."""

    trainer: str
    variant: str
    layers: str

    @property
    def label(self) -> str:
        """What it is called in tables."""
        return f"{self.trainer} {self.variant}, {self.layers} layers"


class Result(NamedTuple):
    """What a training cost and the validation loss that it ended with."""

    label: str
    cost: Cost
    validation_loss: float


def measure_speed(
    comparison: Comparison, workplace: Workplace, *, num_epochs: float, num_steps: int | None
) -> dict[str, Any]:
    """Print the speed of every variant of the peers, then whole trainings of ours and of the best.

    Of each peer the best variant is taken; where we train the top layers only, the best of both
    peers, once with the same layers and once with all of them.
    """
    trials = dict(_trials(comparison, workplace))
    peers = list(_best(trials))
    length = (
        {"num_train_epochs": float(num_epochs)} if num_steps is None else {"max_steps": num_steps}
    )
    job = _job(comparison, workplace, **length)
    results = list(_train(job, peers, workplace.folder / comparison.name))
    ours, *others = results
    _print(results, comparison)
    return {
        "trials": {peer.label: cost.tokens_per_cpu_second for peer, cost in trials.items()},
        "results": {
            r.label: {**asdict(r.cost), "validation_loss": r.validation_loss} for r in results
        },
        "ratios": {
            r.label: ours.cost.tokens_per_cpu_second / r.cost.tokens_per_cpu_second for r in others
        },
        "goal": comparison.goal,
    }


def _job(comparison: Comparison, workplace: Workplace, **settings: Any) -> TrainingJob:
    return workplace.job(
        comparison.name,
        workplace.pairs(comparison.data),
        num_top_layers=comparison.num_top_layers,
        train_batch_size=BATCH_SIZE,
        compute={"num_threads": 1, "per_device_train_batch_size": BATCH_SIZE},
        **settings,
    )


def _trials(comparison: Comparison, workplace: Workplace) -> Iterator[tuple[Peer, Cost]]:
    folder = workplace.folder / comparison.name
    job_file = folder / "trial.json"
    _job(comparison, workplace, max_steps=_NUM_TRIAL_STEPS).write(job_file)
    top = comparison.num_top_layers
    print(f"\n{_NUM_TRIAL_STEPS} steps of each variant{'':12}{'tokens/CPU s':>14}{'peak MB':>9}")
    for trainer, variants in VARIANTS.items():
        for variant in variants:
            peer = Peer(trainer, variant, "all" if top is None else str(top))
            cost = _ask_peer(peer, job_file, folder / "trials")
            row = f"{cost.tokens_per_cpu_second:14.1f}{cost.peak_megabytes:9.0f}"
            print(f"  {peer.label:32}{row}", flush=True)
            yield peer, cost


def _ask_peer(peer: Peer, job_file: Path, folder: Path) -> Cost:
    return ask("training_with_peers.py", job_file, *peer, folder=folder / "-".join(peer))


def _best(trials: dict[Peer, Cost]) -> Iterator[Peer]:
    """Yield the fastest variant of each trainer; with top layers of both, and that with all."""

    def speed(peer: Peer) -> float:
        return trials[peer].tokens_per_cpu_second

    fastest = max(trials, key=speed)
    if fastest.layers != "all":
        yield from (fastest, fastest._replace(layers="all"))
        return
    for trainer in VARIANTS:
        yield max((peer for peer in trials if peer.trainer == trainer), key=speed)


def _train(job: TrainingJob, peers: Iterable[Peer], folder: Path) -> Iterator[Result]:
    job_file = folder / "job.json"
    job.write(job_file)
    costs = {"ours": ask("training_with_ours.py", job_file, folder=folder / "ours", is_ours=True)}
    folders = [folder / "ours"]
    for peer in peers:
        costs[peer.label] = _ask_peer(peer, job_file, folder)
        folders.append(folder / "-".join(peer))
    losses_file = folder / "losses.json"
    run("training_loss.py", job_file, *folders, losses_file, log=folder / "loss.log", is_ours=False)
    losses = json.loads(losses_file.read_text())
    for (label, cost), loss in zip(costs.items(), losses, strict=True):
        yield Result(label, cost, loss)


def _print(results: Sequence[Result], comparison: Comparison) -> None:
    ours, *others = results
    print(f"\nwhole trainings{'':17}{'steps':>7}{'tokens':>9}{'CPU s':>9}", end="")
    print(f"{'tokens/CPU s':>14}{'ours is':>9}{'loss':>8}{'peak MB':>9}")
    for label, cost, loss in results:
        speed = cost.tokens_per_cpu_second
        ratio = ours.cost.tokens_per_cpu_second / speed
        print(f"  {label:30}{cost.num_steps:7}{cost.num_tokens:9,}{cost.cpu_seconds:9.1f}", end="")
        print(f"{speed:14.1f}{ratio:8.2f}x{loss:8.4f}{cost.peak_megabytes:9.0f}")
    if ours.cost.frozen_cpu_seconds:
        usual = _usual_speed(ours.cost, comparison)
        print(
            f"  the frozen layers took {ours.cost.frozen_cpu_seconds:.1f} CPU s of ours, ", end=""
        )
        print(f"which over {_USUAL_EPOCHS} epochs would be {usual:.1f} tokens/CPU s")
    fastest = max(others, key=lambda other: other.cost.tokens_per_cpu_second)
    ratio = ours.cost.tokens_per_cpu_second / fastest.cost.tokens_per_cpu_second
    verdict = "reaches" if ratio >= comparison.goal else "MISSES"
    is_worse = ours.validation_loss > fastest.validation_loss * (1 + _ROUNDING)
    print(f"  {ratio:.2f} times the fastest peer {verdict} {comparison.goal:g}; ", end="")
    print(f"the loss is {'WORSE' if is_worse else 'no worse'} than its own")


def _usual_speed(cost: Cost, comparison: Comparison) -> float:
    """Return the speed if the frozen layers' part were spread over the usual number of epochs."""
    num_epochs = cost.num_steps * BATCH_SIZE / NUM_TRAIN[comparison.data]
    share = num_epochs / _USUAL_EPOCHS
    return cost.num_tokens / (
        cost.cpu_seconds - cost.frozen_cpu_seconds + cost.frozen_cpu_seconds * share
    )
