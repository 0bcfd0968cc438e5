"""Servers as processes of their own, and the CPU seconds of each and of all that it started."""

import os
import socket
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from llm_assets.serving.process import Child

HERE = Path(__file__).parent
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# What a process is, by a word of its command line; of the platform every other is the controller.
_PARTS = {"serving.model_server": "model server", "llm_assets.api": "api", "/envoy": "gateway"}
_OTHER = "controller"

CpuSeconds = dict[str, float]


class Server(NamedTuple):
    """A running server; `keeps_connections` is False where a kept one may be dropped."""

    name: str
    url: str
    pid: int
    keeps_connections: bool = True


def script(name: str, *arguments: object) -> list[str]:
    """Return the command that runs a script of this folder."""
    return [sys.executable, "-W", "ignore", str(HERE / name), *map(str, arguments)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def running(
    name: str,
    command: Sequence[str],
    *,
    port: int,
    log: Path,
    probe: str = "/health",
    environment: Mapping[str, str] | None = None,
    keeps_connections: bool = True,
    start_seconds: float = 180.0,
) -> Iterator[Server]:
    """Run a server while the block runs, which begins when the server's probe is answered with 200.

    Raises:
        RuntimeError: it ended or did not answer in time; the message holds its last line.
    """
    child = Child(name, command, log, environment=environment or {})
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + start_seconds
    child.start(time.monotonic())
    try:
        while not _answers(url + probe):
            if not child.is_running or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not start: {child.last_words()} ({log})")
            time.sleep(0.1)
        assert child.pid is not None
        yield Server(name, url, child.pid, keeps_connections)
    finally:
        child.stop(grace_seconds=30)


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as response:
            return response.status == 200
    except OSError:  # refused, reset, timed out, or another status
        return False


def cpu_seconds(root: int) -> CpuSeconds:
    """Return the CPU seconds of a process and of its descendants, by what each of them is.

    They are counted in hundredths of a second, and those of a process that ended belong to whoever
    waited for it.
    """
    stats = dict(_stats())
    found: CpuSeconds = defaultdict(float)
    for pid, (_, ticks) in stats.items():
        ancestor = pid
        while ancestor != root and ancestor in stats:
            ancestor = stats[ancestor][0]
        if ancestor == root:
            found[_part(pid)] += ticks / _TICKS_PER_SECOND
    return found


def cpu_since(root: int, before: CpuSeconds) -> CpuSeconds:
    """Return the CPU seconds of a process and of its descendants since an earlier count."""
    return {part: now - before.get(part, 0.0) for part, now in cpu_seconds(root).items()}


def _stats() -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield every process with its parent and its ticks, those of its dead children included."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            yield int(entry.name), (int(fields[1]), sum(map(int, fields[11:15])))


def _part(pid: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return _OTHER
    return next((part for word, part in _PARTS.items() if word in command), _OTHER)
