"""The versions of the libraries that decide what comes out of a training."""

import importlib.metadata

_LIBRARIES = ("torch", "transformers", "peft", "deepspeed", "tokenizers", "safetensors", "numpy")


def library_versions() -> dict[str, str]:
    """Return the version of each library."""
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}
