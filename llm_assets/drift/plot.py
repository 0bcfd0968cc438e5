"""A picture of where today's prompts lie beside the baseline's."""

import io

import numpy as np

_MAX_POINTS = 2000


def map_png(current: np.ndarray, baseline: np.ndarray, *, title: str) -> bytes:
    """Return a PNG of both sets on the two main axes of the two together.

    The axes are principal components, which keep a part of the distances only: points that
    coincide here may be far apart. The share of the variance that is shown stands at the axes.
    Of a large set, evenly spaced rows are drawn.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    current, baseline = _thin(current), _thin(baseline)
    both = np.concatenate([baseline, current]).astype(np.float64)
    centred = both - both.mean(axis=0)
    # The eigenvectors of the small covariance matrix: much cheaper than decomposing all rows.
    variances, axes = np.linalg.eigh(centred.T @ centred)
    variances, axes = variances[::-1], axes[:, ::-1]
    points = centred @ axes[:, :2]
    shares = variances / max(float(variances.sum()), np.finfo(float).tiny)

    figure = Figure(figsize=(6, 4.5), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    plot = figure.add_subplot()
    split = len(baseline)
    plot.scatter(*points[:split].T, s=12, c="#9aa5b1", label=f"baseline (n={split})")
    plot.scatter(*points[split:].T, s=14, c="#d9480f", label=f"current (n={len(current)})")
    plot.set(
        title=title,
        xlabel=f"first axis ({shares[0]:.0%} of the variance)",
        ylabel=f"second axis ({shares[1]:.0%})",
    )
    plot.legend(loc="upper right", fontsize="small")  # the search for the best place is slow
    file = io.BytesIO()
    canvas.print_png(file)
    return file.getvalue()


def _thin(vectors: np.ndarray) -> np.ndarray:
    if len(vectors) <= _MAX_POINTS:
        return vectors
    return vectors[np.linspace(0, len(vectors) - 1, _MAX_POINTS).astype(int)]
