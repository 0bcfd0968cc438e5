"""What a person is told of a training that a cluster did not finish, and what may help."""

from collections.abc import Iterable

from llm_assets.training.config import TrainingConfig
from llm_assets.training.kubernetes.config import KubernetesConfig
from llm_assets.training.kubernetes.state import Stage, State

# How the last line of a worker begins by which it says why it ended.
REFUSAL = "error: "
_FAILURE = "failed: "
_OUT_OF_MEMORY = "ran out of memory"
_KILLED = 137


def last_word(lines: Iterable[str]) -> str:
    """Return the last line in which a worker says why it ended, or the last line of all.

    >>> last_word(["step 1", "error: no rows", "mpirun has exited"])
    'error: no rows'
    """
    own = [line for line in lines if line.startswith((REFUSAL, _FAILURE))]
    return (own or [*lines] or [""])[-1]


def is_refusal(state: State, said: str) -> bool:
    """Return whether the user has to act before another try has any use.

    `mpirun` and Python themselves exit with 1 as well, so the line decides with the code.
    """
    return state.exit_code == 1 and said.startswith(REFUSAL)


def explain(
    state: State, config: KubernetesConfig, training: TrainingConfig, *, name: str, said: str
) -> str:
    """Return why the workload of that name ended and what to do; `said` is its last word."""
    if is_refusal(state, said):
        return said.removeprefix(REFUSAL)
    because = f": {state.reason}" if state.reason else ""
    match state.stage:
        case Stage.OUT_OF_MEMORY:
            return f"{name} was killed for its memory (OOMKilled). {_less_memory(config, training)}"
        case Stage.TOO_LONG:
            return (
                f"{name} did not finish in active_deadline_seconds "
                f"({config.active_deadline_seconds}). Another try goes on from its last checkpoint"
            )
        case Stage.NOT_STARTED:
            return f"{name} did not start{because}"
        case Stage.LOST:
            return (
                f"{name} was taken away more than max_restarts ({config.max_restarts}) times, at "
                f"last{because}. Another try goes on from its last checkpoint"
            )
        case _:
            code = "" if state.exit_code is None else f" with exit code {state.exit_code}"
            text = f"{name} failed{code}: {said.removeprefix(_FAILURE) or state.reason}"
            if state.exit_code == _KILLED or _OUT_OF_MEMORY in said:
                text += f". Was it its memory? {_less_memory(config, training)}"
            return text


def _less_memory(config: KubernetesConfig, training: TrainingConfig) -> str:
    limit = config.resources.limits.memory or "none"
    return (
        "Lower training.compute.per_device_train_batch_size "
        f"({training.compute.per_device_train_batch_size}) or training.max_length "
        f"({training.max_length}), or raise the memory limit, resources.limits.memory ({limit})"
    )
