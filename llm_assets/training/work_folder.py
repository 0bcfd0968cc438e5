"""What a training leaves in its work folder until it has ended."""

import shutil
from pathlib import Path

CHECKPOINTS = "checkpoints"
BEST = "best.safetensors"
REFERENCE = "reference.safetensors"
STATES = "states-{key}.bin"


def clear(work_dir: Path) -> None:
    """Take it all away; the job, its rows, and its lock stay."""
    shutil.rmtree(work_dir / CHECKPOINTS, ignore_errors=True)
    for pattern in (BEST, REFERENCE, STATES.format(key="*")):
        for path in work_dir.glob(f"{pattern}*"):
            path.unlink()
