"""Programs that a container has and this machine has not: a folder of stand-ins for the PATH."""

import sys
import textwrap
from pathlib import Path

from tests.kubernetes import mpirun

# In isolated mode, so that no module beside the script hides one of the standard library.
_MPIRUN = f"""exec {sys.executable} -I {Path(mpirun.__file__).resolve()} "$@" """

# A node's ssh server does nothing here but live, since all ranks are started on the launcher.
_SSHD = "exec sleep infinity"

# The names of a TrainJob's pods are known to each other; this machine knows none of them.
_GETENT = """
    if [ "$1" = hosts ] && grep -qsF "$2 " "$OMPI_MCA_orte_default_hostfile"; then
      echo "127.0.0.1 $2"
    else
      exec /usr/bin/getent "$@"
    fi
"""


def write_programs(folder: Path) -> None:
    """Write the stand-ins into a new folder."""
    folder.mkdir(parents=True)
    for name, script in {"mpirun": _MPIRUN, "sshd": _SSHD, "getent": _GETENT}.items():
        path = folder / name
        path.write_text(f"#!/bin/sh\n{textwrap.dedent(script)}\n")
        path.chmod(0o755)
