"""A file of trained tensors, read without torch: shapes at once, values one tensor at a time."""

from pathlib import Path

import numpy as np

from llm_assets.errors import UserError

_FLOATS = ("F32", "F16", "BF16")


class Tensors:
    """A safetensors file of floats.

    Attributes:
        path: where it lies.
        shapes: of each tensor, by its name.

    Raises:
        UserError: it is no safetensors file, or one of its tensors holds no floats.
    """

    def __init__(self, path: Path) -> None:
        import ml_dtypes  # noqa: F401  # NumPy learns from it what bfloat16 is
        from safetensors import SafetensorError, safe_open

        self.path = path
        try:
            self._file = safe_open(path, framework="np")
        except FileNotFoundError:
            raise UserError(f"{path}: no such file") from None
        except SafetensorError as error:
            raise UserError(f"{path}: not a safetensors file: {error}") from None
        self.shapes: dict[str, tuple[int, ...]] = {}
        for name in sorted(self._file.keys()):
            part = self._file.get_slice(name)
            if part.get_dtype() not in _FLOATS:
                raise UserError(
                    f"{path}: {name}: type must be one of {', '.join(_FLOATS)}, "
                    f"got {part.get_dtype()}"
                )
            self.shapes[name] = tuple(part.get_shape())

    def read(self, name: str) -> np.ndarray:
        """Return the values of a tensor in float32.

        Raises:
            UserError: one of them is no number, as after a training that went astray.
        """
        values = self._file.get_tensor(name).astype(np.float32)
        if not np.isfinite(values).all():
            raise UserError(f"{self.path}: {name}: all values must be finite")
        return values
