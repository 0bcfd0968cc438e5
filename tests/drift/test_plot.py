import struct
from collections.abc import Sequence

import numpy as np
import pytest

from llm_assets.drift.plot import map_png
from tests.drift.vectors import topic


def vectors(num: int, centre: int = 0) -> np.ndarray:
    return topic(num, centre=centre, rng=np.random.default_rng(num))


def test_the_map_is_a_png_of_six_by_four_and_a_half_inches_that_is_the_same_every_time() -> None:
    pictures = {map_png(vectors(30), vectors(2500, centre=1), title="a day") for _ in range(2)}
    (picture,) = pictures
    assert picture.startswith(b"\x89PNG")
    assert struct.unpack(">II", picture[16:24]) == (600, 450)


def test_topics_change_the_map() -> None:
    current, baseline = vectors(60), vectors(90)
    pictures = {
        map_png(current, baseline, title="a day", topics=topics)
        for topics in ([], [("a", range(5))], [("b", range(5))], [("a", range(5, 20))])
    }
    assert len(pictures) == 4


@pytest.mark.parametrize(
    "topics",
    [
        [("one prompt", [3])],
        [("the same", [1, 2]), ("the same", [1, 2])],
        [(f"topic {row}", [row]) for row in range(9)],
        [("a name that goes on and on and on without an end", range(30))],
        [("Привет, łódź", [1]), ("ελληνικά", np.array([2, 4]))],
        # The font lacks them, and matplotlib would warn of each character.
        [("异常, 検索", [1]), ("ไทย", [2])],
    ],
)
def test_any_topics_can_be_drawn(topics: Sequence[tuple[str, Sequence[int]]]) -> None:
    assert map_png(vectors(30), vectors(40), title="a day", topics=topics)


def test_a_day_whose_every_prompt_is_in_a_topic_can_be_drawn() -> None:
    assert map_png(vectors(30), vectors(40), title="a day", topics=[("all", np.arange(30))])
