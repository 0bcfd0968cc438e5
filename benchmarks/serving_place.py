"""Where the servers' files are, and how the bare engine and the whole platform are started.

The only module of the benchmark that knows how an installation is laid out.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from serving_servers import Server, free_port, running, script

from llm_assets.applications import load_application
from llm_assets.base_model import BaseModelFile
from llm_assets.serving.gguf import prepare_base
from llm_assets.serving.spec import ModelServerSpec
from llm_assets.serving.status import ServingStatus
from llm_assets.training.base_model import prepare_hf


class Place(NamedTuple):
    """A work folder; the models in it stay from run to run, the platform's home does not."""

    folder: Path
    base_model: BaseModelFile

    @classmethod
    def make(cls, folder: Path) -> "Place":
        """Prepare a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        example = Path(__file__).parents[1] / "applications" / "helpdesk.yaml"
        return cls(folder.absolute(), load_application(example).base_model.resolve())

    @property
    def models(self) -> Path:
        """The base model in the formats of training and serving."""
        return self.folder / "base"

    @property
    def hf_model(self) -> Path:
        """The base model in float32, as Hugging Face loads it."""
        return prepare_hf(self.base_model, self.models)

    def engine_file(self) -> Path:
        """Return the base model as the engine loads it."""
        return prepare_base(self.base_model, self.models, quantization="Q8_0")

    def log(self, name: str) -> Path:
        """Return the log of a server."""
        return self.folder / "logs" / f"{name}.log"

    @contextmanager
    def engine(
        self,
        name: str,
        content: Mapping[str, Any],
        *,
        parameters: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Iterator[Server]:
        """Run the engine of an application, without anything before it."""
        application = load_application(self._write_application(name, content))
        assert application.serving is not None
        spec = ModelServerSpec(
            application=name,
            model_version=name,
            base_model=self.engine_file(),
            ready_file=self.folder / "never",
            serving=application.serving,
        )
        spec_file, port = self.folder / "engine.json", free_port()
        spec.write(spec_file)
        command = script("serving_with_engine.py", "--spec", spec_file, "--port", port)
        command += ["--set", *parameters]
        with running(
            "engine",
            command,
            port=port,
            log=self.log("engine"),
            environment=environment,
            keeps_connections=False,
        ) as server:
            yield server

    @contextmanager
    def platform(
        self, name: str, content: Mapping[str, Any], *, engine_url: str | None = None
    ) -> Iterator[tuple[Server, str]]:
        """Run gateway, model server, and API for one application; also give the model server's URL.

        With `engine_url` the model server has no engine of its own and asks that one.
        """
        home = self.folder / "home"
        shutil.rmtree(home, ignore_errors=True)
        # Made once for all homes: it takes seconds.
        prepared = self.engine_file()
        (home / "models" / "base" / prepared.parent.name).mkdir(parents=True)
        (home / "models" / "base" / prepared.parent.name / prepared.name).symlink_to(prepared)
        port = free_port()
        environment = {
            "LLM_ASSETS_HOME": str(home),
            "LLM_ASSETS_APPLICATIONS": str(self._write_application(name, content).parent),
            "LLM_ASSETS_HOST": "127.0.0.1",
            "LLM_ASSETS_PORT": str(port),
            "LLM_ASSETS_UI_PORT": str(free_port()),
            "DAGSTER_HOME": str(home / "dagster"),
        }
        if engine_url is not None:
            environment["SERVING_BENCHMARK_ENGINE"] = engine_url
            folders = (
                str(Path(__file__).parent / "serving_no_engine"),
                os.environ.get("PYTHONPATH"),
            )
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, folders))
        with running(
            "platform",
            script("serving_with_platform.py"),
            port=port,
            log=self.log("platform"),
            probe="/readyz",
            environment=environment,
        ) as server:
            endpoint = ServingStatus.read(home).applications[name]
            yield server, f"http://127.0.0.1:{endpoint.port}"

    def _write_application(self, name: str, content: Mapping[str, Any]) -> Path:
        path = self.folder / "applications" / name / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(dict(content)))
        return path
