"""Envoy's routes: which request goes to which arm, how long it may take, and who is tried next.

Requests are routed on the `model` of their JSON body. Whatever is no chat request for a known
application goes to the API process, which answers it or says what is wrong.
"""

from typing import Any

from llm_assets.records import SHADOW_VARIANT
from llm_assets.routing import TOTAL_WEIGHT, ApplicationRoute, Arm, Mirror, RoutingPlan
from llm_assets.serving.envoy.clusters import arm_name, mirror_name
from llm_assets.serving.envoy.files import API, TYPE
from llm_assets.serving.envoy.stickiness import METADATA, hash_policy, salted
from llm_assets.serving.headers import TRIAL, USER, VARIANT

CHAT_PATH = "/v1/chat/completions"

_API_TIMEOUT_SECONDS = 60
# A model server that was killed is back within 3 s. A pause is drawn at random from 0 to its
# length, so only the sum of many short ones is nearly the same each time.
_NUM_TRIES = 28
_PAUSES = {"base_interval": "0.1s", "max_interval": "0.25s"}


def route_table(plan: RoutingPlan) -> list[Any]:
    """Return which request goes where."""
    retry = {
        "retry_on": "connect-failure,refused-stream",  # nothing was sent yet
        "num_retries": _NUM_TRIES,
        "retry_back_off": _PAUSES,
    }
    api = {"cluster": API, "timeout": f"{_API_TIMEOUT_SECONDS}s", "retry_policy": retry}
    host = {
        "name": "all",
        "domains": ["*"],
        "include_request_attempt_count": True,  # for the log of attempts
        "routes": [
            *(_application_route(route) for route in plan.routes),
            {"match": {"prefix": "/"}, "name": API, "route": api},
        ],
    }
    kind = TYPE + "envoy.config.route.v3.RouteConfiguration"
    # Not validated against the clusters: those are published, and known to be taken, before.
    return [{"@type": kind, "name": "gateway", "virtual_hosts": [host]}]


def _application_route(route: ApplicationRoute) -> dict[str, Any]:
    matched = {
        "path": CHAT_PATH,
        "dynamic_metadata": [
            {
                "filter": METADATA,
                "path": [{"key": "model"}],
                "value": {"string_match": {"exact": route.application}},
            }
        ],
    }
    rendered: dict[str, Any] = {"match": matched, "name": route.application}
    if not route.arms:
        message = f"no model version serves application '{route.application}' yet"
        reply = {"status": 503, "body": {"inline_string": message}}
        return {**rendered, "direct_response": reply}
    action = _tried_again(route) if len(route.arms) > 1 else _waited_for(route)
    if route.mirror:
        action["request_mirror_policies"] = [_mirrored(route.mirror)]
    rendered["request_headers_to_remove"] = [USER]
    if len(route.arms) > 1:
        if route.trial:
            rendered["request_headers_to_add"] = [_header(TRIAL, route.trial)]
        if route.is_sticky:
            rendered["metadata"] = salted(route.salt)
    return {**rendered, "route": action}


def _waited_for(route: ApplicationRoute) -> dict[str, Any]:
    """Return the action of a single arm: until its server is back, then the API answers for it.

    What the server answers goes to the client as it is, also an error.
    """
    return {
        "weighted_clusters": {"clusters": [_weighted(route, arm) for arm in route.arms]},
        "timeout": _duration(route.total_seconds),
        "retry_policy": {
            "retry_on": "connect-failure,refused-stream,reset",
            "num_retries": _NUM_TRIES,
            "retry_back_off": _PAUSES,
            "retry_priority": _next_after(_NUM_TRIES),
        },
    }


def _tried_again(route: ApplicationRoute) -> dict[str, Any]:
    """Return the action of several arms: what one fails, the next is tried with, at last the API.

    The limit of a try ends with the first byte of an answer: a stream may take all of the time.
    Envoy does not try again what is marked as shed (`x-envoy-ratelimited`).
    """
    # The newest arm stands first, and the weights add up to the same number always: whose hash
    # falls into a small share of it falls into a larger one as well.
    arms = [_weighted(route, arm) for arm in reversed(route.arms)]
    split: dict[str, Any] = {"clusters": arms}
    action: dict[str, Any] = {"weighted_clusters": split}
    if route.is_sticky:
        split["use_hash_policy"] = True
        action["hash_policy"] = hash_policy()
    assert route.try_seconds is not None
    action["timeout"] = _duration(route.total_seconds)
    action["retry_policy"] = {
        "retry_on": "5xx,reset,connect-failure,refused-stream",
        "num_retries": len(arms),
        "per_try_timeout": _duration(route.try_seconds),
        "retry_priority": _next_after(1),
    }
    return action


def _next_after(num_tries: int) -> dict[str, Any]:
    """Return the choice that goes on to the next backend of an arm after so many tries."""
    kind = "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"
    return {
        "name": "envoy.retry_priorities.previous_priorities",
        "typed_config": {"@type": TYPE + kind, "update_frequency": num_tries},
    }


def _weighted(route: ApplicationRoute, arm: Arm) -> dict[str, Any]:
    return {
        "name": arm_name(route, arm),
        "weight": arm.weight,
        "request_headers_to_add": [_header(VARIANT, arm.variant)],
    }


def _mirrored(mirror: Mirror) -> dict[str, Any]:
    assert TOTAL_WEIGHT == 10_000
    share = {"numerator": mirror.weight, "denominator": "TEN_THOUSAND"}
    return {
        "cluster": mirror_name(mirror),
        "runtime_fraction": {"default_value": share},
        "disable_shadow_host_suffix_append": True,
        "request_headers_mutations": [{"append": _header(VARIANT, SHADOW_VARIANT)}],
    }


def _duration(seconds: float) -> str:
    return f"{round(seconds, 3):.10g}s"


def _header(name: str, value: str) -> dict[str, Any]:
    return {
        "header": {"key": name, "value": value},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }
