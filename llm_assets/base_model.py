"""The base model of an application: which file it is, where it lies, and its hash."""

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import pydantic

from llm_assets.config import Config
from llm_assets.errors import UserError
from llm_assets.storage import sha256_of


class BaseModelConfig(Config):
    """A GGUF file, either at a path of its own or inside an installed package.

    The format is GGUF because that is what the small models in packages come in; training
    dequantizes it (see `training.base_model`), serving requantizes it (see `serving.gguf`).
    """

    file: str = pydantic.Field(min_length=1)
    package: str | None = None

    def resolve(self) -> "BaseModelFile":
        """Find the file.

        Raises:
            UserError: the package is not installed or the file does not exist.
        """
        folder = Path()
        if self.package is not None:
            spec = importlib.util.find_spec(self.package)
            if spec is None or spec.origin is None:
                raise UserError(f"base_model.package: {self.package!r} is not installed")
            folder = Path(spec.origin).parent
        path = (folder / self.file).absolute()
        if not path.is_file():
            raise UserError(f"base_model.file: no such file: {path}")
        return BaseModelFile(path)


@dataclass(frozen=True)
class BaseModelFile:
    """A base model on disk."""

    path: Path

    @functools.cached_property
    def sha256(self) -> str:
        """The SHA-256 of the file: the identity of the base model in every manifest."""
        return sha256_of(self.path)
