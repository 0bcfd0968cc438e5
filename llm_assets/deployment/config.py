"""How a candidate becomes the champion."""

import pydantic

from llm_assets.config import Config


class DeploymentConfig(Config):
    """The `deployment` section of an application's file.

    `timeout_seconds` is how long a promoted version may take until the endpoint answers with it.
    """

    timeout_seconds: float = pydantic.Field(default=120.0, gt=0)
