"""A picture of how a rephrasing stands out of what chance makes alike."""

import io
from collections.abc import Sequence

import numpy as np

from llm_assets.feedback.implicit.calibration import Calibration


def similarity_png(calibration: Calibration, consecutive: Sequence[float], *, title: str) -> bytes:
    """Return a PNG of histograms: pairs by chance, of the same topic, and consecutive prompts."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    plot = figure.add_subplot()
    bins = np.linspace(-0.4, 1.0, 57).tolist()
    for similarities, colour, label in (
        (calibration.chance, "#9aa5b1", "different sessions"),
        (calibration.topic, "#2b8a3e", "two turns apart"),
        (consecutive, "#d9480f", "consecutive"),
    ):
        n = len(similarities)
        plot.hist(
            np.clip(similarities, bins[0], bins[-1]),
            bins,
            weights=np.full(n, 1 / n) if n else None,
            histtype="step",
            color=colour,
            label=f"{label} (n={n})",
        )
    threshold = calibration.threshold
    plot.axvline(threshold, color="#1c7ed6", linestyle="--", label=f"threshold {threshold:.2f}")
    plot.set(title=title, xlabel="cosine similarity of two prompts", ylabel="share of pairs")
    plot.legend(loc="upper right", fontsize="small")
    file = io.BytesIO()
    canvas.print_png(file)
    return file.getvalue()
