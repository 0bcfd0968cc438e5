"""The registry's split of users, rendered for a gateway of Kubernetes."""

from typing import Any

from llm_assets.installation import Installation
from llm_assets.routing import RoutingPlan, route_of
from llm_assets.serving.http_route import http_routes


def routes(
    installation: Installation, *, namespace: str, gateway: str, port: int
) -> list[dict[str, Any]]:
    """Return an `HTTPRoute` for each application that is served and has a champion.

    A version's `Service` has the version's name, which is a valid one, and answers at `port`.
    """
    planned = []
    for name, application in installation.applications().items():
        split = installation.registry.entry(name).split
        if split is not None and application.serving is not None:
            seconds = application.serving.timeout_seconds
            route = route_of(
                name,
                split,
                port_of=lambda _: port,
                timeout_seconds=seconds,
            )
            planned.append(route)
    return http_routes(
        RoutingPlan(routes=tuple(planned)),
        namespace=namespace,
        gateway=gateway,
        service_of=lambda version: version,
        port=port,
    )
