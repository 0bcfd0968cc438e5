"""Records of NVIDIA's data flywheel blueprint.

    {"timestamp": 1760000000, "client_id": …, "workload_id": …, "request": {…}, "response": {…}}

Request and response are OpenAI bodies; the fields are those of the blueprint's `data-logging.md`.
It has no field for feedback.
"""

from typing import Any

from llm_assets.feedback.formats import openai_chat
from llm_assets.feedback.formats.reading import Reading, member, time_of


def recognises(fields: dict[str, Any]) -> bool:
    """Say whether the object is a request and a response of a workload."""
    return (
        "workload_id" in fields
        and isinstance(fields.get("request"), dict)
        and isinstance(fields.get("response"), dict)
    )


def read(fields: dict[str, Any], application: str) -> Reading:
    """Return the interaction.

    Raises:
        UserError: a part that is needed is missing or of another type; the message names it.
    """
    request, response = member(fields, "request", dict), member(fields, "response", dict)
    given = fields.get("timestamp", response.get("created"))
    time = time_of(given, "timestamp")
    return Reading(
        [openai_chat.exchange(request, response, application=application, time=time)], []
    )
