import numpy as np

from llm_assets.drift.plot import map_png
from tests.drift.vectors import topic


def test_the_map_is_a_png() -> None:
    rng = np.random.default_rng(0)
    picture = map_png(topic(30, centre=0, rng=rng), topic(2500, centre=1, rng=rng), title="a day")
    assert picture.startswith(b"\x89PNG")
