import pytest

from llm_assets.training.config import TrainingConfig
from llm_assets.training.kubernetes.explain import explain, is_refusal, last_word
from llm_assets.training.kubernetes.state import Stage, State
from tests.training.kubernetes.manifests import a_config


def told(state: State, said: str = "") -> str:
    return explain(state, a_config(), TrainingConfig(), name="train-x", said=said)


def test_a_refusal_is_told_as_the_worker_says_it() -> None:
    state = State(Stage.FAILED, "Error", 1)
    assert is_refusal(state, "error: no rows")
    assert told(state, "error: no rows") == "no rows"


@pytest.mark.parametrize(
    ("code", "said"), [(1, "Traceback"), (3, "error: no rows"), (255, "ssh: no route")]
)
def test_exit_code_1_alone_is_no_refusal(code: int, said: str) -> None:
    assert not is_refusal(State(Stage.FAILED, "Error", code), said)


def test_the_last_word_is_the_worker_s_own_if_it_has_one() -> None:
    lines = ["step 1", "failed: rank 0 died", "mpirun noticed that a process exited"]
    assert last_word(lines) == "failed: rank 0 died"
    assert last_word(["step 1", "ssh: no route to host"]) == "ssh: no route to host"
    assert last_word([]) == ""


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (State(Stage.OUT_OF_MEMORY, "OOMKilled", 137), ""),
        (State(Stage.FAILED, "Error", 137), ""),
        (
            State(Stage.FAILED, "Error", 3),
            "failed: rank 1 was ended: the machine ran out of memory",
        ),
    ],
)
def test_whatever_may_be_memory_says_what_to_lower_and_the_limit(state: State, said: str) -> None:
    text = told(state, said)
    assert "training.compute.per_device_train_batch_size (16)" in text
    assert "training.max_length (512)" in text
    assert "resources.limits.memory (8Gi)" in text


def test_a_failure_tells_the_exit_code_and_the_last_word() -> None:
    text = told(State(Stage.FAILED, "Error", 3), "failed: rank 0 was ended by SIGSEGV")
    assert text == "train-x failed with exit code 3: rank 0 was ended by SIGSEGV"
    assert told(State(Stage.FAILED, "StartError: no python", 128)).endswith(
        ": StartError: no python"
    )


@pytest.mark.parametrize(
    ("stage", "part"),
    [
        (Stage.TOO_LONG, "active_deadline_seconds (86400)"),
        (Stage.NOT_STARTED, "train-x did not start: why"),
        (Stage.LOST, "max_restarts (5) times, at last: why"),
    ],
)
def test_other_ends_name_the_key_that_bounds_them(stage: Stage, part: str) -> None:
    text = told(State(stage, "why"))
    assert part in text
    assert "\n" not in text
