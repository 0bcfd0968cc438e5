"""The process that trains: `python -m llm_assets.training.worker --job job.json`.

Started by a person or an orchestrator it supervises the processes that compute; started by a
launcher of several (torchrun, mpirun, or that supervisor), which says so in the environment, it is
one of them. It reports through Dagster Pipes when Dagster started it and to its terminal otherwise,
and it ends with a whole output directory or none; a job that was interrupted goes on from its last
checkpoint.

Exit codes: 0 it is trained; 1 the user must act, and one line says how; 3 it died and may be tried
again; 128 and a signal's number, it was told to stop.
"""

import argparse
import os
import signal
import sys
import traceback
from pathlib import Path

from dagster_pipes import PipesEnvVarParamsLoader

from llm_assets.errors import UserError
from llm_assets.training.job import TrainingJob
from llm_assets.training.launch import worker_environment
from llm_assets.training.processes import SUPERVISOR_VARIABLE, Rank, die_with_parent
from llm_assets.training.progress import open_reporter
from llm_assets.training.supervisor import ProcessesDied, supervise


def main() -> None:
    """Train what a job file says."""
    parser = argparse.ArgumentParser(prog="llm_assets.training.worker", description=__doc__)
    parser.add_argument("--job", type=Path, required=True, help="the job file")
    job_file = parser.parse_args().job
    try:
        rank = Rank.of(os.environ)
        if rank is None:
            _supervise(job_file)
        else:
            _compute(job_file, rank)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except ProcessesDied as error:
        print(f"failed: {error}", file=sys.stderr)
        sys.exit(3)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception:  # noqa: BLE001 - whatever it was, it is told apart from a refusal
        traceback.print_exc()
        sys.exit(3)


def _supervise(job_file: Path) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # A worker started in the background of a shell would inherit that it ignores Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if PipesEnvVarParamsLoader().is_dagster_pipes_process():
        die_with_parent(signal.SIGTERM, parent=os.getppid())
    with open_reporter() as reporter:
        supervise(TrainingJob.read(job_file), job_file, reporter)


def _compute(job_file: Path, rank: Rank) -> None:
    if SUPERVISOR_VARIABLE in os.environ:
        die_with_parent(signal.SIGKILL, parent=int(os.environ[SUPERVISOR_VARIABLE]))
    job = TrainingJob.read(job_file)
    os.environ.update(worker_environment(job.config.compute))
    with open_reporter(is_first=rank.rank == 0) as reporter:
        from llm_assets.training.engine.deepspeed_engine import leave_group
        from llm_assets.training.engine.run import run

        run(job, rank, reporter)
        leave_group()


if __name__ == "__main__":
    main()
