"""The stand-in for `mpirun`, and that Open MPI does the same where it is installed."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.kubernetes import mpirun

STAND_IN = [sys.executable, "-I", str(Path(mpirun.__file__))]
OPEN_MPI = ["mpirun", "--allow-run-as-root"]
LAUNCHER = socket.gethostname()

# What Open MPI calls to reach another host: here a shell on this one with nothing inherited.
AGENT = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
shift
exec env -i PATH=/usr/bin:/bin HOME="$HOME" sh -c "$*"
"""
LIVE = "for _ in $(seq 100); do sleep 0.05; done"
SAY = 'echo "$OMPI_COMM_WORLD_RANK/$OMPI_COMM_WORLD_SIZE $OMPI_COMM_WORLD_LOCAL_RANK $GIVEN $KEPT"'


def run(
    command: list[str], folder: Path, *words: str, hosts: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command with a file of hosts, and two variables of which one is exported."""
    agent = folder / "agent"
    agent.write_text(AGENT)
    agent.chmod(0o755)
    hostfile = folder / "hosts"
    hostfile.write_text(hosts or f"{LAUNCHER} slots=2\n")
    variables = {
        "GIVEN": "given",
        "KEPT": "kept",
        "HOSTNAME": LAUNCHER,
        "OMPI_MCA_orte_default_hostfile": str(hostfile),
        "OMPI_MCA_plm_rsh_agent": str(agent),
    }
    return subprocess.run(
        [*command, "-x", "GIVEN", *words],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def run_rank(command: list[str], folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script as the only rank."""
    return run(command, folder, "-np", "1", "sh", "-c", script)


@pytest.fixture(params=["stand-in", "Open MPI"])
def command(request: pytest.FixtureRequest) -> list[str]:
    if request.param == "stand-in":
        return STAND_IN
    if shutil.which(OPEN_MPI[0]) is None:
        pytest.skip("Open MPI is not installed")
    return OPEN_MPI


def test_the_launcher_comes_first_and_others_inherit_nothing(
    command: list[str], tmp_path: Path
) -> None:
    hosts = f"other slots=2\n{LAUNCHER} slots=2\n"
    result = run(command, tmp_path, "sh", "-c", SAY, hosts=hosts)
    assert sorted(result.stdout.splitlines()) == [
        "0/4 0 given kept",
        "1/4 1 given kept",
        "2/4 0 given ",
        "3/4 1 given ",
    ]


def test_a_rank_that_fails_ends_the_others(command: list[str], tmp_path: Path) -> None:
    script = 'test "$OMPI_COMM_WORLD_RANK" = 0 || exit 7; exec sleep 60'
    assert run(command, tmp_path, "sh", "-c", script).returncode == 7


def test_there_are_as_many_ranks_as_slots_or_fewer(command: list[str], tmp_path: Path) -> None:
    for words, num_ranks in (([], 2), (["-np", "1"], 1)):
        result = run(command, tmp_path, *words, "echo", "here")
        assert result.stdout.splitlines() == ["here"] * num_ranks
    assert run(command, tmp_path, "-np", "3", "true").returncode != 0


@pytest.mark.parametrize(("seconds", "is_cleaned"), [(0.2, True), (1.5, False)])
def test_a_rank_is_asked_to_stop_after_a_second_and_has_another(
    command: list[str], tmp_path: Path, seconds: float, is_cleaned: bool
) -> None:
    cleaned = tmp_path / "cleaned"
    trap = f"trap 'sleep {seconds}; touch {cleaned}; exit' TERM"
    started_at = time.monotonic()
    result = run_rank(command, tmp_path, f"{trap}; kill $PPID; {LIVE}")
    assert (result.returncode, cleaned.exists()) == (1, is_cleaned)
    assert time.monotonic() - started_at > 1


def test_a_rank_is_sent_other_signals_at_once(command: list[str], tmp_path: Path) -> None:
    trap = "trap 'echo got it; exit 0' USR1"
    result = run_rank(command, tmp_path, f"{trap}; kill -USR1 $PPID; {LIVE}")
    assert (result.returncode, result.stdout) == (0, "got it\n")


def test_hosts_are_reached_on_this_machine(tmp_path: Path) -> None:
    say = ["sh", "-c", 'echo "$MASTER_ADDR" "$MASTER_PORT"']
    words = ["-np", "2", "-x", f"MASTER_ADDR={LAUNCHER}", "-x", "MASTER_PORT=29500", *say]
    first, second = run(STAND_IN, tmp_path, *words).stdout.splitlines()
    assert first == second
    assert first.startswith("127.0.0.1 ")
    assert first != "127.0.0.1 29500"
