import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llm_assets.errors import UserError
from llm_assets.serving.process import Child, require_free_port

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
STUBBORN = [SLEEP[0], "-c", f"import signal; signal.signal(15, signal.SIG_IGN); {SLEEP[2]}"]


def test_a_child_ends_when_asked(tmp_path: Path) -> None:
    child = Child("sleeper", SLEEP, tmp_path / "logs" / "log")
    child.start(0.0)
    assert child.is_running
    child.stop(grace_seconds=10)
    assert not child.is_running
    assert child.exit_code == -signal.SIGTERM


def test_a_child_that_will_not_end_is_killed(tmp_path: Path) -> None:
    child = Child("stubborn", STUBBORN, tmp_path / "log")
    child.start(0.0)
    wait_for_words(child, "up")
    child.stop(grace_seconds=0.1)
    assert child.exit_code == -signal.SIGKILL


def test_the_last_words_are_those_since_the_last_start(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = Child("short", [sys.executable, "-c", "print('first'); print('last')"], log)
    child.start(0.0)
    wait_for_end(child)
    assert child.last_words() == "last"
    assert log.read_text() == "first\nlast\n"
    silent = Child("silent", [sys.executable, "-c", ""], log)
    silent.start(0.0)
    silent.stop(grace_seconds=10)
    assert silent.last_words() == ""


def test_a_library_that_writes_after_the_last_words_does_not_take_their_place(
    tmp_path: Path,
) -> None:
    script = "print('llm-assets: no model'); print('0.00 E')"
    child = Child("engine", [sys.executable, "-c", script], tmp_path / "log")
    child.start(0.0)
    wait_for_end(child)
    assert child.last_words() == "no model"


def test_a_child_that_keeps_dying_is_restarted_ever_more_slowly(tmp_path: Path) -> None:
    child = Child("dying", [sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "log")
    starts = []
    for tick in range(400):
        if child.revive(tick / 10):
            starts.append(tick / 10)
            wait_for_end(child)
    pauses = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert pauses == pytest.approx([0.5, 1, 2, 4, 8, 16])


def test_a_minute_of_life_forgives_earlier_deaths(tmp_path: Path) -> None:
    child = Child("sleeper", SLEEP, tmp_path / "log")
    for now in (0.0, 1.0, 3.0):
        assert child.revive(now)
        child.kill()
    assert child.revive(10.0)
    assert not child.revive(71.0)
    child.kill()
    assert child.revive(71.1)
    child.kill()


def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from llm_assets.serving.process import Child
import time
child = Child("sleeper", {SLEEP!r}, Path({str(tmp_path / "log")!r}))
child.start(0.0)
while child.last_words() != "up":
    time.sleep(0.01)
print(child.pid, flush=True)
time.sleep(60)
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.kill()
    deadline = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_alive(pid)


def test_a_port_in_use_is_named_with_its_variable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        expected = f"port {port} on 127.0.0.1 is in use; set LLM_ASSETS_PORT to a free one"
        with pytest.raises(UserError, match=f"^{expected}$"):
            require_free_port("127.0.0.1", port, "LLM_ASSETS_PORT")
    require_free_port("127.0.0.1", port, "LLM_ASSETS_PORT")


def wait_for_words(child: Child, words: str) -> None:
    deadline = time.monotonic() + 10
    while child.last_words() != words and time.monotonic() < deadline:
        time.sleep(0.01)
    assert child.last_words() == words


def wait_for_end(child: Child) -> None:
    while child.is_running:
        time.sleep(0.005)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z" and os.getpgid(pid) > 0


def test_a_child_may_be_told_of_its_parents_death_by_another_signal(tmp_path: Path) -> None:
    program = f"""
import signal, time
from pathlib import Path
from llm_assets.serving.process import PARENT_DIED, Child
told = "import signal,sys,time,pathlib;" \\
    "signal.signal(signal.SIGUSR1, lambda *_: (pathlib.Path({str(tmp_path / "told")!r}).touch()," \\
    "sys.exit()));pathlib.Path({str(tmp_path / "ready")!r}).touch();time.sleep(60)"
Child("child", ["{sys.executable}", "-c", told], Path({str(tmp_path / "log")!r}),
    death_signal=PARENT_DIED).start(0.0)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program]) as parent:
        assert _appears(tmp_path / "ready")
        parent.kill()
    assert _appears(tmp_path / "told")


def _appears(path: Path) -> bool:
    deadline = time.monotonic() + 20
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return path.exists()
