"""What every configuration class shares: immutable, strictly typed, and unknown keys are errors."""

import pydantic


class Config(pydantic.BaseModel):
    """Base of the sections of an application's file; each section stands beside its user."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True)
