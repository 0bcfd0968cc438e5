"""Measures training on one GPU: tokens a second, memory, utilization, and energy.

The models have the sizes of Llama 3.2 1B and Llama 3.1 8B and random weights. LoRA in bfloat16 and
QLoRA in 4 bits train all seven projections of all layers through the engine that the worker uses:
on full rows, 2,048 tokens that are all learnt, and on short chat rows that share sequences. Of
several sizes of a micro-batch the table holds the fastest, with and without gradient checkpointing.
Before that it checks that training teaches, goes on where it stopped, and packs without mixing
rows, and that the worker ends well in all its modes. Each case is a process of its own.

    python -W ignore benchmarks/training_gpu.py [--out FILE] [--cases 8b-qlora,...] [--cpu]

Without a GPU it says so and ends; `--cpu` shows on a tiny model that the benchmark itself works.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_CASES = ("1b-checks", "1b-workers", "8b-qlora", "8b-lora", "1b-lora", "1b-qlora")
_CPU_CASES = ("tiny-checks", "tiny-workers", "tiny-lora")
_SCRIPT = Path(__file__).with_name("training_gpu_case.py")
_MAX_CASE_SECONDS = 180.0

Lines = list[dict[str, Any]]


def main() -> None:
    """Run the cases and print what they measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="a file for all numbers, as JSON")
    parser.add_argument("--cases", help=f"some of {','.join(_CASES)}")
    parser.add_argument("--cpu", action="store_true", help="a tiny model on the CPU")
    parser.add_argument("--folder", help="where 19 GB of random models have room for the time")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long a point is timed")
    parser.add_argument("--minutes", type=float, default=8.0, help="when the last case must end")
    options = parser.parse_args()
    if not options.cpu and not _has_gpu():
        print("no GPU")
        return
    default = _CPU_CASES if options.cpu else _CASES
    cases = options.cases.split(",") if options.cases else default
    deadline = time.monotonic() + 60 * options.minutes
    measured: dict[str, Lines] = {}
    with tempfile.TemporaryDirectory(prefix="llm-assets-benchmark-", dir=options.folder) as folder:
        for case in cases:
            left = min(_MAX_CASE_SECONDS, deadline - time.monotonic())
            measured[case] = _run(case, Path(folder), options.seconds, timeout_seconds=left)
            if options.out:
                options.out.write_text(json.dumps(measured, indent=1))
    _print_checks([line for lines in measured.values() for line in lines])
    _print_points(measured)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _run(case: str, folder: Path, seconds: float, *, timeout_seconds: float) -> Lines:
    """Return what a case measured; how it failed is its last line."""
    architecture, name = case.split("-")
    out = folder / f"{case}.ndjson"
    command = [
        *(sys.executable, "-W", "ignore", str(_SCRIPT)),
        *("--case", name, "--architecture", architecture, "--folder", str(folder)),
        *("--out", str(out), "--seconds", str(seconds)),
    ]
    began = time.monotonic()
    print(f"=== {case}", flush=True)
    process = subprocess.Popen(command, start_new_session=True)
    try:
        code = process.wait(max(0.0, timeout_seconds))
        failure = f"exit code {code}" if code else None
    except subprocess.TimeoutExpired:
        failure = f"ended after {timeout_seconds:.0f} s"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # its own processes too
            process.wait()
    lines = out.read_text().splitlines() if out.exists() else []
    end: dict[str, Any] = {"seconds": time.monotonic() - began, "failure": failure}
    return [*map(json.loads, lines), end]


def _print_checks(lines: Lines) -> None:
    for line in lines:
        if "check" in line:
            print("passed" if line["is_passed"] else "FAILED", line["check"], _shown(line))


def _shown(line: dict[str, Any]) -> str:
    shown = {
        name: [round(v, 4) for v in value] if isinstance(value, list) else value
        for name, value in line.items()
        if name not in ("check", "is_passed")
    }
    return "".join(
        f"  {name} {value:.5g}" if isinstance(value, float) else f"  {name} {value}"
        for name, value in shown.items()
    )


def _print_points(measured: dict[str, Lines]) -> None:
    points = [(case, best) for case, lines in measured.items() for best in _fastest(lines)]
    machines = [line for lines in measured.values() for line in lines if "device" in line]
    for line in machines[:1]:
        ceiling = line.get("matmul_flops", float("nan")) / 1e12
        print(f"\n{line['device']}, {ceiling:.0f} TFLOP/s on a large product in bfloat16")
        print(
            f"\n{'case':<10}{'rows':<6}{'checkpointing':<15}{'micro-batch':>11}{'tokens/s':>10}"
            f"{'peak GiB':>10}{'MFU':>7}{'6N MFU':>8}{'W':>6}{'J/1000 tokens':>15}"
        )
    for case, best in points:
        print(
            f"{case:<10}{_named(best)}{best['micro_batch']:>11}"
            f"{best['tokens_per_second']:>10,.0f}{best['peak_memory_bytes'] / 2**30:>10.1f}"
            f"{_share(best.get('mfu')):>7}{_share(best.get('mfu_six_n')):>8}"
            f"{best['watts']:>6.0f}{best['joules_per_1000_tokens']:>15.2f}"
        )
    for case, lines in measured.items():
        for line in lines:
            if line.get("is_out_of_memory"):
                print(f"{case:<10}{_named(line)}{line['micro_batch']:>11}  did not fit")
            if line.get("failure"):
                print(f"FAILED {case}: {line['failure']}")


def _named(line: dict[str, Any]) -> str:
    return f"{line['rows']:<6}{'on' if line['gradient_checkpointing'] else 'off':<15}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _fastest(lines: Sequence[dict[str, Any]]) -> Lines:
    """Return the fastest micro-batch for each kind of rows, with and without checkpointing."""
    best: dict[tuple[str, bool], dict[str, Any]] = {}
    for line in lines:
        if "tokens_per_second" in line and "rows" in line:
            key = line["rows"], line["gradient_checkpointing"]
            best[key] = max(best.get(key, line), line, key=lambda one: one["tokens_per_second"])
    return list(best.values())


if __name__ == "__main__":
    main()
