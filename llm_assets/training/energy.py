"""How much energy a process uses: measured by the machine where it can be, else estimated."""

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from llm_assets.training.launch import has_gpu

_RAPL = Path("/sys/class/powercap")


class Meter(NamedTuple):
    """A counter of joules that only grows, and what it counts by."""

    source: str
    joules: Callable[[], float]


def open_meter(*, num_nodes: int, world_size: int, watts: float) -> Meter:
    """Return the best meter of this machine, for a training of several processes that work alike.

    An NVIDIA GPU counts the energy of its own (`nvmlDeviceGetTotalEnergyConsumption`), which is
    taken for each process. Intel's and AMD's processors count that of all who run on them (RAPL),
    which is taken for each node. Otherwise it is estimated as `watts` for each second that a core
    was busy.
    """
    gpu_joules = _nvml()
    if gpu_joules is not None:
        return Meter("measured by NVML", lambda: world_size * gpu_joules())
    packages = [path for path in _RAPL.glob("intel-rapl:?") if _is_readable(path)]
    if packages:
        rapl = _Rapl(packages)
        return Meter("measured by RAPL", lambda: num_nodes * rapl.joules())
    source = f"estimated as {watts:g} W a busy core"
    return Meter(source, lambda: world_size * watts * time.process_time())


def _nvml() -> Callable[[], float] | None:
    """Return the counter of the first GPU; None where there is none, or it cannot be read."""
    if not has_gpu() or importlib.util.find_spec("pynvml") is None:
        return None
    pynvml = importlib.import_module("pynvml")  # of the extra `gpu`
    try:
        pynvml.nvmlInit()
        device = pynvml.nvmlDeviceGetHandleByIndex(0)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(device)
    except pynvml.NVMLError:  # a part of a GPU, an old one, or a container without the library
        return None
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(device) / 1000


class _Rapl:
    """The sum over packages, whose counters begin again at 0 when they are full."""

    def __init__(self, packages: list[Path]) -> None:
        self._packages = packages
        self._last = [_read(path / "energy_uj") for path in packages]
        self._total = 0.0

    def joules(self) -> float:
        now = [_read(path / "energy_uj") for path in self._packages]
        for path, before, after in zip(self._packages, self._last, now, strict=True):
            is_full = after < before
            self._total += after - before + is_full * _read(path / "max_energy_range_uj")
        self._last = now
        return self._total / 1e6


def _read(path: Path) -> int:
    return int(path.read_text())


def _is_readable(package: Path) -> bool:
    try:
        _read(package / "energy_uj")
    except OSError:
        return False
    return True
