"""The same routes for Kubernetes: a plan rendered as Gateway API `HTTPRoute`s, one an application.

A gateway of the Gateway API does not read bodies. The body-based router of its inference extension
(kubernetes-sigs/gateway-api-inference-extension, `pkg/bbr`) copies the body's `model` into the
header `X-Gateway-Model-Name`, on which the routes match. `sessionPersistence` is in the API's
experimental channel, and in older releases `retry` is as well.

What an `HTTPRoute` cannot say, and our own gateway does:

- A request that one arm failed is tried again, but not on the *other* arm: the gateway draws anew.
  A shed request cannot be told from a failed one by its status, so no 503 is tried again.
- Nobody answers politely when all arms fail: the client gets the error.
- Who asks is not read from the body. A client stays on its arm by a cookie that the gateway gives
  it, and those that keep none are split by request.
- A mirrored copy carries the headers of the original. A server that is a mirror must be told so
  (`variant: shadow` in its spec).
- What clients say in our own headers is not removed, only replaced where a route sets it.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import yaml

from llm_assets.routing import TOTAL_WEIGHT, ApplicationRoute, Arm, Mirror, RoutingPlan
from llm_assets.serving.envoy.routes import CHAT_PATH
from llm_assets.serving.headers import TRIAL, VARIANT

MODEL_NAME = "X-Gateway-Model-Name"

_ERRORS = [500, 502, 504]
# Kubernetes sends no request to a pod that is not ready, so there is less to wait for.
_WAIT = {"attempts": 9, "backoff": "100ms"}


def http_routes(
    plan: RoutingPlan,
    *,
    namespace: str,
    gateway: str,
    service_of: Callable[[str], str],
    port: int,
) -> list[dict[str, Any]]:
    """Return an `HTTPRoute` for each application of a plan.

    `gateway` is the name of the `Gateway`, `service_of` names the `Service` of a model version, all
    in `namespace`, and `port` is that of every service. An application that nothing serves has a
    route without backends: its clients get an error instead of another route's answer.
    """

    def backend(part: Arm | Mirror) -> dict[str, Any]:
        return {"name": service_of(part.model_version), "port": port}

    return [
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": route.application, "namespace": namespace},
            "spec": {"parentRefs": [{"name": gateway}], "rules": [_rule(route, backend)]},
        }
        for route in plan.routes
    ]


def as_yaml(routes: Sequence[dict[str, Any]]) -> str:
    """Return the routes as one file for `kubectl apply`."""
    return yaml.safe_dump_all(routes, sort_keys=False)


def _rule(
    route: ApplicationRoute, backend: Callable[[Arm | Mirror], dict[str, Any]]
) -> dict[str, Any]:
    header = {"type": "Exact", "name": MODEL_NAME, "value": route.application}
    match = {"path": {"type": "Exact", "value": CHAT_PATH}, "headers": [header]}
    rule: dict[str, Any] = {"matches": [match]}
    if not route.arms:
        return rule
    if route.mirror:
        share = {"numerator": route.mirror.weight, "denominator": TOTAL_WEIGHT}
        mirror = {"backendRef": backend(route.mirror), "fraction": share}
        rule["filters"] = [{"type": "RequestMirror", "requestMirror": mirror}]
    rule["backendRefs"] = [
        {**backend(arm), "weight": arm.weight, "filters": [_headers(route, arm)]}
        for arm in route.arms
    ]
    rule["timeouts"] = {"request": _duration(route.total_seconds)}
    rule["retry"] = _WAIT
    if route.try_seconds is not None:
        rule["timeouts"]["backendRequest"] = _duration(route.try_seconds)
        rule["retry"] = {"codes": _ERRORS, "attempts": len(route.arms)}
        if route.is_sticky:
            rule["sessionPersistence"] = {"type": "Cookie", "sessionName": _session(route)}
    return rule


def _headers(route: ApplicationRoute, arm: Arm) -> dict[str, Any]:
    headers = {VARIANT: arm.variant}
    if route.trial and len(route.arms) > 1:
        headers[TRIAL] = route.trial
    named = [{"name": name, "value": value} for name, value in headers.items()]
    return {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": named}}


def _session(route: ApplicationRoute) -> str:
    """Return a cookie's name that another rollout does not have, so that it draws anew."""
    return f"arm-{hashlib.sha256(route.salt.encode()).hexdigest()[:12]}"


def _duration(seconds: float) -> str:
    """Return a duration as GEP-2257 has it: whole numbers of at most five digits.

    >>> _duration(31), _duration(30.25)
    ('31s', '30s250ms')
    """
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole}s{milliseconds}ms" if milliseconds else f"{whole}s"
