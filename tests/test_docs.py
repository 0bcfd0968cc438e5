"""What the documents say is true of the code."""

import gzip
import json
import re
import shlex
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pydantic
import pytest
import yaml

from llm_assets.applications import Application
from llm_assets.cli import main
from llm_assets.drift.config import Detector
from llm_assets.drift.scores import score_table
from llm_assets.drift_day import DayScorer
from llm_assets.feedback.formats import FORMATS
from llm_assets.feedback.tables import interaction_table
from llm_assets.records import FeedbackKind
from llm_assets.storage import Partition
from llm_assets.training.config import Method, TrainingConfig
from tests.feedback.collecting import a_process, installation_in, interactions
from tests.installations import free_port
from tests.records import an_interaction

ROOT = Path(__file__).parent.parent


def keys(model: type[pydantic.BaseModel], prefix: str = "") -> dict[str, Any]:
    """Return every key of a configuration with its default, `...` where it is required."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        section = _section(field.annotation)
        if section is not None:
            found |= keys(section, f"{prefix}{name}.")
        required = field.is_required()
        default = ... if required else field.get_default(call_default_factory=True)
        if section is None or default is None:  # a section that may be left out is a key too
            found[prefix + name] = default
    return found


def _section(annotation: Any) -> type[pydantic.BaseModel] | None:
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, pydantic.BaseModel):
            return candidate
    return None


def test_every_key_of_an_application_is_documented_with_its_default() -> None:
    text = (ROOT / "docs" / "applications.md").read_text()
    rows = re.findall(r"^\| `([a-z0-9_.]+)` \| (.+?) \| .+ \|$", text, re.MULTILINE)
    expected = keys(Application)
    del expected["name"]
    assert sorted(dict(rows)) == sorted(expected)
    for key, shown in rows:
        default = expected[key]
        if default is ...:
            assert shown == "required"
        elif isinstance(default, frozenset):
            assert set(json.loads(shown.strip("`"))) == default
        elif isinstance(default, tuple):
            assert tuple(json.loads(shown.strip("`"))) == default
        elif not isinstance(default, list):
            assert json.loads(shown.strip("`")) == default


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_every_make_target_that_is_named_exists(document: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)`", (ROOT / document).read_text()))
    assert named
    assert named <= targets


def test_every_link_between_documents_leads_to_a_file() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_every_format_and_kind_of_feedback_is_documented() -> None:
    text = (ROOT / "docs" / "feedback.md").read_text()
    formats = text.partition("## Read what was logged elsewhere")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", formats, re.MULTILINE) == [f.name for f in FORMATS]
    named = set(re.findall(r"`([a-z_]+)`", text))
    assert {kind.value for kind in FeedbackKind} <= named


def test_the_examples_about_feedback_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "feedback.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 3
    installation = installation_in(tmp_path, "helpdesk")
    with a_process(installation) as (_, url):
        for example in examples:
            exec(compile(example.replace("http://127.0.0.1:8080", url), "feedback.md", "exec"), {})
    (interaction,) = interactions(installation)
    assert interaction.user_id == "u-1"

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLM_ASSETS_HOME", str(installation.home))
    monkeypatch.setenv("LLM_ASSETS_APPLICATIONS", str(installation.settings.applications))
    monkeypatch.setenv("LLM_ASSETS_PORT", str(free_port()))
    monkeypatch.setenv("DAGSTER_HOME", str(installation.settings.dagster_home))
    Path("exports").mkdir()
    Path("exports/one.jsonl").write_bytes(an_interaction("r2").to_json())
    Path("more.jsonl.gz").write_bytes(gzip.compress(an_interaction("r3").to_json()))
    commands = re.findall(r"^llm-assets (.+)$", text, re.MULTILINE)
    assert {command.split()[0] for command in commands} == {"ingest", "token", "erase"}
    for command in commands:
        with pytest.raises(SystemExit) as ended:
            main(shlex.split(command))
        assert ended.value.code == 0, command
    assert [interaction.request_id for interaction in interactions(installation)] == ["r2", "r3"]


def test_every_detector_is_documented() -> None:
    text = (ROOT / "docs" / "drift.md").read_text()
    table = text.partition("## Detectors")[2].partition("\n## ")[0]
    assert {str(detector) for detector in Detector} <= set(re.findall(r"`([a-z_]+)`", table))


def test_the_examples_about_drift_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "docs" / "drift.md").read_text()
    installation = installation_in(tmp_path, "helpdesk")
    for day in (date(2026, 11, 20), date(2026, 11, 21)):
        partition = Partition(application="helpdesk", date=day)
        time = datetime.combine(day, datetime.min.time(), UTC)
        asked = [an_interaction(f"{day}-{n}", time=time, prompt=f"question {n}") for n in range(4)]
        installation.table("interaction_logs").write(partition, interaction_table(asked))
        scored = DayScorer(installation, installation.application("helpdesk")).score(day)
        table = score_table(scored.scores, model_version=scored.model_version, embedder="e")
        installation.table("drift_scores").write(partition, table)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLM_ASSETS_HOME", str(installation.home))
    monkeypatch.setenv("LLM_ASSETS_APPLICATIONS", str(installation.settings.applications))
    (policy,) = re.findall(r"```yaml\n# careful.yaml\n(.*?)```", text, re.DOTALL)
    Path("careful.yaml").write_text(policy)
    commands = re.findall(r"^llm-assets (.+)$", text, re.MULTILINE)
    assert [command.split()[1] for command in commands] == ["show", "replay"]
    for command in commands:
        with pytest.raises(SystemExit) as ended:
            main(shlex.split(command))
        assert ended.value.code == 0, command
    shown = capsys.readouterr().out
    assert "helpdesk, 2026-11-21: not drifted" in shown
    assert "\ncareful  " in shown


def test_the_examples_about_training_are_valid() -> None:
    text = (ROOT / "docs" / "training.md").read_text()
    examples = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 3
    for example in examples:
        TrainingConfig.of_plain(yaml.safe_load(example)["training"])


def test_every_method_is_documented() -> None:
    table = (ROOT / "docs" / "training.md").read_text().partition("## Methods")[2]
    named = set(re.findall(r"`([a-z]+)`", table.partition("\n\nOnly")[0]))
    assert {str(method) for method in Method} <= named
