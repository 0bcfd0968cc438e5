"""What the emulator runs in place of `mpirun`: all ranks on this machine, as Open MPI starts them.

Where ranks would run comes from the file of hosts: first on the launcher, if that is a host, then
on the others in their order. On the launcher a rank inherits the environment, on another host it
comes by ssh and has what `-x` names. A SIGTERM reaches the ranks `odls_base_sigkill_timeout`
seconds late, which is one, and SIGKILL follows after as many; SIGUSR1 and SIGUSR2 are passed on.

Pods have names and ports of their own, processes of one machine have not: MASTER_ADDR becomes the
loopback if it names a host, and MASTER_PORT a free port.
"""

import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple, NoReturn

_COUNTS = ("-np", "-n", "-c", "--np")
_FLAGS = ("--allow-run-as-root", "--oversubscribe", "--tag-output", "--report-bindings")
_WITH_VALUE = ("--bind-to", "--map-by")
_HOSTFILE = "OMPI_MCA_orte_default_hostfile"
_GRACE = "OMPI_MCA_odls_base_sigkill_timeout"
# What an ssh session has from the machine itself, and by what the emulator finds its processes.
_ALWAYS = ("HOME", "EMULATED_CONTAINER")
_POLL_SECONDS = 0.05


class Call(NamedTuple):
    """A command line, read; `parameters` are those of `--mca` by their variables' names."""

    num_ranks: int | None
    exported: dict[str, str]
    parameters: dict[str, str]
    command: list[str]


class Place(NamedTuple):
    """Where a rank runs: a host, and its number there among how many."""

    host: str
    local_rank: int
    local_size: int


def read(words: list[str], environment: dict[str, str]) -> Call:
    """Read the options before the command."""
    num_ranks, exported, parameters = None, {}, {}
    rest = iter(words)
    for word in rest:
        if word in _COUNTS:
            num_ranks = int(next(rest))
        elif word == "-x":
            name, is_given, value = next(rest).partition("=")
            if is_given or name in environment:
                exported[name] = value if is_given else environment[name]
        elif word == "--mca":
            name, value = next(rest), next(rest)
            parameters[f"OMPI_MCA_{name}"] = value
        elif word in _WITH_VALUE:
            next(rest)
        elif word.startswith("-") and word not in _FLAGS:
            _fail(f"the emulator does not know the option {word}")
        elif not word.startswith("-"):
            return Call(num_ranks, exported, parameters, [word, *rest])
    return _fail("no executable was specified")


def places(hosts: str, launcher: str, num_ranks: int | None) -> list[Place]:
    """Return where the ranks run, in their order; all slots are taken if no number is given."""
    slots = dict(line.split(" slots=") for line in hosts.splitlines()) or {launcher: "1"}
    in_order = sorted(slots, key=lambda host: not _is(host, launcher))
    taken = [host for host in in_order for _ in range(int(slots[host]))]
    if num_ranks is not None and num_ranks > len(taken):
        _fail(f"there are not enough slots for {num_ranks} ranks: {len(taken)}")
    taken = taken[:num_ranks]
    return [
        Place(host, taken[:rank].count(host), taken.count(host)) for rank, host in enumerate(taken)
    ]


def main() -> None:
    """Start the ranks; the first that fails ends the others and gives the exit code."""
    call = read(sys.argv[1:], dict(os.environ))
    inherited = {**os.environ, **call.exported, **call.parameters}
    launcher, hostfile = inherited["HOSTNAME"], inherited.get(_HOSTFILE)
    hosts = Path(hostfile).read_text() if hostfile else ""
    on_launcher = _localized(inherited, hosts)
    elsewhere = {
        name: on_launcher[name] for name in (*call.exported, *_ALWAYS) if name in on_launcher
    }
    received = _listen()  # before a rank can send anything
    ranks: list[subprocess.Popen[bytes]] = []
    for place, numbers in _numbered(places(hosts, launcher, call.num_ranks)):
        variables = on_launcher if _is(place.host, launcher) else elsewhere
        env = {**variables, **numbers}
        ranks.append(subprocess.Popen(call.command, env=env, process_group=0))
    sys.exit(_wait(ranks, received, float(inherited.get(_GRACE, "1"))))


def _numbered(all_places: list[Place]) -> list[tuple[Place, dict[str, str]]]:
    numbered = []
    for rank, place in enumerate(all_places):
        numbers = {
            "RANK": rank,
            "SIZE": len(all_places),
            "LOCAL_RANK": place.local_rank,
            "LOCAL_SIZE": place.local_size,
        }
        variables = {f"OMPI_COMM_WORLD_{name}": str(number) for name, number in numbers.items()}
        numbered.append((place, variables))
    return numbered


def _localized(variables: dict[str, str], hosts: str) -> dict[str, str]:
    if variables.get("MASTER_ADDR") not in [line.split()[0] for line in hosts.splitlines()]:
        return variables
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return {**variables, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def _listen() -> queue.SimpleQueue[int]:
    """Return a queue of the signals that come from now on."""
    received = queue.SimpleQueue[int]()
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda number, _: received.put(number))
    return received


def _wait(
    ranks: list[subprocess.Popen[bytes]], received: queue.SimpleQueue[int], grace_seconds: float
) -> int:
    """Return the exit code: of the first rank that fails, 1 after a SIGTERM."""
    while None in (codes := [rank.poll() for rank in ranks]) and not any(codes):
        with contextlib.suppress(queue.Empty):
            number = received.get(timeout=_POLL_SECONDS)
            if number == signal.SIGTERM:
                _stop(ranks, grace_seconds)
                return 1
            _send(ranks, number)
    _send(ranks, signal.SIGKILL)
    failed = next((code for code in codes if code), 0)
    return failed if failed >= 0 else 128 - failed


def _stop(ranks: list[subprocess.Popen[bytes]], grace_seconds: float) -> None:
    for number in (signal.SIGCONT, signal.SIGTERM):
        _send(ranks, number)
        deadline = time.monotonic() + grace_seconds
        while None in [rank.poll() for rank in ranks] and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
    _send(ranks, signal.SIGKILL)


def _send(ranks: list[subprocess.Popen[bytes]], number: int) -> None:
    """Send a signal to all that the ranks have started."""
    for rank in ranks:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(rank.pid, number)


def _is(host: str, launcher: str) -> bool:
    return host.partition(".")[0] == launcher


def _fail(message: str) -> NoReturn:
    sys.exit(f"mpirun: {message}")


if __name__ == "__main__":
    main()
