"""The inference engine: llama.cpp's server inside this process, on a loopback port of its own.

One model version a process: several adapters in one engine share its prompt cache and answer for
each other. An unknown model name is answered by whatever is loaded, so validate in front. The
engine drops the connection after a stream although it promises keep-alive: do not pool
connections to it.

Each slot keeps the last prompt that it worked through, and a request takes the free slot whose
prompt begins most like its own. So every slot knows the system prompt after its first request, and
no cache beside the slots is needed for that.
"""

import importlib
import os
from dataclasses import dataclass
from typing import Any

from llm_assets.errors import UserError
from llm_assets.serving.spec import ModelServerSpec

# How many times a thread looks for its next work before it sleeps, microseconds in all. Threads
# that sleep at once halve the speed of a quiet machine; threads that spin for long, as they would
# by themselves, make answers forty times slower as soon as another process is busy.
_NUM_SPINS = 300


@dataclass(frozen=True)
class Engine:
    """A loaded model that answers at `url`; it lives as long as this object."""

    url: str
    server: Any


def import_engine() -> Any:
    """Return llama.cpp's module; it reads how its threads wait when it is loaded, only then."""
    os.environ.setdefault("GOMP_SPINCOUNT", str(_NUM_SPINS))
    # Compiled without type information, so not by an import statement.
    return importlib.import_module("xllamacpp")


def start_engine(spec: ModelServerSpec) -> Engine:
    """Load the model and start to answer; takes seconds.

    Raises:
        UserError: a file is missing or the engine cannot load it.
    """
    xllamacpp = import_engine()
    for path in (spec.base_model, spec.adapter):
        if path is not None and not path.is_file():
            raise UserError(f"{path}: no such file")
    serving = spec.serving
    params = xllamacpp.CommonParams()
    params.model.path = str(spec.base_model)
    params.model_alias = {spec.model_version}
    params.port = 0
    params.n_parallel = serving.parallel_requests
    params.n_ctx = serving.context_tokens * serving.parallel_requests
    params.kv_unified = False  # each slot keeps its own context: faster, and no crowding out
    params.cache_ram_mib = 0  # a store of whole prompts, for conversations that return much later
    params.cpuparams.n_threads = serving.threads
    params.cpuparams_batch.n_threads = serving.threads
    # Threads that spin between two answers take the cores from a training beside them.
    params.cpuparams.poll = params.cpuparams_batch.poll = 0
    params.verbosity = 1
    params.ui = False
    params.fit_params = False
    if spec.adapter is not None:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(spec.adapter), 1.0)]
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as error:
        raise UserError(f"{spec.base_model}: the engine cannot load it: {error}") from None
    return Engine(url=server.listening_address, server=server)
