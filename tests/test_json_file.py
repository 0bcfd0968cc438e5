from pathlib import Path

import pytest
from pydantic.dataclasses import dataclass

from llm_assets.errors import UserError
from llm_assets.json_file import read_json, write_json


@dataclass(frozen=True, kw_only=True)
class Desk:
    name: str
    size: int = 1


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    write_json(tmp_path / "desk.json", Desk(name="money", size=3))
    assert read_json(tmp_path / "desk.json", Desk) == Desk(name="money", size=3)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "Invalid JSON"),
        ("{}", "name: is missing"),
        ('{"name": "money", "size": "big"}', "size: Input should be a valid integer"),
    ],
)
def test_a_damaged_file_is_named_with_its_key(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "desk.json"
    path.write_text(content)
    with pytest.raises(UserError) as raised:
        read_json(path, Desk)
    assert str(raised.value).startswith(f"{path}: ")
    assert problem in str(raised.value)


def test_a_missing_file_says_what_that_means(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"desk\.json: no such desk"):
        read_json(tmp_path / "desk.json", Desk, missing="no such desk")
