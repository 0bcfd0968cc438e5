"""Headers between the gateway, the model servers, and their clients."""

import uuid
from collections.abc import Mapping

# The gateway makes it; a mirrored copy of a request carries the same.
REQUEST_ID = "x-request-id"

# Of a request: what the gateway means its answer for. Of an answer: what the client was assigned.
VARIANT = "x-llm-assets-variant"

# Of an answer: who gave it.
MODEL_VERSION = "x-llm-assets-model-version"

# Of a request: the step of a rollout in which two arms are compared. What one arm fails before the
# first byte, the gateway asks the other.
TRIAL = "x-llm-assets-trial"

# Of a request: whose it is, so that the gateway sends it to the arm that answered before.
USER = "x-llm-assets-user"

# Of an answer: `hit` if it was given before.
CACHE = "x-llm-assets-cache"

# Of an answer: the server has too much to do, and the gateway shall not try again.
RATE_LIMITED = "x-envoy-ratelimited"


def request_id_of(headers: Mapping[str, str]) -> str:
    """Return the id of a request, or a new one where the header holds none that can be kept."""
    request_id = headers.get(REQUEST_ID, "")
    is_usable = 1 <= len(request_id) <= 200 and request_id.isascii()
    return request_id if is_usable else str(uuid.uuid4())
