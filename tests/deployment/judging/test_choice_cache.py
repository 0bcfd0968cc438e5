from pathlib import Path

from llm_assets.deployment.judging.choice_cache import ChoiceCache
from llm_assets.deployment.judging.question import Choice


def test_choices_outlive_the_process(tmp_path: Path) -> None:
    cache = ChoiceCache(tmp_path / "judge")
    cache["k1"], cache["k2"] = Choice.A, None
    again = ChoiceCache(tmp_path / "judge")
    assert (again["k1"], again["k2"], "k3" in again) == (Choice.A, None, False)


def test_a_torn_last_line_costs_no_other_choice(tmp_path: Path) -> None:
    ChoiceCache(tmp_path)["k1"] = Choice.A
    ChoiceCache(tmp_path)["k2"] = Choice.B
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    ChoiceCache(tmp_path)["k3"] = Choice.TIE
    again = ChoiceCache(tmp_path)
    assert (again["k1"], "k2" in again, again["k3"]) == (Choice.A, False, Choice.TIE)


def test_lines_of_something_else_are_passed_over(tmp_path: Path) -> None:
    ChoiceCache(tmp_path)["k1"] = Choice.A
    (path,) = tmp_path.iterdir()
    path.write_bytes(
        b'[]\n7\n{"key": "k2"}\n{"key": "k3", "choice": "C"}\n\xff\n' + path.read_bytes()
    )
    again = ChoiceCache(tmp_path)
    assert again["k1"] is Choice.A
    assert not {"k2", "k3"} & {key for key in ("k2", "k3") if key in again}


def test_a_place_that_cannot_be_written_is_told_and_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "judge").write_text("a file where the folder should be")
    cache = ChoiceCache(tmp_path / "judge")
    cache["k1"] = Choice.A
    assert cache["k1"] is Choice.A
    assert "cannot be" in (cache.problem or "")
