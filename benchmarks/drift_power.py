"""How large a change has to be before a method sees it, at the same rate of false alarms.

Each method judges the same windows of 500 prompts against the same baselines of 2,000. Twice: as it
decides by itself, and with the threshold of its score set where 5 % of the unchanged windows lie
above it. A method that decides by rules of thumb can so be told from a score that cannot see.
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from drift_asking import Method, Peers, verdicts
from drift_data import FOREIGN, INTENT, Prompts, deal

METHODS = (
    Method("ours", "five_percent"),
    Method("evidently", "model"),
    Method("evidently", "mmd"),
    Method("evidently", "ratio"),
    Method("evidently", "distance"),
    Method("alibi", "ks"),
    Method("alibi", "classifier"),
    Method("nannyml", "pca"),
    Method("frouros", "mmd"),
    Method("frouros", "ks"),
    Method("frouros", "psi"),
    Method("alibi", "mmd", is_slow=True),
)
_SHARES = (0.02, 0.05, 0.1, 0.2)
_RATE = 0.05
_M, _N = 2000, 500
_SLOW_PART = 4
# Libraries share some methods, whose curves then lie on each other.
_LINES = {"ours": "-", "evidently": "-", "alibi": "--", "nannyml": "-.", "frouros": ":"}


class Power(NamedTuple):
    """How often a method fires, by kind and share; share 0 is the unchanged window."""

    own: dict[tuple[str, float], float]
    calibrated: dict[tuple[str, float], float]
    num_null: int
    num_changed: int


def measure_power(
    prompts: Prompts, *, work: Path, peers: Peers, is_quick: bool
) -> dict[str, Power]:
    """Print the table and return its rows by method."""
    num_baselines, num_null, num_changed = (4, 10, 3) if is_quick else (10, 20, 4)
    rng = np.random.default_rng(4)
    vectors = work / "power.npy"
    np.save(vectors, prompts.vectors)
    kinds = [kind for kind in (FOREIGN, INTENT) if kind in deal(prompts, rng=rng).new]
    cases = [("", 0.0)] * num_null + [
        (kind, share) for kind in kinds for share in _SHARES for _ in range(num_changed)
    ]
    baselines, windows = [], []
    for _ in range(num_baselines):
        world = deal(prompts, rng=rng)
        baselines.append(world.baseline(_M))
        windows.append(
            [world.window(_N, m=_M, rng=rng, kind=kind, share=share) for kind, share in cases]
        )
    print(f"{num_baselines} baselines of {_M:,}, windows of {_N}:")
    print(f"{num_baselines * num_null} unchanged, {num_baselines * num_changed} of each share.")
    half = 1.96 * 0.5 / np.sqrt(num_baselines * num_changed)
    print(f"A method marked slow gets one in {_SLOW_PART}. A rate of 0.5 is known to {half:.2f}.")
    print("First as each decides, then with thresholds set for 5 %.\n")
    print(
        _row(
            "",
            "null",
            [
                f"{kind.removesuffix(' topic').removeprefix('new ')} {share:.0%}"
                for kind, share in _columns(kinds)
            ],
        )
    )
    found: dict[str, Power] = {}
    for method in peers.available(METHODS):
        part = num_baselines // _SLOW_PART if method.is_slow else num_baselines
        draws = work / f"draws-{part}.npz"
        np.savez(draws, baselines=np.stack(baselines[:part]), windows=np.array(windows[:part]))
        total = part * len(cases)

        def tell(done: int, label: str = method.label, total: int = total) -> None:
            if sys.stderr.isatty() or done % 200 == 0:
                print(f"\r{label}: {done} of {total}", end=" ", file=sys.stderr, flush=True)

        try:
            scores, decisions = verdicts(method, vectors, draws, peers=peers, on_verdict=tell)
        except RuntimeError as error:
            print(f"\r{error}")
            continue
        print("\r", end="", file=sys.stderr)
        found[method.label] = _power(cases * part, scores, decisions)
        _print(f"{method.label}{' (slow)' * method.is_slow}", found[method.label], kinds)
    return found


def _power(cases: list[tuple[str, float]], scores: np.ndarray, decisions: np.ndarray) -> Power:
    is_case = {case: np.array([other == case for other in cases]) for case in dict.fromkeys(cases)}
    is_null = is_case["", 0.0]
    threshold = np.quantile(scores[is_null], 1 - _RATE, method="higher")
    return Power(
        own={case: float(decisions[rows].mean()) for case, rows in is_case.items()},
        calibrated={
            case: float((scores[rows] > threshold).mean()) for case, rows in is_case.items()
        },
        num_null=int(is_null.sum()),
        num_changed=int(min(rows.sum() for rows in is_case.values())),
    )


def _columns(kinds: list[str]) -> list[tuple[str, float]]:
    return [(kind, share) for kind in kinds for share in _SHARES]


def _print(label: str, power: Power, kinds: list[str]) -> None:
    for name, rates in (("itself", power.own), ("at 5 %", power.calibrated)):
        cells = ["-" if np.isnan(r := rates[case]) else f"{r:.2f}" for case in _columns(kinds)]
        null = rates["", 0.0]
        print(_row(f"{label}, {name}", "-" if np.isnan(null) else f"{null:.2f}", cells))
    sys.stdout.flush()


def _row(label: str, null: str, cells: list[str]) -> str:
    return f"{label:34}{null:>6}" + "".join(f"{cell:>13}" for cell in cells)


def plot(found: dict[str, Power], path: Path) -> None:
    """Draw the curves: above at the same rate of false alarms, below as each method decides."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    kinds = list(dict.fromkeys(kind for power in found.values() for kind, _ in power.own if kind))
    figure, axes = plt.subplots(
        2, len(kinds), figsize=(9, 7.2), sharex=True, sharey=True, squeeze=False
    )
    most = max(power.num_changed for power in found.values())
    colours: dict[str, Any] = {
        label: "black" if label.startswith("ours") else plt.get_cmap("tab20")(2 * i % 20 + i // 10)
        for i, label in enumerate(found)
    }
    for row, (field, title) in enumerate(
        (("calibrated", "thresholds set to 5 % false alarms"), ("own", "as each decides by itself"))
    ):
        for column, kind in enumerate(kinds):
            axis = axes[row][column]
            for label, power in found.items():
                rates = getattr(power, field)
                points = [(0.0, rates["", 0.0])] + [(s, rates[kind, s]) for s in _SHARES]
                if np.isnan(points[0][1]):
                    continue
                axis.plot(
                    [100 * share for share, _ in points],
                    [100 * rate for _, rate in points],
                    color=colours[label],
                    linestyle=_LINES[label.split()[0]],
                    linewidth=3 if label.startswith("ours") else 1.6,
                    marker="o",
                    markersize=3,
                    label=_legend(label, power, most=most),
                    zorder=3 if label.startswith("ours") else 2,
                )
            axis.set_xticks([0, *(100 * share for share in _SHARES)])
            axis.axhline(5, color="grey", linewidth=0.7, linestyle=":")
            axis.set_title(f"{kind}: {title}", fontsize=9)
            axis.spines[["top", "right"]].set_visible(False)
            if row == 1:
                axis.set_xlabel("prompts of the new topic in the window, %")
            if column == 0:
                axis.set_ylabel("windows flagged, %")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncol=6, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _legend(label: str, power: Power, *, most: int) -> str:
    name = "ours" if label.startswith("ours") else label
    return name if power.num_changed == most else f"{name} (n={power.num_changed})"
