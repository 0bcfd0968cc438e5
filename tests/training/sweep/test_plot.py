from llm_assets.training.sweep.plot import sweep_png
from tests.training.sweep.sweeps import a_sweep


def test_the_picture_is_a_png_also_with_a_trial_that_could_not_be_trained() -> None:
    png = sweep_png(a_sweep())
    assert png.startswith(b"\x89PNG")
    assert len(png) > 5000
