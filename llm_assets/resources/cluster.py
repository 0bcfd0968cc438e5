"""The API of a Kubernetes cluster, as far as a training needs it.

It asks with plain manifests and answers with plain JSON, without the client's hundreds of model
classes. An API server that is being upgraded refuses for minutes what it does afterwards, so every
request is asked again for a while; a training that runs does not notice.
"""

import copy
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

from llm_assets.errors import UserError

Json = dict[str, Any]

# What an API server answers when it is overloaded, starting, or behind a proxy that lost it; 0 is
# how the client tells of a failed TLS handshake, 401 comes while tokens are renewed.
_PASSING = frozenset({0, 401, 408, 429, 500, 502, 503, 504})
_PATIENCE_SECONDS = 600.0
_TIMEOUTS_SECONDS = (5.0, 30.0)  # to connect, to read

_PATHS = {
    "Pod": "/api/v1/namespaces/{namespace}/pods",
    "Event": "/api/v1/namespaces/{namespace}/events",
    "Job": "/apis/batch/v1/namespaces/{namespace}/jobs",
    "TrainJob": "/apis/trainer.kubeflow.org/v1alpha1/namespaces/{namespace}/trainjobs",
    "TrainingRuntime": (
        "/apis/trainer.kubeflow.org/v1alpha1/namespaces/{namespace}/trainingruntimes"
    ),
    "ClusterTrainingRuntime": "/apis/trainer.kubeflow.org/v1alpha1/clustertrainingruntimes",
}


class ClusterError(Exception):
    """The cluster refused a request, or did not answer for long; `status` is HTTP's, if any."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Cluster:
    """One namespace of a cluster, found by the pod that this runs in, or else by KUBECONFIG.

    `say` hears when the cluster does not answer; then it is asked again every `pause_seconds`.

    Raises:
        UserError: there is no cluster.
    """

    def __init__(self, namespace: str, *, pause_seconds: float, say: Callable[[str], None]) -> None:
        import kubernetes

        configuration = kubernetes.client.Configuration()
        try:
            if "KUBERNETES_SERVICE_HOST" in os.environ:
                kubernetes.config.load_incluster_config(client_configuration=configuration)
            else:
                # The client itself reads the variable only once, when it is imported.
                kubernetes.config.load_kube_config(
                    os.environ.get("KUBECONFIG"), client_configuration=configuration
                )
        except kubernetes.config.ConfigException as error:
            raise UserError(f"no Kubernetes cluster is configured: {error}") from None
        # Requests are repeated here, where it is told.
        configuration.retries = False  # pyright: ignore[reportAttributeAccessIssue] - untyped
        self._api = kubernetes.client.ApiClient(configuration)
        self._namespace = namespace
        self._say = say
        self._pause_seconds = pause_seconds
        self._patience_seconds = _PATIENCE_SECONDS

    def with_patience(self, seconds: float) -> Self:
        """Return the same cluster, given up after another time."""
        other = copy.copy(self)
        other._patience_seconds = seconds
        return other

    def create(self, manifest: Mapping[str, Any]) -> Json:
        """Create an object and return what became of it; ClusterError 409: its name is taken."""
        return json.loads(self._patiently("POST", manifest["kind"], body=manifest))

    def find(self, kind: str, name: str) -> Json | None:
        """Return an object, None if there is none of that name."""
        try:
            return json.loads(self._patiently("GET", kind, f"/{name}"))
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    def select(self, kind: str, selector: str) -> list[Json]:
        """Return the objects with some labels, the oldest first.

        A kind that this cluster does not know, or does not show, has none; pods it must show.
        """
        query = [("labelSelector", selector)]
        try:
            found = json.loads(self._patiently("GET", kind, query=query))["items"]
        except ClusterError as error:
            if kind != "Pod" and error.status in (403, 404):
                return []
            raise
        return sorted(found, key=lambda one: one["metadata"]["creationTimestamp"])

    def delete(self, kind: str, name: str) -> None:
        """Have an object deleted with all that it owns; that there is none is as good."""
        # In the foreground a TrainJob stays until its pods are gone, so one can wait for that.
        options = {"propagationPolicy": "Foreground"} if kind == "TrainJob" else {}
        try:
            self._patiently("DELETE", kind, f"/{name}", body=options)
        except ClusterError as error:
            if error.status != 404:
                raise

    def log(self, pod: str, *, since_seconds: int | None) -> bytes:
        """Return what a pod has written, each line behind its time; it is asked for only once."""
        query = [("timestamps", "true")]
        if since_seconds is not None:
            query.append(("sinceSeconds", str(since_seconds)))
        return self._request("GET", "Pod", f"/{pod}/log", query=query)

    def warnings(self, pod: str) -> list[str]:
        """Return what the cluster's events say is wrong with a pod, the latest last."""
        query = [("fieldSelector", f"involvedObject.name={pod},type=Warning")]
        events = json.loads(self._patiently("GET", "Event", query=query))["items"]
        return [f"{event.get('reason')}: {event.get('message')}" for event in events]

    def _patiently(
        self,
        method: str,
        kind: str,
        name: str = "",
        *,
        query: list[tuple[str, str]] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> bytes:
        deadline = time.monotonic() + self._patience_seconds
        has_told = False
        while True:
            try:
                return self._request(method, kind, name, query=query, body=body)
            except ClusterError as error:
                if error.status not in _PASSING or time.monotonic() > deadline:
                    raise
                if not has_told:
                    self._say(f"the cluster's API does not answer, asking again: {error}")
                    has_told = True
            time.sleep(self._pause_seconds)

    def _request(
        self,
        method: str,
        kind: str,
        name: str = "",
        *,
        query: list[tuple[str, str]] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> bytes:
        import kubernetes
        import urllib3

        try:
            response: Any = self._api.call_api(
                _PATHS[kind].format(namespace=self._namespace) + name,
                method,
                query_params=query or [],
                header_params={"Accept": "application/json"},
                body=body,
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _preload_content=False,
                _request_timeout=_TIMEOUTS_SECONDS,
            )
            return response.data
        except kubernetes.client.ApiException as error:
            raise ClusterError(error.status or 0, _message(error)) from None
        except urllib3.exceptions.HTTPError as error:
            raise ClusterError(0, f"no answer ({type(error).__name__}: {error})") from None


def _message(error: Any) -> str:
    """Return what the API server says, which is in the body; the reason alone says little."""
    try:
        return json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        return str(error.reason)
