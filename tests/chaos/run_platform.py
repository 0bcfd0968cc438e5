"""`llm-assets up` without Dagster, with model servers that may be bad.

python -m tests.chaos.run_platform
"""

import signal
import sys
import threading

from llm_assets.errors import UserError
from llm_assets.installation import Installation
from llm_assets.settings import Settings
from llm_assets.up import serve
from tests.chaos.deaths import dying_at_transitions

_PROGRAM = (sys.executable, "-m", "tests.chaos.bad_model")


def main() -> None:
    """Serve the installation that the environment describes until told to stop."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    dying_at_transitions()
    try:
        serve(Installation(Settings.from_environment()), stop, program=_PROGRAM)
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
