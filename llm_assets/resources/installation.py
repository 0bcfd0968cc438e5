"""The one resource: what the environment says about this installation."""

import dagster as dg

from llm_assets.installation import Installation
from llm_assets.settings import Settings


@dg.resource(description="The installation that LLM_ASSETS_* environment variables describe.")
def installation() -> Installation:
    """Return the installation; the environment is read when a run or a sensor starts."""
    return Installation(Settings.from_environment())
