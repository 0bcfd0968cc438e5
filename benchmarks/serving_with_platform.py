"""The whole path of a request: `llm-assets up` without Dagster, whose daemon has its own load.

    python benchmarks/serving_with_platform.py

Gateway, model servers, API, and the loop that leads them are those of users, with the settings of
the environment.
"""

import signal
import threading

from llm_assets.installation import Installation
from llm_assets.settings import Settings
from llm_assets.up import serve


def main() -> None:
    """Serve until told to stop."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    serve(Installation(Settings.from_environment()), stop)


if __name__ == "__main__":
    main()
