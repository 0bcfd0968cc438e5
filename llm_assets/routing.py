"""Who answers for which application: what a rollout wants, and the plan that a gateway follows.

A plan names shares and addresses only; how a gateway is told is the gateway's business
(`serving.envoy` for Envoy's files, `serving.http_route` for Kubernetes).
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from llm_assets.errors import UserError

# Weights are in hundredths of a per cent. Their sum never changes, so that a user whose hash fell
# into a share of 5 % falls into one of 20 % as well.
TOTAL_WEIGHT = 10_000

CHAMPION, CHALLENGER = "champion", "challenger"

_EXTRA_TRY_SECONDS = 1
# A server that was killed is waited for.
_EXTRA_SECONDS = 5


@dataclass(frozen=True, kw_only=True)
class Split:
    """Which model versions shall answer an application's users, and how many of them.

    `share` is the part of the users whom the challenger answers, `mirrored` the part of the
    requests that it is sent a copy of. The challenger's server runs at any share, also at 0.
    `trial` names the step of the rollout, and `salt` the rollout: who is among the first users of
    one challenger is not among the first of the next.
    """

    champion: str
    challenger: str | None = None
    share: float = 0.0
    mirrored: float = 0.0
    trial: str = ""
    salt: str = ""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A model version that answers a share of an application's users: its weight of 10,000."""

    variant: str
    model_version: str
    port: int
    weight: int = TOTAL_WEIGHT
    host: str = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """A model version that gets copies of requests, of which no answer reaches a user."""

    model_version: str
    port: int
    weight: int = TOTAL_WEIGHT
    host: str = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class ApplicationRoute:
    """The arms of one application; without any the gateway says that nothing serves it.

    The champion is the first arm. With two arms a request that one of them fails is tried on the
    other, before a byte of an answer reached the client. `timeout_seconds` is the model servers'
    own limit; the gateway's are longer, because theirs has the better message. `trial` is told to
    the arms, which then answer nothing from a cache.

    Raises:
        UserError: a weight is negative, they do not add up to 10,000, or a model version appears
            twice.
    """

    application: str
    arms: tuple[Arm, ...]
    timeout_seconds: float
    mirror: Mirror | None = None
    is_sticky: bool = True
    salt: str = ""
    trial: str = ""

    def __post_init__(self) -> None:
        for part in (*self.arms, *((self.mirror,) if self.mirror else ())):
            if not 0 <= part.weight <= TOTAL_WEIGHT:
                raise UserError(
                    f"{self.application}: weight of {part.model_version} must lie in 0 to "
                    f"{TOTAL_WEIGHT}, got {part.weight}"
                )
        total = sum(arm.weight for arm in self.arms)
        if self.arms and total != TOTAL_WEIGHT:
            raise UserError(
                f"{self.application}: weights must add up to {TOTAL_WEIGHT}, got {total}"
            )
        _refuse_twice(f"{self.application}: model version", (a.model_version for a in self.arms))

    @property
    def try_seconds(self) -> float | None:
        """How long an arm may take to begin its answer before the other is tried, if there is one.

        >>> arms = [Arm(variant=v, model_version=v, port=1, weight=5000) for v in ("one", "two")]
        >>> route = ApplicationRoute(application="helpdesk", arms=tuple(arms), timeout_seconds=30)
        >>> route.try_seconds, route.total_seconds
        (31, 93)
        """
        return self.timeout_seconds + _EXTRA_TRY_SECONDS if len(self.arms) > 1 else None

    @property
    def total_seconds(self) -> float:
        """How long all tries together may take, up to the last byte of the answer."""
        if self.try_seconds is None:
            return self.timeout_seconds + _EXTRA_SECONDS
        return self.try_seconds * (len(self.arms) + 1)  # at last, the gateway's own answer


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

    @property
    def mirrors(self) -> tuple[Mirror, ...]:
        """The mirrors of all applications."""
        return tuple(route.mirror for route in self.routes if route.mirror)


def route_of(
    application: str,
    split: Split,
    *,
    port_of: Callable[[str], int | None],
    timeout_seconds: float,
) -> ApplicationRoute:
    """Return the route that a split asks for; `port_of` tells where a version answers, if it does.

    A challenger that does not answer yet gets no share, and without its champion an application
    has no arms.

    >>> split = Split(champion="v1", challenger="v2", share=0.05)
    >>> route = route_of("helpdesk", split, port_of={"v1": 1, "v2": 2}.get, timeout_seconds=30)
    >>> [(arm.variant, arm.weight) for arm in route.arms]
    [('champion', 9500), ('challenger', 500)]
    """
    champion = port_of(split.champion)
    challenger = port_of(split.challenger) if split.challenger else None
    weight = weight_of(split.share) if challenger else 0
    arms: tuple[Arm, ...] = ()
    mirror = None
    if champion:
        arms = (
            Arm(
                variant=CHAMPION,
                model_version=split.champion,
                port=champion,
                weight=TOTAL_WEIGHT - weight,
            ),
        )
    if champion and challenger and split.challenger:
        version = split.challenger
        if weight:
            arms += (
                Arm(variant=CHALLENGER, model_version=version, port=challenger, weight=weight),
            )
        if split.mirrored:
            mirrored = weight_of(split.mirrored)
            mirror = Mirror(model_version=version, port=challenger, weight=mirrored)
    return ApplicationRoute(
        application=application,
        arms=arms,
        mirror=mirror,
        timeout_seconds=timeout_seconds,
        salt=split.salt,
        trial=trial_of(split.trial, split.salt) if split.trial and len(arms) > 1 else "",
    )


def trial_of(stage: str, rollout_id: str) -> str:
    """Return what the arms of a step are told, and what the gateway logs of its requests.

    It names the rollout as well: until the gateway follows a new one, it splits as the last one
    wanted it.
    """
    return f"{stage}/{rollout_id}"


def weight_of(share: float) -> int:
    """Return a share as a weight of 10,000; a share above 0 never becomes nothing.

    >>> weight_of(0.05), weight_of(0.0), weight_of(1e-9), weight_of(1.0)
    (500, 0, 1, 10000)
    """
    assert 0 <= share <= 1, share
    return max(round(share * TOTAL_WEIGHT), 1 if share > 0 else 0)


def _refuse_twice(what: str, names: Iterable[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise UserError(f"{what} {name!r} appears {count} times in the plan")
