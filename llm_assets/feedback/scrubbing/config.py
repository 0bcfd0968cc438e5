"""Which personal data an application's records are cleaned of."""

import enum

import pydantic

from llm_assets.config import Config


class PersonalDataType(enum.StrEnum):
    """What can be recognised; its name in capitals is the placeholder's, e.g. `<EMAIL_1>`."""

    EMAIL = "email"
    PHONE = "phone"
    IBAN = "iban"
    CARD = "card"
    IP_ADDRESS = "ip_address"
    NATIONAL_ID = "national_id"
    SECRET = "secret"
    PERSON = "person"
    LOCATION = "location"


PATTERN_TYPES = frozenset(PersonalDataType) - {PersonalDataType.PERSON, PersonalDataType.LOCATION}


class PersonalDataConfig(Config):
    """The section `feedback.personal_data` of an application's file.

    `person` and `location` need the extra `names` to be installed. With `fail_closed` a record
    that could not be cleaned is refused; otherwise what patterns find is removed all the same.
    """

    remove: frozenset[PersonalDataType] = pydantic.Field(default=PATTERN_TYPES, strict=False)
    fail_closed: bool = True
    names_model: str = "en_core_web_sm"
