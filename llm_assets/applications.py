"""Applications: one YAML file each, and adding an application is adding a file."""

from pathlib import Path

import pydantic
import yaml

from llm_assets.base_model import BaseModelConfig
from llm_assets.config import Config
from llm_assets.curation.config import CurationConfig
from llm_assets.deployment.config import DeploymentConfig
from llm_assets.drift.config import DriftConfig
from llm_assets.drift.triggers import TriggerConfig
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


def load_application(path: Path) -> Application:
    """Read one application's file.

    Raises:
        UserError: the file cannot be read, or a key is unknown, missing, or breaks its rule.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: must hold a mapping")
    if "name" in content:
        raise UserError(f"{path}: name: unknown key (an application is named by its file)")
    try:
        return Application(name=path.stem, **content)
    except pydantic.ValidationError as error:
        raise UserError(f"{path}: {first_problem(error)}") from None
    except TypeError as error:
        raise UserError(f"{path}: {error}") from None


def load_applications(folder: Path) -> dict[str, Application]:
    """Read every application of a folder, by name.

    Raises:
        UserError: there is no such folder, it holds no application, or one of them is wrong.
    """
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise UserError(f"{folder}: holds no application (*.yaml)")
    return {path.stem: load_application(path) for path in paths}
