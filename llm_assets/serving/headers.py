"""Headers between the gateway, the model servers, and their clients."""

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
