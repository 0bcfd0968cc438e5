"""Measures serving: its speed beside sequential `generate`, and what stands before the engine.

    python benchmarks/serving.py [--only SECTION ...] [--quick] [--json FILE] [--work DIR]
        [--peers DIR] [--make-peers DIR]

`helpdesk` and `chat` compare throughput at 1, 8, and 32 clients, of the bare engine and of the
whole path, with the gateway before it and every interaction recorded, and say how near the engine
is to what memory and arithmetic allow. `overhead` puts an engine of no time behind the gateway, and
behind the LiteLLM proxy, which has an environment of its own that --make-peers makes. `settings`
tries some of the engine's. Figures depend on the machine, which must have nothing else to do: two
threads of one engine that wait for each other lose most to other work. Ratios are of best rounds.
The work folder keeps models from run to run. On two cores all of it takes about half an hour.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from serving_overhead import measure_overhead
from serving_peers import make_peers
from serving_place import Place
from serving_settings import measure_settings
from serving_throughput import measure_throughput
from serving_work import Workload, workloads

_SECTIONS = ("helpdesk", "chat", "overhead", "settings")


def main() -> None:
    """Run the sections and print their tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=_SECTIONS, default=_SECTIONS)
    parser.add_argument("--quick", action="store_true", help="few requests, to see that it runs")
    parser.add_argument("--threads", type=int, default=2, help="of the engine and of generate")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes all numbers there")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keeps models from run to run")
    parser.add_argument("--peers", type=Path, metavar="DIR", help="where LiteLLM's environment is")
    parser.add_argument("--make-peers", type=Path, metavar="DIR", help="make it there first")
    options = parser.parse_args()
    if options.make_peers:
        make_peers(options.make_peers)
        options.peers = options.make_peers
    os.environ["HF_HUB_OFFLINE"] = "1"
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="llm-assets-benchmark-") as temporary:
        place = Place.make(options.work or Path(temporary))
        kinds = workloads(place.hf_model)
        for section in options.only:
            print(f"\n== {section} (load of the machine: {os.getloadavg()[0]:.1f})", flush=True)
            started = time.monotonic()
            found[section] = _measure(section, kinds, place, options)
            print(f"({section}: {time.monotonic() - started:.0f} s)", flush=True)
            if options.json:
                options.json.write_text(json.dumps(found, indent=2))


def _measure(
    section: str, kinds: dict[str, Workload], place: Place, options: argparse.Namespace
) -> dict[str, Any]:
    if section == "overhead":
        return measure_overhead(
            kinds["helpdesk"], place, peers=options.peers, is_quick=options.quick
        )
    if section == "settings":
        return measure_settings(
            kinds["chat"], place, num_threads=options.threads, is_quick=options.quick
        )
    return measure_throughput(
        kinds[section], place, num_threads=options.threads, is_quick=options.quick
    )


if __name__ == "__main__":
    main()
