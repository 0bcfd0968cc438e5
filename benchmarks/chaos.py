"""Breaks the serving of a rollout in every way that its proofs know, and counts who notices.

    python -m benchmarks.chaos [--only PROOF ...] [--quick]

The long form of `tests/chaos`, by the same functions: real Envoy, model servers, API, and loop, on
a tiny model that answers in milliseconds. `changes` moves traffic between two versions, `bad` rolls
out challengers with each fault, `kills` ends processes in the midst of a canary, `shadows` copies
requests, also to a shadow that hangs, and `transitions` ends the loop at each step of a rollout.
Times depend on the machine. On two cores all of it takes about ten minutes.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from llm_assets.base_model import BaseModelFile
from tests.chaos.bad_challengers import CANARY, SHADOW, Trial, try_challenger
from tests.chaos.bad_model import Fault
from tests.chaos.changes import change_under_load
from tests.chaos.deaths import DEATHS
from tests.chaos.kills import kill_one_after_another
from tests.chaos.load import Load, failures
from tests.chaos.platform import Platform, a_platform
from tests.chaos.shadows import hang_a_shadow, mirror_all
from tests.chaos.transitions import roll_out_and_die
from tests.tiny_model import write_tiny_gguf

_IN_CANARY = [fault for fault in Fault if fault is not Fault.NONE]
# Whether an answer is wrong only users know, and they see none of a shadow's.
_IN_SHADOW = [fault for fault in _IN_CANARY if fault is not Fault.WRONG]


def _changes(platform: Platform, scale: int) -> None:
    print(change_under_load(platform, num_rounds=5, num_requests=2000 * scale))


def _bad(platform: Platform, scale: int) -> None:
    for deployment, faults in ((CANARY, _IN_CANARY), (SHADOW, _IN_SHADOW)):
        for fault in faults:
            trials: list[Trial] = []
            with Load(platform.url, has_feedback=True).running() as load:
                for _ in range(max(1, scale // 3)):
                    trials.append(try_challenger(platform, load, fault, deployment=deployment))
            print(_row(trials), flush=True)


def _row(trials: list[Trial]) -> str:
    rolled_back = [trial.rolled_back_after for trial in trials]
    num_good = sum(bool(trial.incident and trial.refusal) for trial in trials)
    answers = [answer for trial in trials for answer in trial.answers]
    return (
        f"{trials[0].fault:<7} {trials[0].step:<12} rolled back for good {num_good} of "
        f"{len(trials)} times, after {statistics.median(rolled_back):4.1f} s "
        f"({min(rolled_back):.1f} to {max(rolled_back):.1f}), asked last after "
        f"{statistics.median(trial.last_request_after for trial in trials):4.1f} s, with "
        f"{statistics.median(trial.num_assigned for trial in trials):3.0f} requests of its own; "
        f"{len(failures(answers))} of {len(answers)} users' requests failed"
    )


def _kills(platform: Platform, scale: int) -> None:
    num_rounds = max(1, scale // 3)
    print(kill_one_after_another(platform, num_requests=200, num_rounds=num_rounds))


def _shadows(platform: Platform, scale: int) -> None:
    print(mirror_all(platform, num_requests=200 * scale))
    platform.restore()
    print(hang_a_shadow(platform, num_rounds=2 * scale, num_requests=1000))


_PROOFS: Mapping[str, Callable[[Platform, int], None]] = {
    "changes": _changes,
    "bad": _bad,
    "kills": _kills,
    "shadows": _shadows,
    "transitions": lambda platform, _: print(roll_out_and_die(platform)),
}


def main() -> None:
    """Run the proofs, each on a platform of its own, and print what they found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=_PROOFS, default=list(_PROOFS))
    parser.add_argument("--quick", action="store_true", help="a tenth of it, to see that it runs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="llm-assets-chaos-") as name:
        folder = Path(name)
        base_model = BaseModelFile(write_tiny_gguf(folder / "tiny.F16.gguf"))
        for proof in options.only:
            print(f"\n== {proof}", flush=True)
            began = time.monotonic()
            environment = {DEATHS: str(folder / "deaths")} if proof == "transitions" else {}
            with a_platform(folder / proof, base_model, environment=environment) as platform:
                _PROOFS[proof](platform, 1 if options.quick else 10)
            print(f"({proof}: {time.monotonic() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
