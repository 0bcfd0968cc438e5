"""What stands before the engine costs: added latency and CPU time, with an engine of no time.

An answer that is there at once makes small differences visible. Beside ours stands the LiteLLM
proxy, which forwards and keeps nothing; ours also writes each interaction to the disk.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from serving_client import Body, Reply, ask, ask_in_turn
from serving_peers import has_litellm, litellm
from serving_place import Place
from serving_servers import CpuSeconds, Server, cpu_seconds, cpu_since, free_port, running, script
from serving_speed import quantile
from serving_work import Workload

_NUM_CLIENTS = 16
_NOTHING, _LITELLM = "nothing", "LiteLLM"
_RECORDER, _PLATFORM = "model server", "gateway + model server"
# Until the collector has what the recorder sends it in the background.
_SETTLE_SECONDS = 3.0


class Effort(NamedTuple):
    """How many requests are timed one by one, and how many the CPU seconds are counted over."""

    num_timed: int
    num_counted: int
    num_counted_litellm: int


FULL, QUICK = Effort(2000, 8000, 1000), Effort(300, 1500, 150)


def measure_overhead(
    workload: Workload, place: Place, *, peers: Path | None, is_quick: bool
) -> dict[str, Any]:
    """Print latencies and CPU time of each way to an engine that takes no time."""
    effort = QUICK if is_quick else FULL
    with _servers(workload, place, peers) as (urls, by_name):
        return {
            "latency": _measure_latency(workload, urls, effort),
            "cpu": {
                kind: _measure_cpu(workload, by_name, effort, is_streamed=kind == "streamed")
                for kind in ("whole", "streamed")
            },
        }


@contextmanager
def _servers(
    workload: Workload, place: Place, peers: Path | None
) -> Iterator[tuple[Mapping[str, str], Mapping[str, Server]]]:
    """Give the URL of every way, and the servers whose CPU seconds are counted."""
    with ExitStack() as stack:
        port = free_port()
        command = script("serving_with_nothing.py", "--port", port)
        nothing = stack.enter_context(
            running(_NOTHING, command, port=port, log=place.log("nothing"))
        )
        # As in production but for the slots: as many requests come at once.
        content = workload.application(num_clients=2 * _NUM_CLIENTS, num_threads=1)
        platform, recorder_url = stack.enter_context(
            place.platform(workload.name, content, engine_url=nothing.url)
        )
        urls = {_NOTHING: nothing.url, _RECORDER: recorder_url, _PLATFORM: platform.url}
        by_name = {_PLATFORM: platform}
        if has_litellm(peers):
            assert peers is not None
            proxy = litellm(peers, nothing.url, workload.name, log=place.log("litellm"))
            by_name[_LITELLM] = stack.enter_context(proxy)
            urls[_LITELLM] = by_name[_LITELLM].url
        yield urls, by_name


def _measure_latency(
    workload: Workload, urls: Mapping[str, str], effort: Effort
) -> dict[str, dict[str, float]]:
    num_warm_up = effort.num_timed // 10
    bodies = _bodies(workload, effort.num_timed + num_warm_up, is_streamed=False, first=0)
    replies = ask_in_turn(urls, bodies, num_warm_up=num_warm_up)
    print(f"\n{'1 client':<26}{'p50 ms':>8}{'p95 ms':>8}{'added p50':>11}{'p95':>7}{'failed':>8}")
    found: dict[str, dict[str, float]] = {}
    for name, of_way in replies.items():
        found[name] = _latency(of_way)
        p50, p95 = (found[name][key] - found[_NOTHING][key] for key in ("p50_ms", "p95_ms"))
        print(
            f"{name:<26}{found[name]['p50_ms']:>8.2f}{found[name]['p95_ms']:>8.2f}"
            f"{p50:>11.2f}{p95:>7.2f}{found[name]['num_failed']:>8.0f}",
            flush=True,
        )
    return found


def _latency(replies: list[Reply]) -> dict[str, float]:
    milliseconds = [1e3 * reply.seconds for reply in replies]
    return {
        "p50_ms": quantile(milliseconds, 0.5),
        "p95_ms": quantile(milliseconds, 0.95),
        "num_failed": sum(reply.problem is not None for reply in replies),
    }


def _measure_cpu(
    workload: Workload, servers: Mapping[str, Server], effort: Effort, *, is_streamed: bool
) -> dict[str, dict[str, float]]:
    what = "streamed in 64 events" if is_streamed else "whole"
    print(
        f"\n{f'{_NUM_CLIENTS} clients, answers {what}':<44}{'CPU ms/request':>16}{'requests/s':>12}"
    )
    found = {}
    for name, server in servers.items():
        num = effort.num_counted_litellm if name == _LITELLM else effort.num_counted
        num = num // 4 if is_streamed else num
        bodies = _bodies(workload, num + num // 10, is_streamed=is_streamed, first=10**5)
        warm_up, bodies = bodies[num:], bodies[:num]
        ask(server.url, warm_up, num_clients=_NUM_CLIENTS)
        time.sleep(_SETTLE_SECONDS)
        before = cpu_seconds(server.pid)
        asked = ask(server.url, bodies, num_clients=_NUM_CLIENTS)
        time.sleep(_SETTLE_SECONDS)
        found[name] = _print_cpu(name, cpu_since(server.pid, before), num, asked.seconds)
        found[name]["num_failed"] = len(asked.problems)
        for problem in asked.problems[:1]:
            print(f"  {len(asked.problems)} failed, the first with {problem}")
    return found


def _print_cpu(name: str, cpu: CpuSeconds, num: int, seconds: float) -> dict[str, float]:
    print(f"{name:<44}{1e3 * sum(cpu.values()) / num:>16.2f}{num / seconds:>12.0f}", flush=True)
    milliseconds = {part: 1e3 * spent / num for part, spent in cpu.items()}
    for part, each in milliseconds.items() if len(cpu) > 1 else ():
        print(f"  {part:<42}{each:>16.2f}")
    return {"total_ms": 1e3 * sum(cpu.values()) / num, **milliseconds}


def _bodies(workload: Workload, num: int, *, is_streamed: bool, first: int) -> list[Body]:
    stream = {"stream": True, "stream_options": {"include_usage": True}} if is_streamed else {}
    bodies = workload.bodies(num, first=first, has_system_prompt=False)
    return [{**body, **stream} for body in bodies]
