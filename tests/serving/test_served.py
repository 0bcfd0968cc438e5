from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from llm_assets.base_model import BaseModelFile
from llm_assets.errors import UserError
from llm_assets.manifest import ModelManifest
from llm_assets.serving.config import Quantization, ServingConfig
from llm_assets.serving.served import ServedApplication, version_spec
from llm_assets.serving.spec import ModelServerSpec
from tests.serving.adapters import write_adapter

VERSION = "helpdesk-v0002"
MAGNITUDE = "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector"


@dataclass
class World:
    """A home with one model version, whose files a test adds."""

    home: Path
    base_model: BaseModelFile

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.write_manifest(training={})

    @property
    def folder(self) -> Path:
        return self.home / "models" / VERSION

    @property
    def base(self) -> Path:
        return self.home / "models" / "base" / self.base_model.sha256[:12] / "F16.gguf"

    def write_manifest(self, *, training: Mapping[str, Any] | None) -> None:
        ModelManifest(
            model_version=VERSION,
            application="helpdesk",
            base_model_sha256=self.base_model.sha256,
            created_at=datetime(2026, 11, 2, tzinfo=UTC),
            code_version="test",
            training=None if training is None else dict(training),
        ).write(self.folder)

    def write_adapter(self, *, use_dora: bool) -> None:
        weights = {MAGNITUDE: np.ones(64, np.float32)} if use_dora else {}
        change = {"use_dora": use_dora}
        write_adapter(self.folder, layers=[0], modules=["q_proj"], change=change, weights=weights)

    def write_weights(self) -> None:
        weights = {"model.norm.weight": np.full(64, 0.5, np.float32)}
        save_file(weights, self.folder / "trained_weights.safetensors")

    def spec(self, quantization: Quantization = "F16") -> ModelServerSpec:
        served = ServedApplication(
            application="helpdesk",
            base_model=self.base_model,
            serving=ServingConfig(quantization=quantization),
        )
        return version_spec(served, VERSION, home=self.home)


@pytest.fixture
def world(bare_base_model: BaseModelFile, tmp_path: Path) -> World:
    """Return a home whose version was trained, and nothing else in it yet."""
    return World(tmp_path, bare_base_model)


def test_a_version_without_training_is_the_base_model(world: World) -> None:
    world.write_manifest(training=None)
    spec = world.spec()
    assert (spec.base_model, spec.adapter) == (world.base, None)
    assert world.base.is_file()


def test_a_lora_adapter_is_converted_beside_the_base_model_that_versions_share(
    world: World,
) -> None:
    world.write_adapter(use_dora=False)
    spec = world.spec()
    assert (spec.base_model, spec.adapter) == (world.base, world.folder / "adapter.gguf")
    assert (world.folder / "adapter.gguf").is_file()
    assert not list(world.folder.glob("merged-*"))


def test_dora_is_merged_into_a_model_of_its_own(world: World) -> None:
    world.write_adapter(use_dora=True)
    spec = world.spec()
    assert (spec.base_model, spec.adapter) == (world.folder / "merged-F16.gguf", None)
    assert spec.base_model.is_file()
    assert not world.base.exists()
    assert not (world.folder / "adapter.gguf").exists()


def test_trained_weights_are_put_into_a_model_of_their_own(world: World) -> None:
    world.write_weights()
    spec = world.spec()
    assert (spec.base_model, spec.adapter) == (world.folder / "merged-F16.gguf", None)
    assert spec.base_model.is_file()
    assert not world.base.exists()


@pytest.mark.parametrize("kind", ["lora", "dora", "full"])
def test_what_the_engine_loads_is_made_once(world: World, kind: str) -> None:
    if kind == "full":
        world.write_weights()
    else:
        world.write_adapter(use_dora=kind == "dora")
    world.spec()
    before = {path: path.stat().st_mtime_ns for path in world.home.rglob("*.gguf")}
    world.spec()
    assert {path: path.stat().st_mtime_ns for path in world.home.rglob("*.gguf")} == before


def test_another_format_is_another_file(world: World) -> None:
    world.write_weights()
    assert world.spec("F16").base_model.name == "merged-F16.gguf"
    assert world.spec("Q8_0").base_model.name == "merged-Q8_0.gguf"
    assert sorted(path.name for path in world.folder.glob("*.gguf")) == [
        "merged-F16.gguf",
        "merged-Q8_0.gguf",
    ]


def test_an_adapter_and_trained_weights_in_one_version_are_refused(world: World) -> None:
    world.write_adapter(use_dora=False)
    world.write_weights()
    with pytest.raises(UserError, match=r"v0002: must hold adapter_config\.json or .*, not both"):
        world.spec()


def test_a_trained_version_whose_weights_are_gone_is_not_served_as_its_base(world: World) -> None:
    with pytest.raises(UserError, match=r"v0002: was trained, but holds no adapter_config\.json"):
        world.spec()


def test_a_version_of_another_base_model_is_refused(world: World, tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(b"another")
    world.base_model = BaseModelFile(other)
    with pytest.raises(UserError, match=r"made for the base model .*, the application names"):
        world.spec()


def test_a_version_that_does_not_exist_is_named(world: World) -> None:
    (world.folder / "manifest.json").unlink()
    with pytest.raises(UserError, match=rf"{VERSION}.manifest\.json: no such model version"):
        world.spec()
