"""Measures drift detection: what it costs, how often it is wrong, what it sees, beside its peers.

    python benchmarks/drift.py [--only SECTION ...] [--quick] [--plot]
        [--peers DIR] [--make-peers DIR] [--work DIR]

The sections are speed, false-alarms, detection, power, and day. Peers (Evidently, alibi-detect,
NannyML, Frouros) run in environments of their own, which --make-peers makes; those that are missing
are left out. The work folder keeps vectors from run to run; without one they are made anew. Data:
see drift_data.py. Figures of time depend on the machine; what is wrong or seen does not.
"""

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from drift_asking import Method, Peers, make_peers, speed
from drift_data import FOREIGN, INTENT, SCATTERED, Deal, Prompts, deal, load_prompts, more_vectors
from drift_power import measure_power, plot

from llm_assets.drift.baseline import Baseline
from llm_assets.drift.config import DEFAULT_EMBEDDING_MODEL, DriftConfig
from llm_assets.drift.embedding.embedders import embedder_named
from llm_assets.drift.reference import Reference, Sample
from llm_assets.drift.scores import DriftScore, score_window

_SECTIONS = ("speed", "false-alarms", "detection", "power", "day")
_METHODS = (
    Method("ours", "defaults"),
    Method("ours", "all_prompts"),
    Method("evidently", "model"),
    Method("evidently", "mmd"),
    Method("evidently", "ratio"),
    Method("alibi", "classifier"),
    Method("alibi", "ks"),
    Method("alibi", "mmd"),
    Method("nannyml", "pca"),
    Method("frouros", "psi"),
    Method("frouros", "ks"),
    Method("frouros", "mmd"),
    Method("frouros", "mmd_permutation"),
)
_RATES = (0.01, 12 / 365, 0.05, 0.1, 0.2)
_PICTURE = Path(__file__).parents[1] / "docs" / "drift_power.png"


def main() -> None:
    """Run the sections and print their tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=_SECTIONS, default=_SECTIONS)
    parser.add_argument("--quick", action="store_true", help="few draws, to see that it runs")
    parser.add_argument("--plot", action="store_true", help=f"draw {_PICTURE.name}")
    parser.add_argument("--peers", type=Path, metavar="DIR", help="where the environments are")
    parser.add_argument("--make-peers", type=Path, metavar="DIR", help="make them there first")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keeps vectors from run to run")
    options = parser.parse_args()
    if options.make_peers:
        make_peers(options.make_peers)
    peers = Peers(options.peers or options.make_peers)
    with tempfile.TemporaryDirectory(prefix="llm-assets-benchmark-") as temporary:
        folder = Path(temporary)
        work = options.work or folder
        work.mkdir(parents=True, exist_ok=True)
        embedder = embedder_named(DEFAULT_EMBEDDING_MODEL, folder=work / "embedders")
        prompts = load_prompts(work, embedder)
        print(prompts.source)
        for section in options.only:
            print(f"\n== {section}", flush=True)
            started = time.monotonic()
            if section == "speed":
                measure_speed(prompts.vectors, folder=folder, peers=peers, is_quick=options.quick)
            elif section == "false-alarms":
                measure_false_alarms(prompts, num=100 if options.quick else 1000)
            elif section == "detection":
                measure_detection(prompts, num=20 if options.quick else 100)
            elif section == "power":
                found = measure_power(prompts, work=folder, peers=peers, is_quick=options.quick)
                if options.plot:
                    plot(found, _PICTURE)
            else:
                # Loads Dagster, which the other sections do without and which warns of itself.
                warnings.filterwarnings("ignore", module="dagster")
                from drift_day import measure_day, measure_embedding

                measure_day(prompts.vectors, folder=folder / "day", is_quick=options.quick)
                measure_embedding(embedder)
            print(f"({section}: {time.monotonic() - started:.0f} s)", flush=True)


def measure_speed(vectors: np.ndarray, *, folder: Path, peers: Peers, is_quick: bool) -> None:
    """Print what one comparison costs each method, then how ours grows."""
    rng = np.random.default_rng(1)
    sizes = ((10_000, 2_000),) if is_quick else ((10_000, 2_000), (100_000, 20_000))
    methods = peers.available(_METHODS)
    for m, n in sizes:
        files = _sides(vectors, m, n, folder=folder, rng=rng)
        print(f"\n{m:,} against {n:,}{'':12}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}")
        for method in methods:
            cost = _median_speed(
                method, files, peers=peers, num=3 if method.library == "ours" else 1
            )
            print(_speed_row(method.label, cost), flush=True)
    print(f"\nhow ours grows, all prompts{'':4}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}")
    ours = Method("ours", "all_prompts")
    for total in (
        (2_500, 5_000, 10_000) if is_quick else (2_500, 5_000, 10_000, 20_000, 40_000, 80_000)
    ):
        files = _sides(vectors, total * 5 // 6, total // 6, folder=folder, rng=rng)
        print(_speed_row(f"{total:,} prompts", _median_speed(ours, files, peers=peers, num=3)))


def _sides(
    vectors: np.ndarray, m: int, n: int, *, folder: Path, rng: np.random.Generator
) -> tuple[Path, Path]:
    paths = folder / "baseline.npy", folder / "current.npy"
    for path, num in zip(paths, (m, n), strict=True):
        np.save(path, more_vectors(vectors, num, rng=rng))
    return paths


def _median_speed(
    method: Method, files: tuple[Path, Path], *, peers: Peers, num: int
) -> dict[str, float] | str:
    costs = [speed(method, *files, peers=peers) for _ in range(num)]
    failed = [cost for cost in costs if isinstance(cost, str)]
    if failed:
        return failed[0]
    names = ("wall_seconds", "cpu_seconds", "peak_megabytes")
    return {
        name: statistics.median(cost[name] for cost in costs if not isinstance(cost, str))
        for name in names
    }


def _speed_row(label: str, cost: dict[str, float] | str) -> str:
    if isinstance(cost, str):
        return f"  {label:29}{cost:>9}"
    wall, cpu, megabytes = cost.values()
    return f"  {label:29}{wall:9.2f}{cpu:9.2f}{megabytes:9.0f}"


def measure_false_alarms(prompts: Prompts, *, num: int) -> None:
    """Print how often windows are flagged in which nothing has changed, for several rates.

    First with a fresh baseline each time, which is what the rate promises; then with baselines that
    stay, where it varies from one to the next and only the mean is promised.
    """
    m, n, config = 2000, 500, DriftConfig()
    rng = np.random.default_rng(2)
    each = list(_null_scores(prompts, m=m, n=n, num=num, num_baselines=num, config=config, rng=rng))
    print(f"\nfresh baselines of {m:,}, windows of {n}; n={num}, binomial interval of the rate")
    detectors = [str(score.detector) for score in each[0]]
    print(f"{'asked':>8}{'interval':>18}{'all':>8}  " + "".join(f"{d:>14}" for d in detectors))
    for rate in _RATES:
        flags = _flags(each, rate)
        low, high = _binomial_interval(num, rate)
        share = flags.any(axis=1).mean()
        place = "above" if share > high else "below" if share < low else "within"
        cells = "".join(f"{value:14.3f}" for value in flags.mean(axis=0))
        interval = f"[{low:.3f}, {high:.3f}]"
        print(f"{rate:8.3f}{interval:>18}{share:8.3f}  {cells}  {place}")
    is_same = _flags(each, config.false_alarm_rate) == _decisions(each)
    print(f"by threshold and by exceedance rate the same: {is_same.mean():.4f} of the decisions")
    num_baselines = max(2, num // 50)
    each = list(
        _null_scores(
            prompts, m=m, n=n, num=num, num_baselines=num_baselines, config=config, rng=rng
        )
    )
    print(f"\n{num_baselines} baselines that stay, {num // num_baselines} windows each")
    print(f"{'asked':>8}{'mean':>8}{'sd':>8}{'of chance':>11}{'least':>8}{'most':>8}")
    for rate in _RATES:
        shares = _flags(each, rate).any(axis=1).reshape(num_baselines, -1).mean(axis=1)
        chance = np.sqrt(rate * (1 - rate) / (num // num_baselines))
        print(
            f"{rate:8.3f}{shares.mean():8.3f}{shares.std(ddof=1):8.3f}{chance:11.3f}"
            f"{shares.min():8.3f}{shares.max():8.3f}"
        )


def _null_scores(
    prompts: Prompts,
    *,
    m: int,
    n: int,
    num: int,
    num_baselines: int,
    config: DriftConfig,
    rng: np.random.Generator,
) -> Iterator[list[DriftScore]]:
    per_baseline = num // num_baselines
    for done in range(0, num, per_baseline):
        world = deal(prompts, rng=rng)
        reference = _reference(prompts.vectors[world.baseline(m)])
        for number in range(done, done + per_baseline):
            _tell("windows", number + 1, num)
            window = prompts.vectors[world.window(n, m=m, rng=rng)]
            yield _score(window, reference, config=config, rng=rng)


def _flags(each: Sequence[Sequence[DriftScore]], rate: float) -> np.ndarray:
    """Return which detector flags which window at a rate for all of them together."""
    rates = np.array([[score.exceedance_rate for score in scores] for scores in each])
    return rates <= rate / rates.shape[1]


def _decisions(each: Sequence[Sequence[DriftScore]]) -> np.ndarray:
    return np.array([[score.is_drifted for score in scores] for scores in each])


def _binomial_interval(num: int, rate: float) -> tuple[float, float]:
    from scipy.stats import binom

    low, high = binom.interval(0.95, num, rate)
    return float(low) / num, float(high) / num


def measure_detection(prompts: Prompts, *, num: int) -> None:
    """Print how often a window with new prompts is flagged, by what is new and how much of it."""
    m, config = 10_000, DriftConfig()
    rng = np.random.default_rng(3)
    kinds = [kind for kind in (FOREIGN, INTENT, SCATTERED) if kind in deal(prompts, rng=rng).new]
    print(
        f"\nbaselines of {m:,}, {num} draws, at {config.false_alarms_per_year:g} false alarms "
        "a year"
    )
    header = "".join(f"{detector:>14}" for detector in config.detectors)
    print(f"{'new':16}{'share':>7}{'n':>7}{'flagged':>9}  {header}")
    for kind in kinds:
        for share, n, needed in ((0.1, 1000, 0.95), (0.05, 2000, None)):
            found = []
            for number in range(num):
                _tell(f"{kind} {share:.0%}", number + 1, num)
                found.append(_detect(prompts, deal(prompts, rng=rng), kind, share, m, n, rng=rng))
            flags = _decisions(found)
            share_flagged = flags.any(axis=1).mean()
            note = ""
            if needed is not None and kind != SCATTERED:
                note = f"  {'reaches' if share_flagged >= needed else 'MISSES'} {needed:.0%}"
            cells = "".join(f"{value:14.2f}" for value in flags.mean(axis=0))
            print(f"{kind:16}{share:7.0%}{n:7,}{share_flagged:9.2f}  {cells}{note}", flush=True)


def _detect(
    prompts: Prompts,
    world: Deal,
    kind: str,
    share: float,
    m: int,
    n: int,
    *,
    rng: np.random.Generator,
) -> list[DriftScore]:
    reference = _reference(prompts.vectors[world.baseline(m)])
    window = prompts.vectors[world.window(n, m=m, rng=rng, kind=kind, share=share)]
    return _score(window, reference, config=DriftConfig(), rng=rng)


def _reference(vectors: np.ndarray) -> Reference:
    prompts = [""] * len(vectors)
    return Reference(
        Baseline(
            model_version="benchmark-v0001",
            embedder="benchmark",
            prompts=prompts,
            vectors=vectors,
        )
    )


def _score(
    window: np.ndarray, reference: Reference, *, config: DriftConfig, rng: np.random.Generator
) -> list[DriftScore]:
    return score_window(
        Sample(vectors=window),
        reference,
        embedder="benchmark",
        config=config,
        rng=rng,
        detectors=config.detectors,
    ).scores


def _tell(what: str, done: int, total: int) -> None:
    if sys.stderr.isatty() or done % max(1, total // 5) == 0:
        end = "\n" if done == total else ""
        print(f"\r{what}: {done} of {total}", end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
