"""A picture of how the trials of a sweep went from rung to rung."""

import io

from llm_assets.training.sweep.halving import CONFIGURED
from llm_assets.training.sweep.result import Sweep


def sweep_png(sweep: Sweep) -> bytes:
    """Return a PNG of the validation loss of every trial, by the steps of its rungs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 3.2), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    plot = figure.add_subplot()
    steps = [rung.num_steps for rung in sweep.rungs]
    for trial in sweep.trials:
        colour, label = "#adb5bd", None
        if trial.number == CONFIGURED:
            colour, label = "#1c7ed6", "configured"
        if trial.number == sweep.best.number:
            colour, label = "#e8590c", f"best, trial {trial.number}"
        plot.plot(
            steps[: len(trial.losses)], trial.losses, color=colour, marker="o", ms=4, label=label
        )
    plot.set_xticks(steps)
    plot.set(xlabel="steps from the start", ylabel=f"loss of {sweep.num_validation_rows} rows")
    plot.grid(alpha=0.25)
    figure.legend(loc="outside upper center", ncols=2, fontsize="small")
    file = io.BytesIO()
    canvas.print_png(file)
    return file.getvalue()
