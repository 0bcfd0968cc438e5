"""Measures training: its speed beside its peers, what orchestration adds, what it improves.

    python benchmarks/training.py [--only SECTION ...] [--epochs N | --steps N] [--json FILE]
        [--work DIR]

The first sections compare supervised fine-tuning with the Trainer of Hugging Face and TRL's
SFTTrainer: of `helpdesk` rows share a long system prompt, of `chat` they do not; those that end in
`-top` train the upper layers only. Every training is a process of its own with one thread. Figures
depend on the machine; ratios are of CPU seconds, which other work on it disturbs least. The work
folder keeps the base model from run to run. On one core a comparison takes some 20 minutes with
--epochs 1, half of it for the trials of the peers' variants.
"""

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from training_data import Workplace
from training_improvement import measure_improvement
from training_resume import measure_resume
from training_speed import COMPARISONS, measure_speed

_COMPARISONS = {comparison.name: comparison for comparison in COMPARISONS}
_SECTIONS = (*_COMPARISONS, "overhead", "improvement", "resume")


def main() -> None:
    """Run the sections and print their tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=_SECTIONS, default=_SECTIONS)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=float, default=2.0, help="of every comparison")
    length.add_argument("--steps", type=int, help="instead of epochs, to see that it runs")
    parser.add_argument("--repetitions", type=int, default=3, help="of the overhead")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes all numbers there")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keeps files from run to run")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="llm-assets-benchmark-") as temporary:
        workplace = Workplace.make(options.work or Path(temporary))
        for section in options.only:
            print(f"\n== {section}", flush=True)
            started = time.monotonic()
            found[section] = _measure(section, workplace, options)
            print(f"({section}: {time.monotonic() - started:.0f} s)", flush=True)
            if options.json:
                options.json.write_text(json.dumps(found, indent=2))


def _measure(section: str, workplace: Workplace, options: argparse.Namespace) -> dict[str, Any]:
    if section in _COMPARISONS:
        return measure_speed(
            _COMPARISONS[section],
            workplace,
            num_epochs=options.epochs,
            num_steps=options.steps,
        )
    if section == "improvement":
        return measure_improvement(workplace, max_steps=options.steps)
    if section == "resume":
        return measure_resume(workplace)
    # Loads Dagster, which the other sections do without and which warns of itself.
    warnings.filterwarnings("ignore", module="dagster")
    from training_overhead import measure_overhead

    return measure_overhead(workplace, num=options.repetitions)


if __name__ == "__main__":
    main()
