"""A pod's status as the kubelet and the scheduler write it: phase, conditions, containers."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.kubernetes.container import Container
from tests.kubernetes.objects import Object

_NO_ROOM = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."


@dataclass
class Lot:
    """What befell a pod as a whole: when it got its node, why it failed, who disrupted it."""

    start_time: str = ""
    failure: dict[str, str] = field(default_factory=dict)
    disruption: str = ""


def phase(lot: Lot, containers: Sequence[Container]) -> str:
    """Return the phase of a pod whose containers are never restarted."""
    is_running = any(container.is_running for container in containers)
    if lot.failure and not is_running:
        return "Failed"
    if not lot.start_time or any(container.is_waiting for container in containers):
        return "Pending"
    if is_running:
        return "Running"
    return "Failed" if any(container.exit_code for container in containers) else "Succeeded"


def status(lot: Lot, containers: Sequence[Container]) -> Object:
    """Return the whole status."""
    if not lot.start_time:
        unscheduled = _condition("PodScheduled", False, "Unschedulable", _NO_ROOM)
        return {"phase": "Pending", "conditions": [unscheduled]}
    is_ready = all(container.is_running for container in containers)
    conditions = [_condition("PodScheduled", True), _condition("Ready", is_ready)]
    if lot.disruption:
        conditions.append(_condition("DisruptionTarget", True, lot.disruption))
    now_in = phase(lot, containers)
    # A container that never started leaves no status behind when its pod fails.
    shown = [one for one in containers if not (now_in == "Failed" and one.is_waiting)]
    return {
        "phase": now_in,
        **lot.failure,
        "conditions": conditions,
        "startTime": lot.start_time,
        "containerStatuses": [container.status for container in shown],
    }


def _condition(name: str, holds: bool, reason: str = "", message: str = "") -> Object:
    words = {"reason": reason, "message": message}
    return {
        "type": name,
        "status": str(holds),
        **{key: text for key, text in words.items() if text},
    }
