"""What a model server needs of xllamacpp, with no engine: another server answers in its place.

A process with this folder on its PYTHONPATH finds this module first. The other server's address is
in the environment.
"""

import os
from types import SimpleNamespace
from typing import Any


class CommonParams(SimpleNamespace):
    """Takes any parameter."""

    def __init__(self) -> None:
        super().__init__(
            model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace()
        )


class Server:
    """Says where answers come from."""

    def __init__(self, params: Any) -> None:
        del params
        self.listening_address = os.environ["SERVING_BENCHMARK_ENGINE"]
