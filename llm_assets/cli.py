"""The command line: `llm-assets <command>`; errors are one line on stderr and exit code 1."""

import argparse
import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llm_assets.errors import UserError
from llm_assets.settings import Settings


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with 0 only on success."""
    # Dagster announces each of its newer features that we use, at every start.
    warnings.filterwarnings("ignore", module=r"dagster\b")
    options = _parser().parse_args(arguments)
    try:
        sys.exit(options.run(options))
    except UserError as error:
        print(f"llm-assets: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        os._exit(141)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"llm-assets: {place}{error.strerror or error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("llm-assets: interrupted", file=sys.stderr)
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llm-assets", description="Keep a production LLM improving."
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.add_argument("--json", action="store_true", help="print JSON")
        added.set_defaults(run=run)
        return added

    command("up", _up, "Start everything, with the sensors on, until Ctrl-C.")
    command("status", _status, "Say what serves, what was seen, and what would start a cycle.")
    demo = command("demo", _demo, "Run one whole improvement cycle of the example application.")
    demo.add_argument("--size", choices=("full", "small"), default="full")
    command("demo-drift", _demo_drift, "Replay months of conversations and score their drift.")
    ingest = command("ingest", _ingest, "Read log files into the collector's log.")
    ingest.add_argument("files", nargs="+", type=Path, metavar="FILE")
    ingest.add_argument("--application", required=True)
    ingest.add_argument("--format", help="the format of every line; recognised if left out")
    reproduce = command("reproduce", _reproduce, "Train a version again and compare the weights.")
    reproduce.add_argument("model_version")
    return parser


def _up(options: argparse.Namespace) -> int:
    from llm_assets.installation import Installation
    from llm_assets.up import up

    settings = Settings.from_environment()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    addresses = {"endpoint": f"{settings.endpoint_url}/v1", "ui": settings.ui_url}
    if options.json:
        print(json.dumps(addresses), flush=True)
    else:
        print(f"starting: endpoint {addresses['endpoint']}, Dagster UI {addresses['ui']}")
        print(f"logs are in {settings.home}/run/logs; Ctrl-C stops everything", flush=True)
    up(Installation(settings), stop)
    return 0


def _status(options: argparse.Namespace) -> int:
    from llm_assets.status import describe, gather

    status = gather(Settings.from_environment())
    print(json.dumps(status, indent=2) if options.json else describe(status))
    return 0


def _demo(options: argparse.Namespace) -> int:
    from llm_assets.demo.run import run_demo

    return run_demo(Settings.from_environment(), size=options.size, as_json=options.json)


def _demo_drift(options: argparse.Namespace) -> int:
    from llm_assets.demo.drift import run_demo_drift

    return run_demo_drift(Settings.from_environment(), as_json=options.json)


def _ingest(options: argparse.Namespace) -> int:
    from llm_assets.feedback.formats import require_format
    from llm_assets.feedback.ingest import ingest
    from llm_assets.installation import Installation

    installation = Installation(Settings.from_environment())
    installation.application(options.application)
    require_format(options.format)
    report = ingest(
        options.files,
        application=options.application,
        home=installation.home,
        format_name=options.format,
    )
    for bad_line in report.bad_lines:
        print(bad_line, file=sys.stderr)
    days = sorted(partition.date.isoformat() for partition in report.partitions)
    counts = {
        "accepted": report.num_accepted,
        "duplicates": report.num_duplicates,
        "unreadable": len(report.bad_lines),
        "days": len(days),
    }
    if options.json:
        print(json.dumps(counts))
    else:
        span = f" from {days[0]} to {days[-1]}" if days else ""
        print(", ".join(f"{value} {name}" for name, value in counts.items()) + span)
    return 1 if report.bad_lines else 0


def _reproduce(options: argparse.Namespace) -> int:
    from llm_assets.installation import Installation
    from llm_assets.reproduce import reproduce_version

    installation = Installation(Settings.from_environment())
    result = reproduce_version(installation, options.model_version)
    if options.json:
        print(json.dumps({**asdict(result), "is_equal": result.is_equal}))
    else:
        verdict = "the same weights" if result.is_equal else "DIFFERENT weights"
        print(f"{options.model_version}: {verdict}")
        print(f"  manifest  {result.expected_sha256}\n  retrained {result.actual_sha256}")
        for name, (then, now) in result.changed_libraries.items():
            print(f"  {name} was {then}, is {now}")
    return 0 if result.is_equal else 1


if __name__ == "__main__":
    main()
