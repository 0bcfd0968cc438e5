import pytest

from llm_assets.training.progress import StepReport, open_reporter


def _report(step: int) -> StepReport:
    return StepReport(
        step=step,
        max_steps=4,
        loss=1.5,
        learning_rate=2e-3,
        tokens_per_second=812.4,
        memory_bytes=3 * 2**29,
        seconds_left=90,
    )


def test_a_step_is_one_line_with_its_numbers(capsys: pytest.CaptureFixture[str]):
    with open_reporter() as reporter:
        reporter.step(_report(1))
        reporter.step(_report(2))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "step 1/4  loss 1.5000  learning rate 2.00e-03  812 tokens/s  1.50 GiB  1 min 30 s left"
    )
    assert len(lines) == 2


def test_on_a_terminal_a_bar_is_written_over_itself(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with open_reporter() as reporter:
        reporter.step(_report(2))
        reporter.step(_report(4))
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert "\r[##########..........] step 2/4" in out
