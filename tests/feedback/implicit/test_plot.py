import numpy as np
import pytest

from llm_assets.feedback.implicit.calibration import Calibration
from llm_assets.feedback.implicit.plot import similarity_png


@pytest.mark.parametrize("num_topic_pairs", [0, 50])
def test_the_picture_is_a_png_also_without_pairs_of_one_topic(num_topic_pairs: int) -> None:
    rng = np.random.default_rng(1)
    calibration = Calibration(0.7, rng.uniform(-0.9, 0.6, 500), rng.uniform(0, 1, num_topic_pairs))
    png = similarity_png(calibration, rng.uniform(0.2, 1.0, 20).tolist(), title="helpdesk")
    assert png.startswith(b"\x89PNG")
    assert len(png) > 5000
