"""A picture of what each model gets right, target by target."""

import io
from collections.abc import Sequence

from llm_assets.evaluation.report import EvalReport, TargetScore

# What fewer samples want may be one user's own words, and the erasure of a user does not reach
# the pictures that Dagster keeps.
_MIN_SAMPLES_OF_A_NAME = 5


def accuracy_png(report: EvalReport) -> bytes:
    """Return a PNG with a pair of bars for each target: the candidate and the champion."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    targets = list(reversed(named_targets(report.targets)))
    positions = range(len(targets))
    figure = Figure(figsize=(6.5, 1.2 + 0.4 * len(targets)), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    plot = figure.add_subplot()
    candidate = [target.num_correct_candidate / target.n for target in targets]
    champion = [target.num_correct_champion / target.n for target in targets]
    plot.barh(
        [position + 0.2 for position in positions],
        candidate,
        height=0.38,
        color="#1c7ed6",
        label=f"candidate {report.candidate.model_version} ({report.candidate.accuracy:.2f})",
    )
    plot.barh(
        [position - 0.2 for position in positions],
        champion,
        height=0.38,
        color="#adb5bd",
        label=f"champion {report.champion.model_version} ({report.champion.accuracy:.2f})",
    )
    plot.set_yticks(positions, [f"{target.target} (n={target.n})" for target in targets])
    plot.set(xlim=(0, 1), xlabel=f"accuracy on {report.n} unseen prompts")
    figure.legend(loc="outside upper center", fontsize="small")
    file = io.BytesIO()
    canvas.print_png(file)
    return file.getvalue()


def named_targets(targets: Sequence[TargetScore]) -> list[TargetScore]:
    """Return the frequent targets, and all rare ones as one."""
    named = [target for target in targets if target.n >= _MIN_SAMPLES_OF_A_NAME]
    rare = [target for target in targets if target.n < _MIN_SAMPLES_OF_A_NAME]
    if rare:
        named.append(
            TargetScore(
                target=f"{len(rare)} rare ones",
                n=sum(target.n for target in rare),
                num_correct_candidate=sum(target.num_correct_candidate for target in rare),
                num_correct_champion=sum(target.num_correct_champion for target in rare),
            )
        )
    return named
