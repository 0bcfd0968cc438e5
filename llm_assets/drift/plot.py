"""A picture of where today's prompts lie beside the baseline's."""

import io
from collections.abc import Sequence

import numpy as np

_MAX_POINTS = 2000
_MAX_LABEL_CHARACTERS = 28
_BASELINE, _CURRENT = "#c3cad2", "#6b7683"
# Okabe and Ito's colours (2008), which people who see colours differently tell apart.
_COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")

Topics = Sequence[tuple[str, Sequence[int] | np.ndarray]]


def map_png(current: np.ndarray, baseline: np.ndarray, *, title: str, topics: Topics = ()) -> bytes:
    """Return a PNG of both sets of vectors on two axes, with the rows of topics in colour.

    `topics` are names and rows of `current`, of which the first six are drawn. The names stand in
    the picture, so they must be public. The axes are chosen to part the topics from the rest;
    without topics they are the principal components of both sets. A plane keeps a part of the
    distances only: points that coincide here may be far apart. The share of the variance that an
    axis shows stands beside it. Of a large set evenly spaced rows are drawn, and of topics all.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    topics = topics[: len(_COLOURS)]
    middle, axes, shares = _axes(current, baseline, [rows for _, rows in topics])
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    plot = figure.add_subplot()
    in_topic = np.zeros(len(current), dtype=bool)
    for _, rows in topics:
        in_topic[rows] = True
    for vectors, colour, label in (
        (baseline, _BASELINE, f"baseline (n={len(baseline)})"),
        (current[~in_topic], _CURRENT, f"current (n={len(current)})"),
    ):
        points = (_thin(vectors) - middle) @ axes
        plot.scatter(*points.T, s=7, c=colour, label=label, linewidths=0)
    for number, (name, rows) in enumerate(topics, start=1):
        points = (current[rows] - middle) @ axes
        label = f"{_drawable(name) or f'topic {number}'} ({len(rows)})"
        colour = _COLOURS[number - 1]
        plot.scatter(*points.T, s=13, c=colour, label=label, linewidths=0)
    plot.set(
        title=title,
        xlabel=f"first axis ({shares[0]:.0%} of the variance)",
        ylabel=f"second axis ({shares[1]:.0%})",
    )
    # Below the plot, since the search for a free place in it is slow.
    figure.legend(loc="outside lower center", ncols=2, fontsize="small", frameon=False)
    file = io.BytesIO()
    canvas.print_png(file)
    return file.getvalue()


def _axes(
    current: np.ndarray, baseline: np.ndarray, topics: Sequence[Sequence[int] | np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the middle, two orthonormal axes, shape (dimensions, 2), and their variance shares.

    The axes are the main ones of the topics' means; beside a single topic, and without any, they
    are those of the points.
    """
    both = np.concatenate([_thin(baseline), _thin(current)]).astype(np.float64)
    middle = both.mean(axis=0)
    centred = both - middle
    # The eigenvectors of the small covariance matrix: much cheaper than decomposing all rows.
    covariance = centred.T @ centred / len(centred)
    principal = np.linalg.eigh(covariance)[1][:, ::-1][:, :2]
    candidates = principal
    if topics:
        means = np.stack([current[rows].mean(axis=0, dtype=np.float64) for rows in topics])
        directions = np.linalg.svd(means - middle, full_matrices=False)[2][:2].T
        candidates = np.concatenate([directions, principal], axis=1)
    axes = np.linalg.qr(candidates)[0][:, :2]
    # A direction has no sign of its own: the largest part of each axis points up.
    largest = np.abs(axes).argmax(axis=0)
    axes = axes * np.sign(axes[largest, [0, 1]])
    variances = np.einsum("ij,ij->j", axes, covariance @ axes)
    return middle, axes, variances / max(float(np.trace(covariance)), np.finfo(float).tiny)


def _drawable(name: str) -> str:
    """Return a name of a fitting length, or none where the font lacks its script."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties()))
    if not all(font.get_char_index(ord(character)) for character in name):
        return ""
    is_long = len(name) > _MAX_LABEL_CHARACTERS
    return f"{name[: _MAX_LABEL_CHARACTERS - 1]}…" if is_long else name


def _thin(vectors: np.ndarray) -> np.ndarray:
    if len(vectors) <= _MAX_POINTS:
        return vectors
    return vectors[np.linspace(0, len(vectors) - 1, _MAX_POINTS).astype(int)]
