"""The speed of the bare engine and of the whole path beside sequential `generate`, and the roof.

There are several short rounds, in which each server is asked in turn. The platform is a part of the
engine in the same round, in the middle over the rounds, because a shared machine has slow minutes
that meet both. Ratios to `generate`, which is asked less, are of the best round of each: other work
only ever makes a round slower. Beside them stand those by CPU seconds, over all rounds.
"""

import statistics
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from serving_client import ask
from serving_place import Place
from serving_roofline import Machine, Model, engine_build, roof
from serving_servers import Server, free_port, running, script
from serving_speed import Speed
from serving_work import Workload

HF, ENGINE, PLATFORM = "generate", "engine", "platform"
_MIN_SHARE_OF_ENGINE = 0.95
_MIN_TIMES_HF = {"helpdesk": 15.0}


class Effort(NamedTuple):
    """How much is asked: of `generate`, of the others by the number of clients, how many times."""

    num_hf: int
    num_requests: dict[int, int]
    num_rounds: int


FULL = {
    "helpdesk": Effort(3, {1: 20, 8: 48, 32: 96}, 10),
    "chat": Effort(2, {1: 4, 8: 16, 32: 32}, 4),
}
QUICK = {
    "helpdesk": Effort(2, {1: 8, 8: 16, 32: 32}, 2),
    "chat": Effort(1, {1: 2, 8: 8, 32: 32}, 1),
}


def measure_throughput(
    workload: Workload, place: Place, *, num_threads: int, is_quick: bool
) -> dict[str, Any]:
    """Print a table of all numbers of clients, then the ratios that are wanted, and the roof."""
    effort = (QUICK if is_quick else FULL)[workload.name]
    machine, model = Machine.measure(num_threads), Model.read(place.engine_file())
    print(
        f"{workload.num_prompt_tokens:.0f} prompt tokens, {workload.num_shared_tokens} of them "
        f"shared, up to {workload.max_tokens} answered, {num_threads} threads"
    )
    print(
        f"\n{'clients':>7} {'server':<10}{'tokens/s':>10}{'best':>8}{'requests/s':>12}{'x HF':>7}"
        f"{'tokens/CPU s':>14}{'x HF':>7}{'first p50':>11}{'p50 s':>8}{'p95 s':>8}{'failed':>8}"
    )
    speeds = {}
    with _hf_server(place, num_threads) as hf:
        for num_clients in effort.num_requests:
            speeds[num_clients] = _measure(
                workload, place, hf, effort, num_clients=num_clients, num_threads=num_threads
            )
            _print_speeds(num_clients, speeds[num_clients])
    found: dict[str, Any] = {"machine": machine._asdict(), "model": model._asdict()}
    for num_clients, of_servers in speeds.items():
        ratios = _ratios(of_servers)
        reached = _roof_reached(workload, machine, model, num_clients, of_servers[ENGINE])
        found[str(num_clients)] = {
            **{name: speed.numbers() for name, speed in of_servers.items()},
            **ratios,
            **reached,
        }
    _print_ratios(workload, found, effort)
    _print_roof(machine, model, found, effort)
    return found


@contextmanager
def _hf_server(place: Place, num_threads: int) -> Iterator[Server]:
    port = free_port()
    command = script("serving_with_hf.py", place.hf_model, "--port", port, "--threads", num_threads)
    with running(HF, command, port=port, log=place.log("hf")) as server:
        yield server


def _measure(
    workload: Workload,
    place: Place,
    hf: Server,
    effort: Effort,
    *,
    num_clients: int,
    num_threads: int,
) -> dict[str, Speed]:
    """Ask all three in turn; every round asks other questions, the same ones of each server."""
    content = workload.application(num_clients=num_clients, num_threads=num_threads)
    num = effort.num_requests[num_clients]
    speeds = {name: Speed() for name in (HF, ENGINE, PLATFORM)}
    with ExitStack() as stack:
        engine = stack.enter_context(place.engine(workload.name, content))
        platform, _ = stack.enter_context(place.platform(workload.name, content))
        for server in (hf, engine, platform):
            # Once in every slot, so that each holds what all requests share.
            warm_up = workload.bodies(
                1 if server is hf else num_clients,
                first=0,
                has_system_prompt=server is not platform,
            )
            ask(server.url, warm_up, num_clients=num_clients, keeps=server.keeps_connections)
        for number in range(effort.num_rounds):
            first = num_clients + number * num
            asked_first = (engine, platform) if number % 2 == 0 else (platform, engine)
            for server in (hf, *asked_first):
                bodies = workload.bodies(
                    effort.num_hf if server is hf else num,
                    first=first,
                    has_system_prompt=server is not platform,
                )
                clients = 1 if server is hf else num_clients
                speeds[server.name].measure(server, bodies, num_clients=clients)
    return speeds


def _print_speeds(num_clients: int, speeds: dict[str, Speed]) -> None:
    base = speeds[HF]
    for name, speed in speeds.items():
        numbers = speed.numbers()
        print(
            f"{num_clients:>7} {name:<10}{speed.tokens_per_second:>10.1f}{speed.best:>8.1f}"
            f"{numbers['best_requests_per_second']:>12.2f}{_times(speed, base):>7.1f}"
            f"{speed.tokens_per_cpu_second:>14.1f}{_times_by_cpu(speed, base):>7.1f}"
            f"{numbers['p50_first_seconds']:>11.3f}{numbers['p50_seconds']:>8.3f}"
            f"{numbers['p95_seconds']:>8.3f}{speed.num_failed:>8}",
            flush=True,
        )


def _times(speed: Speed, base: Speed) -> float:
    """Return how many times as many requests a second were answered, in the best rounds.

    Requests, because answers need not have the same length.
    """
    return speed.best / speed.num_answered / (base.best / base.num_answered)


def _times_by_cpu(speed: Speed, base: Speed) -> float:
    return speed.requests_per_cpu_second / base.requests_per_cpu_second


def _ratios(speeds: dict[str, Speed]) -> dict[str, Any]:
    hf, engine, platform = speeds[HF], speeds[ENGINE], speeds[PLATFORM]
    rounds = zip(platform.of_rounds(), engine.of_rounds(), strict=True)
    shares = [ours / bare for ours, bare in rounds]
    return {
        "platform_over_engine": statistics.median(shares),
        "platform_over_engine_of_rounds": shares,
        "platform_over_engine_by_cpu": (
            platform.tokens_per_cpu_second / engine.tokens_per_cpu_second
        ),
        "platform_over_hf": _times(platform, hf),
        "platform_over_hf_by_cpu": _times_by_cpu(platform, hf),
    }


def _roof_reached(
    workload: Workload, machine: Machine, model: Model, num_clients: int, engine: Speed
) -> dict[str, Any]:
    of_load = roof(
        machine, model, workload, num_clients=num_clients, num_answered=engine.num_answered
    )
    return {
        "roof": {
            "decoding_tokens_per_second": of_load.decoding,
            "bound": "memory" if of_load.is_decoding_memory_bound else "arithmetic",
            "tokens_per_second": of_load.requests_per_second * engine.num_answered,
            "engine_over_roof": engine.best / engine.num_answered / of_load.requests_per_second,
        }
    }


def _print_ratios(workload: Workload, found: dict[str, Any], effort: Effort) -> None:
    wanted = _MIN_TIMES_HF.get(workload.name)
    print(
        f"\n{'clients':>7}{'platform/engine':>17}{'rounds':>14}{'by CPU':>8}{'platform/HF':>13}"
        f"{'by CPU':>8}"
    )
    for num_clients in effort.num_requests:
        line = found[str(num_clients)]
        rounds = line["platform_over_engine_of_rounds"]
        share = line["platform_over_engine"]
        times = line["platform_over_hf"]
        notes = [_note(share, _MIN_SHARE_OF_ENGINE, "of the engine's")]
        if wanted is not None and num_clients > 1:
            notes.append(_note(times, wanted, "times HF's"))
        print(
            f"{num_clients:>7}{share:>17.3f}{min(rounds):>7.2f}{max(rounds):>7.2f}"
            f"{line['platform_over_engine_by_cpu']:>8.3f}{times:>13.1f}"
            f"{line['platform_over_hf_by_cpu']:>8.1f}  {', '.join(notes)}"
        )


def _note(value: float, wanted: float, what: str) -> str:
    return f"{'reaches' if value >= wanted else 'MISSES'} {wanted:g} {what}"


def _print_roof(machine: Machine, model: Model, found: dict[str, Any], effort: Effort) -> None:
    print(
        f"\nroof: {machine.bytes_per_second / 1e9:.1f} GB/s, {machine.ops_int8 / 1e9:.0f} int8 "
        f"Gop/s ({machine.flops_fp32 / 1e9:.0f} Gflop/s in float32); {model.num_bytes / 1e6:.0f} "
        f"MB of weights a step, {model.key_value_bytes / 1e3:.0f} kB of keys and values a token\n"
        f"the engine is built for {engine_build()}"
    )
    print(f"{'clients':>7}{'decoding':>10}{'bound by':>12}{'requests too':>14}{'engine/roof':>13}")
    for num_clients in effort.num_requests:
        line = found[str(num_clients)]["roof"]
        print(
            f"{num_clients:>7}{line['decoding_tokens_per_second']:>10.0f}{line['bound']:>12}"
            f"{line['tokens_per_second']:>14.0f}{line['engine_over_roof']:>13.2f}"
        )
