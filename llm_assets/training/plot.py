"""A picture of how the loss fell."""

import io
from collections.abc import Sequence

from llm_assets.training.progress import StepReport


def loss_png(reports: Sequence[StepReport]) -> bytes:
    """Return a PNG of the loss of every step, the validation loss, and the learning rate."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 3.2), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    plot = figure.add_subplot()
    steps = [report.step for report in reports]
    plot.plot(steps, [report.loss for report in reports], color="#1c7ed6", lw=1, label="training")
    seen = [(r.step, r.validation_loss) for r in reports if r.validation_loss is not None]
    if seen:
        plot.plot(*zip(*seen, strict=True), color="#e8590c", marker="o", ms=4, label="validation")
    plot.set(xlabel="step", ylabel="loss", xlim=(0, steps[-1] + 1))
    plot.grid(alpha=0.25)
    rate = plot.twinx()
    rate.plot(
        steps,
        [report.learning_rate for report in reports],
        color="#adb5bd",
        lw=1,
        ls="--",
        label="learning rate",
    )
    rate.set_ylabel("learning rate")
    figure.legend(loc="outside upper center", ncols=3, fontsize="small")
    file = io.BytesIO()
    canvas.print_png(file)
    return file.getvalue()
