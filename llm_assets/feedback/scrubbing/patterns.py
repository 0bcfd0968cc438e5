"""All patterns together: what a text holds, and whether it is worth looking."""

import re
from collections.abc import Set as AbstractSet

from llm_assets.feedback.scrubbing.config import PersonalDataType
from llm_assets.feedback.scrubbing.contact import find_emails, find_ip_addresses
from llm_assets.feedback.scrubbing.credentials import find_secrets, may_assign, may_hold_token
from llm_assets.feedback.scrubbing.findings import Detector, Finding, without_overlaps
from llm_assets.feedback.scrubbing.national_ids import find_national_ids
from llm_assets.feedback.scrubbing.payment import find_cards, find_ibans
from llm_assets.feedback.scrubbing.phones import find_phones

# Where findings overlap, the type that stands first here has it.
_WITHOUT_NUMBERS: dict[PersonalDataType, Detector] = {
    PersonalDataType.SECRET: find_secrets,
    PersonalDataType.EMAIL: find_emails,
}
_WITH_NUMBERS: dict[PersonalDataType, Detector] = {
    PersonalDataType.IBAN: find_ibans,
    PersonalDataType.CARD: find_cards,
    PersonalDataType.IP_ADDRESS: find_ip_addresses,
    PersonalDataType.NATIONAL_ID: find_national_ids,
    PersonalDataType.PHONE: find_phones,
}

# Six digits with little between them, four numbers with dots, what follows an IBAN's country, the
# year and month of an Italian tax code, and two colons of an IP address. It begins with a set of
# few characters, which the engine skips to.
_NUMBER = re.compile(
    r"[0-9:](?:"
    r"(?:[ .()/-]{0,3}[0-9]){5}"
    r"|[0-9]{0,2}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]"
    r"|(?<=[A-Za-z]{2}[0-9])[0-9][ -]?[A-Za-z0-9]{4}"
    r"|(?<=[A-Za-z]{6}[0-9])[0-9][A-Za-z][0-9]{2}[A-Za-z]"
    r"|(?<=[0-9A-Fa-f:]:)[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]"
    r")"
)

# Digits and full-width characters of other scripts, and the spaces and dashes of typesetters: all
# are one character long, as is what they are read as.
_FOLDED = (
    {
        first + digit: 0x30 + digit
        for first in (0x0660, 0x06F0, 0x0966, 0x09E6, 0x0E50)
        for digit in range(10)
    }
    | {0xFF01 + offset: 0x21 + offset for offset in range(94)}
    | dict.fromkeys((0xA0, 0x2002, 0x2003, 0x2007, 0x2008, 0x2009, 0x200A, 0x202F, 0x3000), 0x20)
    | dict.fromkeys((0x2010, 0x2011, 0x2012, 0x2013, 0x2014, 0x2212), 0x2D)
)
_IS_FOLDED = re.compile(f"[{''.join(map(chr, _FOLDED))}]")


def is_suspect(text: str) -> bool:
    """Return whether `find` might find anything; most texts hold nothing, and this is cheap."""
    text = _folded(text)
    return (
        "@" in text
        or "%40" in text
        or _NUMBER.search(text) is not None
        or may_hold_token(text)
        or may_assign(text)
    )


def find(text: str, types: AbstractSet[PersonalDataType]) -> list[Finding]:
    """Return the personal data of these types in order of appearance, without overlaps."""
    if not is_suspect(text):
        return []
    text = _folded(text)
    detectors = _WITHOUT_NUMBERS
    if _NUMBER.search(text) is not None:
        detectors = detectors | _WITH_NUMBERS
    found = (
        finding
        for type_, detector in detectors.items()
        if type_ in types
        for finding in detector(text)
    )
    return without_overlaps(found, len(text))


def _folded(text: str) -> str:
    """Return the text in the characters that the patterns are written in, of the same length."""
    if text.isascii() or _IS_FOLDED.search(text) is None:
        return text
    return text.translate(_FOLDED)
