import gzip
import json
import signal
import socket
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.bootstrap import register_base_models
from llm_assets.cli import main
from llm_assets.installation import Installation
from tests.installations import VERSION, an_installation, helpdesk, write_application
from tests.records import TIME, a_correction, an_interaction

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def installation(tmp_path: Path, tiny_base_model: BaseModelFile) -> Iterator[Installation]:
    with an_installation(tmp_path, tiny_base_model) as made:
        yield made


@pytest.fixture
def signals() -> Iterator[None]:
    """Put back what `up` sets."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    path = tmp_path / "log.ndjson"
    records = [
        an_interaction("r1"),
        an_interaction("r2", time=TIME + timedelta(days=2)),
        a_correction("f1", "r1", "money"),
    ]
    path.write_bytes(b"\n".join(record.to_json() for record in records) + b"\n")
    return path


def run(*arguments: object) -> int:
    """Run the command line and return the exit code."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def error_line(capture: Capture) -> str:
    """Return the one line on stderr."""
    lines = capture.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def ingest(*arguments: object) -> int:
    return run("ingest", *arguments, "--application", "helpdesk")


def test_ingest_says_what_became_of_the_lines(
    installation: Installation, log_file: Path, capsys: Capture
) -> None:
    assert ingest(log_file) == 0
    assert capsys.readouterr().out.startswith(
        "3 accepted, 0 duplicates, 0 passed over, 0 quarantined, "
        "2 days from 2026-03-01 to 2026-03-03, in "
    )
    assert ingest(log_file, "--json") == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts.pop("seconds") > 0
    assert counts.pop("rows_per_second") > 0
    assert counts == {
        "accepted": 0,
        "duplicates": 3,
        "passed_over": 0,
        "quarantined": 0,
        "reasons": {},
        "quarantine_files": [],
        "days": 2,
    }
    assert len(installation.interaction_log.partitions()) == 2


def test_ingest_of_corrupt_lines_keeps_the_others_and_counts_their_reasons(
    installation: Installation, log_file: Path, capsys: Capture
) -> None:
    with log_file.open("ab") as file:
        file.write(b"[7]\n[8]\n")
    assert ingest(log_file) == 0
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith("3 accepted, 0 duplicates, 0 passed over, 2 quarantined, 2 days")
    assert second == "  2 is not a JSON object"
    (path,) = installation.home.glob("quarantine/application=helpdesk/*.ndjson")
    assert third == f"quarantine: {path}"
    assert len(installation.interaction_log.partitions()) == 2


@pytest.mark.usefixtures("installation")
def test_a_strict_ingest_fails_only_when_something_is_in_quarantine(
    log_file: Path, capsys: Capture
) -> None:
    assert ingest(log_file, "--strict") == 0
    with log_file.open("ab") as file:
        file.write(b"{half\n")
    assert ingest(log_file, "--strict") == 1
    assert "1 quarantined" in capsys.readouterr().out


@pytest.mark.usefixtures("installation")
def test_ingest_of_which_nothing_can_be_read_fails(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("one\ntwo\n")
    assert ingest(path) == 1
    assert error_line(capsys).startswith("llm-assets: nothing could be read: is not JSON: ")


@pytest.mark.usefixtures("installation")
def test_ingest_reads_folders_and_archives(log_file: Path, capsys: Capture) -> None:
    folder = log_file.parent / "logs"
    folder.mkdir()
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(log_file.read_bytes()))
    (folder / "README.md").write_text("no log")
    assert ingest(folder, "--json") == 0
    assert json.loads(capsys.readouterr().out)["accepted"] == 3


@pytest.mark.usefixtures("installation")
def test_a_torn_archive_is_one_line_and_what_came_before_is_kept(
    log_file: Path, capsys: Capture
) -> None:
    archive = log_file.with_suffix(".gz")
    archive.write_bytes(gzip.compress(log_file.read_bytes())[:-8])
    assert ingest(archive) == 0
    captured = capsys.readouterr()
    assert captured.err == f"llm-assets: {archive}:4: the archive is truncated\n"
    assert captured.out.startswith("3 accepted")


@pytest.mark.usefixtures("installation")
def test_ingest_shows_its_progress_on_a_terminal(
    log_file: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ingest(log_file) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert ingest(log_file) == 0
    captured = capsys.readouterr()
    assert "KiB" in captured.err
    assert captured.out.startswith("0 accepted, 3 duplicates")


@pytest.mark.usefixtures("installation")
def test_ingest_of_nothing_is_nothing(tmp_path: Path, capsys: Capture) -> None:
    empty = tmp_path / "empty.ndjson"
    empty.touch()
    assert ingest(empty) == 0
    assert capsys.readouterr().out.startswith(
        "0 accepted, 0 duplicates, 0 passed over, 0 quarantined, 0 days, in "
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.ndjson"], "missing.ndjson: cannot be read: No such file or directory"),
        (["--format", "csv", "x"], "format: must be one of native, openai-chat, "),
        (["--application", "bank", "x"], "application 'bank': no "),
    ],
)
@pytest.mark.usefixtures("installation")
def test_ingest_of_what_is_not_there_is_one_line(
    capsys: Capture, arguments: list[str], message: str
) -> None:
    assert run("ingest", "--application", "helpdesk", *arguments) == 1
    assert error_line(capsys).startswith(f"llm-assets: {message}")


def test_the_status_of_an_empty_home_is_clear(installation: Installation, capsys: Capture) -> None:
    assert run("status", "--json") == 0
    status = json.loads(capsys.readouterr().out)
    assert status["home"] == str(installation.home)
    assert status["endpoint"] == f"{installation.settings.endpoint_url}/v1"
    assert status["is_running"] is False
    assert status["applications"]["helpdesk"] == {
        "champion": None,
        "versions": [],
        "is_served_here": True,
        "is_serving": False,
        "num_days": 0,
        "rollout": None,
        "incidents": [],
        "drift": [],
        "orphans": {"num": 0, "ids": []},
        "erased_data": [],
        "would_start": False,
        "cause": None,
        "brake": None,
        "requests": [],
        "budget": {"used_hours": 0, "expected_hours": 1.0, "max_hours": None},
        "false_starts_per_year": pytest.approx(12.0),
        "reason": "0 verdicts in the last 7 days of 50 needed; no window with defined drift scores "
        "yet; 0 new feedback of 200 needed",
    }


def test_the_status_for_people_names_the_same(installation: Installation, capsys: Capture) -> None:
    register_base_models(installation)
    assert run("status") == 0
    text = capsys.readouterr().out
    assert f"{installation.settings.endpoint_url}/v1 (not running)" in text
    assert f"helpdesk: champion {VERSION} (does not serve)" in text
    assert "no cycle: 0 verdicts in the last 7 days of 50 needed; no window with" in text
    assert "by chance drift starts 12 cycles a year" in text


def test_a_person_asks_for_a_cycle(installation: Installation, capsys: Capture) -> None:
    register_base_models(installation)
    assert run("cycle", "--application", "helpdesk", "--because", "two new desks") == 0
    assert "asked for a cycle of helpdesk" in capsys.readouterr().out
    assert run("status", "--json") == 0
    helpdesk = json.loads(capsys.readouterr().out)["applications"]["helpdesk"]
    assert (helpdesk["would_start"], helpdesk["cause"]) == (True, "manual")
    assert helpdesk["reason"] == "requested: two new desks"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cycle", "--application", "bank", "--because", "x"], "application 'bank': no "),
        (["drift", "show", "--application", "bank"], "application 'bank': no "),
        (["drift", "show", "--application", "helpdesk"], "application 'helpdesk': "),
        (
            [
                "drift",
                "replay",
                "--application",
                "helpdesk",
                "--from",
                "2026-01-01",
                "--to",
                "2026-02-01",
            ],
            "application 'helpdesk': no traffic from 2026-01-01 to 2026-02-01; it has none at all",
        ),
    ],
)
@pytest.mark.usefixtures("installation")
def test_what_there_is_no_drift_of_is_one_line(
    capsys: Capture, arguments: list[str], message: str
) -> None:
    assert run(*arguments) == 1
    assert error_line(capsys).startswith(f"llm-assets: {message}")


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("helpdesk", "model version must look like 'helpdesk-v0001', got 'helpdesk'"),
        ("helpdesk-v0009", "{home}/models/helpdesk-v0009/manifest.json: no such model version"),
        (VERSION, f"{VERSION}: is a base model without an adapter, nothing was trained"),
        ("bank-v0001", "application 'bank': no {applications}/bank.yaml"),
    ],
)
def test_what_cannot_be_reproduced_is_one_line(
    installation: Installation, capsys: Capture, version: str, message: str
) -> None:
    register_base_models(installation)
    assert run("reproduce", version) == 1
    settings = installation.settings
    expected = message.format(home=settings.home, applications=settings.applications)
    assert error_line(capsys) == f"llm-assets: {expected}"


@pytest.mark.parametrize("variable", ["LLM_ASSETS_PORT", "LLM_ASSETS_UI_PORT"])
@pytest.mark.usefixtures("signals")
def test_up_on_a_port_in_use_names_the_variable(
    installation: Installation, capsys: Capture, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        monkeypatch.setenv(variable, str(port))
        assert run("up") == 1
    line = f"llm-assets: port {port} on 127.0.0.1 is in use; set {variable} to a free one"
    assert error_line(capsys) == line


@pytest.mark.usefixtures("signals")
def test_up_without_its_base_model_names_file_and_key(
    installation: Installation, capsys: Capture
) -> None:
    folder = installation.settings.applications
    path = write_application(folder, "helpdesk", helpdesk(Path("/nowhere/tiny.gguf")))
    assert run("up", "--json") == 1
    expected = f"llm-assets: {path}: base_model.file: no such file: /nowhere/tiny.gguf"
    assert error_line(capsys) == expected


@pytest.mark.parametrize("command", [["status"], ["up"], ["reproduce", "helpdesk-v0002"]])
@pytest.mark.usefixtures("signals")
def test_every_command_names_a_key_that_is_wrong(
    installation: Installation, capsys: Capture, command: list[str]
) -> None:
    content: dict[str, Any] = {**helpdesk(Path("tiny.gguf")), "drfit": {}}
    path = write_application(installation.settings.applications, "helpdesk", content)
    assert run(*command) == 1
    assert error_line(capsys) == f"llm-assets: {path}: drfit: unknown key"


def test_a_home_that_cannot_be_made_is_one_line(
    installation: Installation, capsys: Capture, monkeypatch: pytest.MonkeyPatch, log_file: Path
) -> None:
    monkeypatch.setenv("LLM_ASSETS_HOME", "/dev/null/home")
    assert ingest(log_file) == 1
    assert error_line(capsys).startswith("llm-assets: /dev/null/home")


def test_a_token_is_shown_once_then_listed_by_its_name_and_revoked(
    installation: Installation, capsys: Capture
) -> None:
    assert run("token", "list") == 0
    assert capsys.readouterr().out == ""
    assert run("token", "create", "--application", "helpdesk") == 0
    token = capsys.readouterr().out.strip()
    assert installation.tokens.application_of(token) == "helpdesk"
    assert run("token", "create", "--application", "helpdesk", "--name", "web", "--json") == 0
    assert json.loads(capsys.readouterr().out)["token"].startswith("la_")
    assert run("token", "list") == 0
    listed = capsys.readouterr().out
    assert [line.split()[:2] for line in listed.splitlines()] == [
        ["helpdesk-1", "helpdesk"],
        ["web", "helpdesk"],
    ]
    assert token not in listed
    assert run("token", "revoke", "helpdesk-1") == 0
    assert capsys.readouterr().out == "helpdesk-1: revoked\n"
    assert installation.tokens.application_of(token) is None
    assert run("token", "list", "--json") == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["web"]


@pytest.mark.usefixtures("installation")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create", "--application", "bank"], "application 'bank': no "),
        (["revoke", "web"], "token 'web': there is none of that name"),
    ],
)
def test_a_token_of_nothing_is_one_line(
    capsys: Capture, arguments: list[str], message: str
) -> None:
    assert run("token", *arguments) == 1
    assert error_line(capsys).startswith(f"llm-assets: {message}")


@pytest.mark.parametrize(
    "arguments", [[], ["dance"], ["token"], ["ingest", "x"], ["demo", "--size", "tiny"]]
)
def test_a_command_that_does_not_exist_is_a_usage_error(
    capsys: Capture, arguments: list[str]
) -> None:
    assert run(*arguments) == 2
    assert "usage: llm-assets" in capsys.readouterr().err
