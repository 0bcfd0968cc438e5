"""A platform that dies at the transitions of a rollout, once just before and once just after each.

The folder that the environment names holds a file for each death there was.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from llm_assets.deployment.registry import Registry, Rollout

# The environment variable with the path of the folder; without it nobody dies.
DEATHS = "CHAOS_DEATHS"


def dying_at_transitions() -> None:
    """Let this process die at the next transition that it has not died at before."""
    if DEATHS not in os.environ:
        return
    folder, move = Path(os.environ[DEATHS]), Registry.move

    def deadly_move(
        registry: Registry,
        application: str,
        before: Rollout,
        after: Rollout | None,
        *,
        prepare: Callable[[], object],
        **options: Any,
    ) -> bool:
        place = f"{before.rollout_id}-{before.position}-{options['action']}"

        def deadly_prepare() -> None:
            prepare()
            _die_once(folder / f"{place}-before")

        is_moved = move(registry, application, before, after, prepare=deadly_prepare, **options)
        _die_once(folder / f"{place}-after")
        return is_moved

    mock.patch.object(Registry, "move", deadly_move).start()


def _die_once(mark: Path) -> None:
    if not mark.exists():
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
