"""Settings of the engine that might be faster than those that it is started with."""

from collections.abc import Mapping
from contextlib import ExitStack
from types import MappingProxyType
from typing import Any, NamedTuple

from serving_client import ask
from serving_place import Place
from serving_speed import Speed
from serving_throughput import ENGINE
from serving_work import Workload

_NUM_CLIENTS = 8


class _Variant(NamedTuple):
    """Parameters of llama.cpp, by their names in xllamacpp, and environment variables."""

    parameters: tuple[str, ...] = ()
    environment: Mapping[str, str] = MappingProxyType({})


_AS_STARTED = "as started"
# Each is tried alone.
_VARIANTS = {
    _AS_STARTED: _Variant(),
    "1 thread": _Variant(("cpuparams.n_threads=1", "cpuparams_batch.n_threads=1")),
    "threads that sleep at once": _Variant(environment={"GOMP_SPINCOUNT": "0"}),
    "threads that spin longer": _Variant(environment={"GOMP_SPINCOUNT": "300000"}),
    "batches of 128": _Variant(("n_batch=128", "n_ubatch=128")),
    "one context for all": _Variant(("kv_unified=true",)),
}


def measure_settings(
    workload: Workload, place: Place, *, num_threads: int, is_quick: bool
) -> dict[str, Any]:
    """Print the bare engine's speed with each setting; all run side by side, asked in turn."""
    content = workload.application(num_clients=_NUM_CLIENTS, num_threads=num_threads)
    num_requests, num_rounds = (8, 1) if is_quick else (16, 4)
    speeds = {name: Speed() for name in _VARIANTS}
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(
                place.engine(
                    workload.name,
                    content,
                    parameters=variant.parameters,
                    environment=variant.environment,
                )
            )
            for name, variant in _VARIANTS.items()
        }
        warm_up = workload.bodies(_NUM_CLIENTS, first=0, has_system_prompt=True)
        for server in servers.values():
            ask(server.url, warm_up, num_clients=_NUM_CLIENTS, keeps=False)
        for number in range(num_rounds):
            first = _NUM_CLIENTS + number * num_requests
            bodies = workload.bodies(num_requests, first=first, has_system_prompt=True)
            for name, server in servers.items():
                speeds[name].measure(server, bodies, num_clients=_NUM_CLIENTS)
    _print(speeds)
    return {name: speed.numbers() for name, speed in speeds.items()}


def _print(speeds: dict[str, Speed]) -> None:
    base = speeds[_AS_STARTED]
    what = f"{ENGINE}, {_NUM_CLIENTS} clients"
    print(f"{what:<27}{'tokens/s':>10}{'best':>8}{'x':>7}{'tokens/CPU s':>14}")
    for name, speed in speeds.items():
        print(
            f"{name:<27}{speed.tokens_per_second:>10.1f}{speed.best:>8.1f}"
            f"{speed.best / base.best:>7.2f}{speed.tokens_per_cpu_second:>14.1f}"
        )
