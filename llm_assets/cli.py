"""The command line: `llm-assets <command>`; errors are one line on stderr and exit code 1."""

import argparse
import contextlib
import functools
import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from llm_assets.errors import UserError
from llm_assets.settings import Settings


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with 0 only on success."""
    # Dagster announces each of its newer features that we use, at every start.
    warnings.filterwarnings("ignore", module=r"dagster\b")
    warnings.filterwarnings("ignore", message=".*is currently in (beta|preview)")
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

    def command(name: str, run: Any, text: str, group: Any = commands) -> argparse.ArgumentParser:
        added = group.add_parser(name, help=text, description=text)
        added.add_argument("--json", action="store_true", help="print JSON")
        added.set_defaults(run=run)
        return added

    command("up", _up, "Start everything, with the sensors on, until Ctrl-C.")
    command("status", _status, "Say what serves, what was seen, and what would start a cycle.")
    demo = command("demo", _demo, "Run one whole improvement cycle of the example application.")
    demo.add_argument("--size", choices=("full", "small"), default="full")
    command("demo-drift", _demo_drift, "Replay months of conversations and score their drift.")
    ingest = command("ingest", _ingest, "Read log files into the collector's log.")
    ingest.add_argument("files", nargs="+", type=Path, metavar="FILE_OR_DIRECTORY")
    ingest.add_argument("--application", required=True)
    ingest.add_argument("--format", help="the format of every line; recognised if left out")
    ingest.add_argument(
        "--strict", action="store_true", help="exit with 1 if anything went to the quarantine"
    )
    reproduce = command("reproduce", _reproduce, "Train a version again and compare the weights.")
    reproduce.add_argument("model_version")
    erase = command("erase", _erase, "Remove a user's data from every store and version.")
    erase.add_argument("--user", required=True, help="the id, as the application sends it")
    erase.add_argument("--application", help="of this application only; of all if left out")
    erase.add_argument("--dry-run", action="store_true", help="only say what it would do")
    cycle = command("cycle", _cycle, "Ask for an improvement cycle; the brakes still hold.")
    cycle.add_argument("--application", required=True)
    cycle.add_argument("--because", required=True, help="why; it stands in the run's tags")
    text = "Start a rollout, or step in: who serves changes within seconds."
    rollout = commands.add_parser("rollout", help=text, description=text)
    steps = rollout.add_subparsers(required=True, metavar="action")
    show = command("show", _rollout_show, "Say how the rollout goes, with its evidence.", steps)
    show.add_argument("--application", required=True)
    start = command("start", _rollout_start, "Start the rollout of a registered version.", steps)
    start.add_argument("model_version")
    start.add_argument("--because", help="why; it stands in the history")
    start.add_argument("--again", action="store_true", help="also if it was rolled back before")
    text = "Print the split of users as a HTTPRoute of Kubernetes, for kubectl apply."
    route = command("http-route", _rollout_http_route, text, steps)
    route.add_argument("--namespace", required=True)
    route.add_argument("--gateway", required=True, help="the name of the Gateway")
    route.add_argument("--port", type=int, default=8000, help="of each version's Service")
    for name, run, text in (
        ("promote", _rollout_promote, "Make the challenger the champion now."),
        ("rollback", _rollout_rollback, "End the rollout, or take the last promotion back."),
    ):
        by_hand = command(name, run, text, steps)
        by_hand.add_argument("--application", required=True)
        by_hand.add_argument("--because", required=True, help="why; it stands in the history")
    text = "Look at what drifted, and try thresholds on past days."
    drift = commands.add_parser("drift", help=text, description=text)
    views = drift.add_subparsers(required=True, metavar="action")
    show = command("show", _drift_show, "Say what moved on a day, with its prompts.", views)
    show.add_argument("date", nargs="?", type=date.fromisoformat, help="the newest if left out")
    show.add_argument("--application", required=True)
    text = "Say when a policy would have started cycles, had it been in force."
    replay = command("replay", _drift_replay, text, views)
    replay.add_argument("--application", required=True)
    replay.add_argument("--from", dest="first", required=True, type=date.fromisoformat)
    replay.add_argument("--to", dest="last", required=True, type=date.fromisoformat)
    replay.add_argument(
        "--policy",
        dest="policies",
        action="append",
        default=[],
        type=Path,
        help="a YAML file with drift and triggers sections; again for another beside it",
    )
    text = "Say who may send an application's records and ask its model."
    tokens = commands.add_parser("token", help=text, description=text)
    actions = tokens.add_subparsers(required=True, metavar="action")
    create = command("create", _token_create, "Make a token; it is shown only now.", actions)
    create.add_argument("--application", required=True)
    create.add_argument("--name", help="what it is revoked by; made from the application's name")
    command("list", _token_list, "List the tokens, which are themselves not kept.", actions)
    revoke = command("revoke", _token_revoke, "Refuse a token from now on.", actions)
    revoke.add_argument("name")
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
    from llm_assets.feedback.ingestion.files import find_files
    from llm_assets.feedback.scrubbing.key import load_or_create_key
    from llm_assets.feedback.scrubbing.scrubber import Scrubbers
    from llm_assets.installation import Installation

    installation = Installation(Settings.from_environment())
    application = installation.application(options.application)
    require_format(options.format)
    files = find_files(options.files)
    # Not the installation's own: other processes have to make one like it.
    configs = {options.application: application.feedback.personal_data}
    make_scrub = functools.partial(Scrubbers, configs, load_or_create_key(installation.home))
    with _progress(sum(file.stat().st_size for file in files)) as on_read:
        report = ingest(
            files,
            application=options.application,
            home=installation.home,
            make_scrub=make_scrub,
            format_name=options.format,
            on_read=on_read,
        )
    for damage in report.damages:
        print(f"llm-assets: {damage}", file=sys.stderr)
    print(json.dumps(report.to_fields()) if options.json else report.describe())
    if report.is_in_vain:
        raise UserError(f"nothing could be read: {report.reasons.most_common(1)[0][0]}")
    return 1 if options.strict and report.num_quarantined else 0


@contextlib.contextmanager
def _progress(num_bytes: int) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how much of the files was read, and how long the rest may take."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading", total=num_bytes)
        yield lambda num: progress.advance(task, num)


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


def _erase(options: argparse.Namespace) -> int:
    import dagster as dg

    from llm_assets.bootstrap import prepare_dagster_home
    from llm_assets.erase.run import erase, preview
    from llm_assets.erase.told import describe, to_json
    from llm_assets.installation import Installation

    installation = Installation(Settings.from_environment())
    if options.application is not None:
        installation.application(options.application)
    chosen = {"user": options.user, "application": options.application}
    if options.dry_run:
        outcome = preview(installation, **chosen, now=datetime.now(UTC))
    else:
        prepare_dagster_home(installation.settings)
        with dg.DagsterInstance.get() as instance:
            outcome = erase(installation, instance, **chosen, say=_say)
    if not outcome.is_known:
        raise UserError(
            "nothing was found of this user; the id must be exactly what the application sends"
        )
    if options.json:
        print(json.dumps(to_json(outcome, is_dry=options.dry_run)))
    else:
        print(describe(outcome, is_dry=options.dry_run))
    return 1 if outcome.left else 0


def _cycle(options: argparse.Namespace) -> int:
    from llm_assets.cycle_requests import request_cycle
    from llm_assets.installation import Installation

    installation = Installation(Settings.from_environment())
    installation.application(options.application)
    now = datetime.now(UTC)
    request = request_cycle(installation.home, options.application, options.because, now=now)
    text = (
        f"asked for a cycle of {options.application}; `llm-assets status` says what becomes of it"
    )
    print(json.dumps({"request": request}) if options.json else text)
    return 0


def _rollout_show(options: argparse.Namespace) -> int:
    from llm_assets.installation import Installation
    from llm_assets.rollouts.told import describe, gather

    shown = gather(Installation(Settings.from_environment()), options.application)
    print(json.dumps(shown, indent=2) if options.json else describe(shown))
    return 0


def _rollout_start(options: argparse.Namespace) -> int:
    from llm_assets.installation import Installation
    from llm_assets.rollouts.by_hand import start

    installation = Installation(Settings.from_environment())
    version = options.model_version
    start(installation, version, reason=options.because or "by hand", is_again=options.again)
    started = {"model_version": version, "started": True}
    print(json.dumps(started) if options.json else f"{version}: its rollout has started")
    return 0


def _rollout_http_route(options: argparse.Namespace) -> int:
    from llm_assets.installation import Installation
    from llm_assets.rollouts.kubernetes import routes
    from llm_assets.serving.http_route import as_yaml

    rendered = routes(
        Installation(Settings.from_environment()),
        namespace=options.namespace,
        gateway=options.gateway,
        port=options.port,
    )
    print(json.dumps(rendered) if options.json else as_yaml(rendered))
    return 0


def _rollout_promote(options: argparse.Namespace) -> int:
    from llm_assets.rollouts.by_hand import promote

    return _by_hand(options, promote)


def _rollout_rollback(options: argparse.Namespace) -> int:
    from llm_assets.rollouts.by_hand import roll_back

    return _by_hand(options, roll_back)


def _by_hand(options: argparse.Namespace, act: Callable[..., str]) -> int:
    from llm_assets.installation import Installation

    installation = Installation(Settings.from_environment())
    installation.application(options.application)
    champion = act(installation, options.application, reason=options.because)
    told = {"application": options.application, "champion": champion}
    print(json.dumps(told) if options.json else f"{options.application}: {champion} serves")
    return 0


def _drift_show(options: argparse.Namespace) -> int:
    from llm_assets.drift_view import describe, gather
    from llm_assets.installation import Installation

    installation = Installation(Settings.from_environment())
    shown = gather(installation, options.application, options.date)
    print(json.dumps(shown, indent=2) if options.json else describe(shown))
    return 0


def _drift_replay(options: argparse.Namespace) -> int:
    from llm_assets.installation import Installation
    from llm_assets.replay import describe, replay, to_json

    installation = Installation(Settings.from_environment())
    replays = replay(
        installation,
        options.application,
        first=options.first,
        last=options.last,
        policies=options.policies,
    )
    print(json.dumps(to_json(replays)) if options.json else describe(replays))
    return 0


def _say(text: str) -> None:
    print(f"llm-assets: {text}", file=sys.stderr, flush=True)


def _token_create(options: argparse.Namespace) -> int:
    from llm_assets.installation import Installation

    installation = Installation(Settings.from_environment())
    installation.application(options.application)
    now = datetime.now(UTC)
    token = installation.tokens.create(options.application, options.name, now=now)
    print(json.dumps({"token": token}) if options.json else token)
    return 0


def _token_list(options: argparse.Namespace) -> int:
    from llm_assets.tokens import Tokens

    rows = [
        {"name": t.name, "application": t.application, "created": f"{t.created:%Y-%m-%d %H:%M} UTC"}
        for t in Tokens(Settings.from_environment().home).read()
    ]
    if options.json:
        print(json.dumps(rows))
    for row in () if options.json else rows:
        print("  ".join(row.values()))
    return 0


def _token_revoke(options: argparse.Namespace) -> int:
    from llm_assets.tokens import Tokens

    token = Tokens(Settings.from_environment().home).revoke(options.name)
    revoked = {"name": token.name, "application": token.application}
    print(json.dumps(revoked) if options.json else f"{token.name}: revoked")
    return 0


if __name__ == "__main__":
    main()
