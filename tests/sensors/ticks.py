"""What sensors answer, taken apart."""

from typing import Any

import dagster as dg


def skipped(answer: Any) -> str:
    """Return why a sensor asks for nothing."""
    assert isinstance(answer, dg.SkipReason)
    assert answer.skip_message is not None
    return answer.skip_message


def requested(answer: Any) -> dg.RunRequest:
    """Return the one run that a sensor asks for."""
    assert isinstance(answer, dg.SensorResult)
    (request,) = answer.run_requests or []
    return request


def added_partitions(answer: Any) -> dict[str, list[str]]:
    """Return the dynamic partitions that a sensor adds."""
    assert isinstance(answer, dg.SensorResult)
    return {
        request.partitions_def_name: list(request.partition_keys)
        for request in answer.dynamic_partitions_requests or []
    }
