"""What serving needs to know of an application, and how one of its versions is served."""

from dataclasses import dataclass
from pathlib import Path

from llm_assets.base_model import BaseModelFile
from llm_assets.errors import UserError
from llm_assets.manifest import ModelManifest
from llm_assets.serving.config import ServingConfig
from llm_assets.serving.gguf import prepare_base
from llm_assets.serving.spec import ModelServerSpec


@dataclass(frozen=True, kw_only=True)
class ServedApplication:
    """The part of an application that serving works with."""

    application: str
    base_model: BaseModelFile
    serving: ServingConfig
    system_prompt: str = ""


def version_spec(served: ServedApplication, version: str, *, home: Path) -> ModelServerSpec:
    """Return how a model version is served; the base model is requantized if it never was.

    Raises:
        UserError: there is no such version, or the application names another base model than the
            one that the version was made for.
    """
    folder = home / "models" / version
    manifest = ModelManifest.read(folder)
    if manifest.base_model_sha256 != served.base_model.sha256:
        raise UserError(
            f"{folder}: made for the base model {manifest.base_model_sha256[:12]}, the "
            f"application names {served.base_model.sha256[:12]}"
        )
    cache = home / "models" / "base"
    return ModelServerSpec(
        application=served.application,
        model_version=version,
        base_model=prepare_base(served.base_model, cache, quantization=served.serving.quantization),
        adapter=None if manifest.adapter_sha256 is None else folder / "adapter.gguf",
        system_prompt=served.system_prompt,
        serving=served.serving,
        ready_file=folder / "ready.json",
    )
