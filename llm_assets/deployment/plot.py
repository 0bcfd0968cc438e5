"""A picture of what a decision was made on: every comparison with its interval and its limit."""

import io
from collections.abc import Mapping
from typing import Any

_COLOURS = {"clear": "#009e73", "breached": "#d55e00", "open": "#e69f00"}
_INK, _LIMIT = "#333333", "#8a939d"


def plot_intervals(kept: Mapping[str, Any]) -> bytes | None:
    """Return a PNG of the guardrails and the effect of kept evidence; None if nothing was measured.

    Each line is the challenger's value less the champion's, with the interval that holds at every
    look; the mark is the margin that it must stay below, and for the metric stay above.
    """
    rows = [
        (f["name"].replace("_", " "), f["value"], f["low"], f["high"], f["margin"], f["state"])
        for f in kept["findings"]
        if f["value"] is not None and f["name"] != "restarts"
    ]
    effect = kept["effect"]
    if effect is not None and effect["value"] is not None:
        ends = (effect["value"], effect["low"], effect["high"])
        state = "clear" if effect["low"] > -effect["margin"] else "open"
        state = "breached" if effect["high"] < -effect["margin"] else state
        rows.append((effect["metric"], *ends, -effect["margin"], state))
    if not rows:
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 0.9 + 0.45 * len(rows)), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    plot = figure.add_subplot()
    for place, (_, value, low, high, limit, state) in enumerate(reversed(rows)):
        plot.plot([low, high], [place, place], color=_COLOURS[state], linewidth=3)
        plot.plot([value], [place], "o", color=_INK, markersize=5)
        plot.plot([limit], [place], "|", color=_LIMIT, markersize=16, markeredgewidth=2)
    plot.axvline(0, color=_LIMIT, linewidth=0.8, linestyle=":")
    plot.set_yticks(range(len(rows)), [name for name, *_ in reversed(rows)])
    plot.set_ylim(-0.6, len(rows) - 0.4)
    plot.set(
        title=f"{kept['model_version']}, {kept['step']}: {kept['move']}",
        xlabel="challenger less champion",
    )
    plot.spines[["top", "right", "left"]].set_visible(False)
    plot.tick_params(axis="y", length=0)
    file = io.BytesIO()
    canvas.print_png(file)
    return file.getvalue()
