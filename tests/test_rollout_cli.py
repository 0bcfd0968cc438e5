import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.bootstrap import register_base_models
from llm_assets.installation import Installation
from tests.deployment.rollouts import START
from tests.evaluation.reports import a_report
from tests.installations import CANDIDATE, DESKS, VERSION, an_installation
from tests.test_cli import error_line, run

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def installation(tmp_path: Path, tiny_base_model: BaseModelFile) -> Iterator[Installation]:
    with an_installation(tmp_path, tiny_base_model) as made:
        register_base_models(made)
        made.registry.register("helpdesk", CANDIDATE, time=START, reason="", run_id=None)
        targets = [desk for desk in DESKS for _ in range(10)]
        report = a_report(targets, [True] * len(targets), [False] * len(targets))
        report.write(made.report(CANDIDATE))
        yield made


ROLLBACK = ("rollout", "rollback", "--application", "helpdesk", "--because", "bad words")


def test_a_rollout_is_started_shown_and_ended_by_hand(
    installation: Installation, capsys: Capture
) -> None:
    assert run("rollout", "start", CANDIDATE) == 0
    assert capsys.readouterr().out == f"{CANDIDATE}: its rollout has started\n"
    assert installation.registry.history("helpdesk")[-1].reason.startswith("by hand (gate passed: ")
    assert run("rollout", "show", "--application", "helpdesk") == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == f"helpdesk: champion {VERSION}"
    assert second.startswith(f"  challenger {CANDIDATE} in smoke (goes on) since ")
    assert run(*ROLLBACK) == 0
    assert capsys.readouterr().out == f"helpdesk: {VERSION} serves\n"
    assert run("rollout", "start", CANDIDATE, "--again", "--because", "mended") == 0
    promote = ("rollout", "promote", "--application", "helpdesk", "--because", "urgent")
    assert run(*promote) == 0
    assert capsys.readouterr().out.endswith(f"helpdesk: {CANDIDATE} serves\n")
    assert [t.action for t in installation.registry.history("helpdesk")][-4:] == [
        "start",
        "reject",
        "start",
        "promote",
    ]


def test_programs_get_json(installation: Installation, capsys: Capture) -> None:
    told = []
    for arguments in (
        ("rollout", "start", CANDIDATE),
        ("rollout", "show", "--application", "helpdesk"),
        ROLLBACK,
    ):
        assert run(*arguments, "--json") == 0
        told.append(json.loads(capsys.readouterr().out))
    started, shown, back = told
    assert started == {"model_version": CANDIDATE, "started": True}
    assert (shown["challenger"], shown["step"]) == (CANDIDATE, "smoke")
    assert shown["transitions"][-1]["action"] == "start"
    assert back == {"application": "helpdesk", "champion": VERSION}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("start", "helpdesk-v0009"), "helpdesk-v0009/eval_report.json: no evaluation report"),
        (("start", "bank-v0001"), "application 'bank': no "),
        (("start", "nonsense"), "nonsense"),
        (("show", "--application", "bank"), "application 'bank': no "),
        (
            ("promote", "--application", "helpdesk", "--because", "x"),
            "application 'helpdesk': no rollout runs; there is nobody to promote",
        ),
        (
            ("rollback", "--application", "helpdesk", "--because", "x"),
            "application 'helpdesk' has no earlier champion to return to",
        ),
        (("rollback", "--application", "bank", "--because", "x"), "application 'bank': no "),
    ],
)
@pytest.mark.usefixtures("installation")
def test_a_mistake_is_one_clear_line(
    arguments: tuple[str, ...], message: str, capsys: Capture
) -> None:
    assert run("rollout", *arguments) == 1
    line = error_line(capsys)
    assert line.startswith("llm-assets: ")
    assert message in line


def test_what_was_rolled_back_is_not_started_again_by_mistake(
    installation: Installation, capsys: Capture
) -> None:
    assert run("rollout", "start", CANDIDATE) == 0
    assert run(*ROLLBACK) == 0
    assert run("rollout", "start", CANDIDATE) == 1
    assert error_line(capsys) == f"llm-assets: {CANDIDATE}: was rolled back: bad words"


@pytest.mark.parametrize("action", ["promote", "rollback"])
@pytest.mark.usefixtures("installation")
def test_who_steps_in_says_why(action: str, capsys: Capture) -> None:
    assert run("rollout", action, "--application", "helpdesk") == 2
    assert "--because" in capsys.readouterr().err
