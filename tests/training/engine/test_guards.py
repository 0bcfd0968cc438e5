import math

import pytest

from llm_assets.errors import UserError
from llm_assets.training.engine.guards import require_finite, require_movement


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_a_number_is_refused(loss: float):
    with pytest.raises(UserError, match=r"the loss of step 3 is \w+: lower training.learning_rate"):
        require_finite(loss, step=3)
    with pytest.raises(UserError, match="after the training: lower"):
        require_movement(1.0, loss)


def test_a_loss_that_never_moves_is_refused():
    with pytest.raises(UserError, match=r"the loss has not moved: 2\.5 before"):
        require_movement(2.5, 2.5001)


@pytest.mark.parametrize("after", [2.4, 2.6])
def test_a_loss_that_moved_is_accepted_whichever_way(after: float):
    require_movement(2.5, after)
