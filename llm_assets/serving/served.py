"""What serving needs to know of an application, and how one of its versions is served."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from llm_assets.base_model import BaseModelFile
from llm_assets.errors import UserError
from llm_assets.manifest import ModelManifest
from llm_assets.serving.adapter import ADAPTER_CONFIG, convert_adapter, has_dora
from llm_assets.serving.config import ServingConfig
from llm_assets.serving.gguf import LlamaFile, prepare_base, requantize
from llm_assets.serving.merged import TRAINED_WEIGHTS, merged_dora, trained_weights
from llm_assets.serving.spec import ModelServerSpec


@dataclass(frozen=True, kw_only=True)
class ServedApplication:
    """The part of an application that serving works with."""

    application: str
    base_model: BaseModelFile
    serving: ServingConfig
    system_prompt: str = ""


def version_spec(served: ServedApplication, version: str, *, home: Path) -> ModelServerSpec:
    """Return how a model version is served; the files that the engine loads are made if missing.

    Making them takes seconds to minutes, once for each version and format. Whoever serves a
    version, to evaluate it or to answer users, has nothing else to prepare.

    Raises:
        UserError: there is no such version, the application names another base model than the one
            that the version was made for, or what was trained cannot be served.
    """
    folder = home / "models" / version
    manifest = ModelManifest.read(folder)
    if manifest.base_model_sha256 != served.base_model.sha256:
        raise UserError(
            f"{folder}: made for the base model {manifest.base_model_sha256[:12]}, the "
            f"application names {served.base_model.sha256[:12]}"
        )
    files = _prepare(served, folder, manifest, cache=home / "models" / "base")
    return ModelServerSpec(
        application=served.application,
        model_version=version,
        base_model=files.model,
        adapter=files.adapter,
        system_prompt=served.system_prompt,
        serving=served.serving,
        ready_file=folder / "ready.json",
    )


class _EngineFiles(NamedTuple):
    model: Path
    adapter: Path | None = None


def _prepare(
    served: ServedApplication, folder: Path, manifest: ModelManifest, *, cache: Path
) -> _EngineFiles:
    """Return what the engine loads; the files of a version tell what was trained."""
    quantization = served.serving.quantization
    has_adapter, has_weights = (
        (folder / name).exists() for name in (ADAPTER_CONFIG, TRAINED_WEIGHTS)
    )
    if has_adapter and has_weights:
        raise UserError(f"{folder}: must hold {ADAPTER_CONFIG} or {TRAINED_WEIGHTS}, not both")
    if manifest.training is not None and not (has_adapter or has_weights):
        raise UserError(
            f"{folder}: was trained, but holds no {ADAPTER_CONFIG} or {TRAINED_WEIGHTS}"
        )
    if has_weights or (has_adapter and has_dora(folder)):
        merged = folder / f"merged-{quantization}.gguf"
        if not merged.is_file():
            base = LlamaFile(served.base_model.path)
            changes = trained_weights(folder, base) if has_weights else merged_dora(folder, base)
            requantize(base, merged, quantization, changes=changes)
        return _EngineFiles(merged)
    model = prepare_base(served.base_model, cache, quantization=quantization)
    if not has_adapter:
        return _EngineFiles(model)
    adapter = folder / "adapter.gguf"
    return _EngineFiles(
        model, adapter if adapter.is_file() else convert_adapter(model, folder, adapter)
    )
