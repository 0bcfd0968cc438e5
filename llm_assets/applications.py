"""Applications: one YAML file each, and adding an application is adding a file."""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import pydantic

from llm_assets.base_model import BaseModelConfig
from llm_assets.config import Config, read_mapping
from llm_assets.curation.config import CurationConfig
from llm_assets.deployment.config import DeploymentConfig
from llm_assets.drift.config import DriftConfig
from llm_assets.drift.triggers.decision import TriggerConfig
from llm_assets.errors import UserError
from llm_assets.evaluation.config import EvaluationConfig
from llm_assets.feedback.config import FeedbackConfig
from llm_assets.records import ApplicationName, first_problem
from llm_assets.serving.config import ServingConfig
from llm_assets.training.config import TrainingConfig


class Application(Config):
    """One use of an LLM: its model and prompt, and the rules by which it is improved.

    `name` is the stem of the file. An application without `serving` is served elsewhere: its logs
    are ingested and watched, and no model server is started for it.
    """

    name: ApplicationName
    description: str
    system_prompt: str = ""
    base_model: BaseModelConfig
    serving: ServingConfig | None = None
    feedback: FeedbackConfig = FeedbackConfig()
    drift: DriftConfig = DriftConfig()
    triggers: TriggerConfig = TriggerConfig()
    curation: CurationConfig = CurationConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    deployment: DeploymentConfig = DeploymentConfig()


class MadeFor(NamedTuple):
    """What a model version is made for beside its base model, as its manifest keeps it."""

    system_prompt_sha256: str
    evaluation_sha256: str


def made_for(application: Application) -> MadeFor:
    """Return what a version of an application would be made for now.

    The evaluation is which questions are held out and how answers to them are scored, not what a
    candidate must reach.
    """
    evaluation = {
        "scorer": application.evaluation.scorer,
        "max_tokens": application.evaluation.max_tokens,
        "holdout_rate": application.curation.holdout_rate,
        "split_salt": application.curation.split_salt,
    }
    return MadeFor(
        system_prompt_sha256=hashlib.sha256(application.system_prompt.encode()).hexdigest(),
        evaluation_sha256=hashlib.sha256(json.dumps(evaluation).encode()).hexdigest(),
    )


def load_application(path: Path) -> Application:
    """Read one application's file.

    Raises:
        UserError: the file cannot be read, or a key is unknown, missing, or breaks its rule.
    """
    content = read_mapping(path)
    if "name" in content:
        raise UserError(f"{path}: name: unknown key (an application is named by its file)")
    try:
        return Application.of_plain({"name": path.stem, **content})
    except pydantic.ValidationError as error:
        raise UserError(f"{path}: {first_problem(error)}") from None


def load_applications(folder: Path) -> dict[str, Application]:
    """Read every application of a folder, by name.

    Raises:
        UserError: there is no such folder, it holds no application, or one of them is wrong.
    """
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise UserError(f"{folder}: holds no application (*.yaml)")
    return {path.stem: load_application(path) for path in paths}
