"""The engine of a model server, bare: what `start_engine` starts, on a port of its own.

    python benchmarks/serving_with_engine.py --spec FILE --port N [--set NAME=VALUE ...]

`--set` changes the engine's parameters, those of llama.cpp by their names in xllamacpp.
"""

import argparse
import json
import signal
from pathlib import Path
from typing import Any

from llm_assets.serving.engine import import_engine, start_engine
from llm_assets.serving.spec import ModelServerSpec


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--spec", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    settings = {"port": options.port}
    settings |= {
        name: json.loads(value) for name, _, value in (s.partition("=") for s in options.set)
    }
    _change_parameters(settings)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    engine = start_engine(ModelServerSpec.read(options.spec))
    try:
        signal.pause()
    except KeyboardInterrupt:
        assert engine.server is not None  # kept alive until here


def _change_parameters(settings: dict[str, Any]) -> None:
    """Let the server that `start_engine` makes have other parameters than it was given."""
    xllamacpp = import_engine()
    server = xllamacpp.Server

    def changed(params: Any) -> Any:
        for name, value in settings.items():
            *path, last = name.split(".")
            owner = params
            for part in path:
                owner = getattr(owner, part)
            setattr(owner, last, value)
        return server(params)

    xllamacpp.Server = changed


if __name__ == "__main__":
    main()
