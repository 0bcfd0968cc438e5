"""What a container runs in place of the worker: quick, and it does what a test says.

It speaks Pipes, counts its starts in the work folder, and goes on from the step that it wrote
there, as the worker does. `behaviour` in the work folder has a line for every start:

    finish          train the steps that are left and write the output
    wait            train one step, then wait to be stopped; a checkpoint is written on SIGTERM
    exit CODE TEXT  write the text to standard error and exit

Of several ranks the first does it; the others write what they were given, and end.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from dagster_pipes import open_dagster_pipes

_NUM_STEPS = 3


def main() -> None:
    """Do what the line of this start says."""
    job = json.loads(Path(sys.argv[-1]).read_text())
    work_dir = Path(job["work_dir"])
    work_dir.mkdir(exist_ok=True)
    rank = os.environ.get("OMPI_COMM_WORLD_RANK", "0")
    (work_dir / f"rank{rank}.json").write_text(json.dumps(dict(os.environ)))
    if rank != "0":
        return
    with (work_dir / "starts").open("a") as starts:
        starts.write(f"{os.getpid()}\n")
    num_starts = len((work_dir / "starts").read_text().splitlines())
    behaviours = (work_dir / "behaviour").read_text().splitlines()
    behaviour = behaviours[min(num_starts, len(behaviours)) - 1].split(maxsplit=2)
    with open_dagster_pipes() as pipes:
        if behaviour[0] == "exit":
            print(behaviour[2], file=sys.stderr, flush=True)
            os._exit(int(behaviour[1]))
        checkpoint = work_dir / "step"
        first = int(checkpoint.read_text()) if checkpoint.exists() else 1
        for step in range(first, _NUM_STEPS + 1):
            print(f"step {step} begins", flush=True)
            pipes.log.info(f"step {step}")
            pipes.report_custom_message({"step": step, "token": os.environ.get("TOKEN")})
            checkpoint.write_text(str(step + 1))
            if behaviour[0] == "wait":
                signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
                time.sleep(60)
    Path(job["output_dir"]).mkdir(exist_ok=True)


if __name__ == "__main__":
    main()
