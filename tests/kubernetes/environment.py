"""A container's environment and command line, put together as the kubelet does it."""

import base64
import re
from collections.abc import Mapping
from typing import Any

from tests.kubernetes.objects import CONFIG_MAP, SECRET, ApiError, Kind, Object, Objects

_REFERENCE = re.compile(r"\$(?:\$|\((?P<name>[-._A-Za-z][-._A-Za-z0-9]*)\))")
_MAP_FIELD = re.compile(r"metadata\.(?P<map>labels|annotations)\['(?P<key>[^']+)'\]")


class ConfigError(Exception):
    """The reason why a container cannot be made yet: CreateContainerConfigError."""


def environment(pod: Object, container: Object, objects: Objects) -> dict[str, str]:
    """Return the variables that a container's `env` names."""
    variables: dict[str, str] = {}
    for entry in container.get("env") or []:
        source = entry.get("valueFrom")
        value = _from_source(pod, source, objects) if source else entry.get("value") or ""
        if value is not None:
            variables[entry["name"]] = value if source else expand(value, variables)
    return variables


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)`; what is unknown stays as it is, and `$$` is a dollar sign."""

    def replacement(found: re.Match[str]) -> str:
        return "$" if found["name"] is None else variables.get(found["name"], found[0])

    return _REFERENCE.sub(replacement, text)


def command(container: Object, variables: Mapping[str, str]) -> list[str]:
    """Return a container's command and its arguments, expanded."""
    words = [*(container.get("command") or []), *(container.get("args") or [])]
    return [expand(word, variables) for word in words]


def _from_source(pod: Object, source: dict[str, Any], objects: Objects) -> str | None:
    if reference := source.get("secretKeyRef"):
        value = _value(SECRET, pod, reference, objects)
        return value and base64.b64decode(value).decode()
    if reference := source.get("configMapKeyRef"):
        return _value(CONFIG_MAP, pod, reference, objects)
    return _field(pod, source["fieldRef"]["fieldPath"])


def _value(kind: Kind, pod: Object, reference: dict[str, Any], objects: Objects) -> str | None:
    namespace, name, key = pod["metadata"]["namespace"], reference["name"], reference["key"]
    try:
        return objects.get(kind, namespace, name)["data"][key]
    except (ApiError, KeyError) as error:
        if reference.get("optional"):
            return None
        if isinstance(error, ApiError):
            raise ConfigError(f'{kind.name.lower()} "{name}" not found') from error
        message = f"couldn't find key {key} in {kind.name} {namespace}/{name}"
        raise ConfigError(message) from error


def _field(pod: Object, path: str) -> str:
    if found := _MAP_FIELD.fullmatch(path):
        return (pod["metadata"].get(found["map"]) or {}).get(found["key"], "")
    assert path in ("metadata.name", "metadata.namespace", "metadata.uid"), path
    return pod["metadata"][path.removeprefix("metadata.")]
