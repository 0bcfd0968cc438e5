"""Which model version answers for which application: the plan that the gateway is made to follow.

The plan names weights and addresses only; how a gateway is told is the gateway's business
(`serving.envoy`).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from llm_assets.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A model version that takes a share of an application's requests.

    The share is its weight over the sum of the application's weights.
    """

    variant: str
    model_version: str
    port: int
    weight: int = 100
    host: str = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class ApplicationRoute:
    """The arms of one application; without any the gateway says that nothing serves it.

    `timeout_seconds` is how long the gateway waits for a whole answer; the model server's own
    limit is shorter and has the better message.

    Raises:
        UserError: a weight is negative, all are 0, or a model version appears twice.
    """

    application: str
    arms: tuple[Arm, ...]
    timeout_seconds: float

    def __post_init__(self) -> None:
        for arm in self.arms:
            if arm.weight < 0:
                raise UserError(
                    f"{self.application}: weight of {arm.model_version} must not be negative, "
                    f"got {arm.weight}"
                )
        if self.arms and not any(arm.weight for arm in self.arms):
            raise UserError(f"{self.application}: at least one weight must be positive, all are 0")
        _refuse_twice(f"{self.application}: model version", (a.model_version for a in self.arms))


@dataclass(frozen=True, kw_only=True)
class RoutingPlan:
    """The routes of all applications.

    Raises:
        UserError: an application appears twice.
    """

    routes: tuple[ApplicationRoute, ...]

    def __post_init__(self) -> None:
        _refuse_twice("application", (route.application for route in self.routes))

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms of all applications."""
        return tuple(arm for route in self.routes for arm in route.arms)


def _refuse_twice(what: str, names: Iterable[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise UserError(f"{what} {name!r} appears {count} times in the plan")
