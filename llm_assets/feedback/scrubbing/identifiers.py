"""Which ids hold personal data.

Ids are made by machines or taken from people. Those of machines (UUIDs, hexadecimal digits, ULIDs,
`chatcmpl-…`) must stay as they are, so a value counts only as a whole or between separators, and
only in a form that random ids do not have.
"""

import re
from collections.abc import Iterable

from llm_assets.feedback.scrubbing.contact import find_emails, find_ip_addresses
from llm_assets.feedback.scrubbing.credentials import is_secret, may_hold_token
from llm_assets.feedback.scrubbing.national_ids import is_national_id
from llm_assets.feedback.scrubbing.payment import is_card, is_iban
from llm_assets.feedback.scrubbing.phones import is_international_phone

# One quick look tells the ids of machines: they hold no such sign, and do not begin as numbers of
# people or tokens do.
_SIGN = re.compile(r"[@+%:/|,;=.]")
_HEAD = re.compile(
    r"\n(?:[0-9XYZxyz][0-9 .-]{6}|[A-Za-z]{2} ?[0-9]{2}|[A-Za-z]{6}[0-9]{2}|eyJ|sk-|gh[pousr]_"
    r"|github_|gl[a-z]{2,5}-|xox|xapp-|A[KS]IA|AIza|GOCSPX-|[prs]k_|whsec_|hf_|npm_|pypi-|la_)"
)
_HEXADECIMAL = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_SEPARATOR = re.compile(r"[:/|,;=]")
_CARD = re.compile(r"[0-9]{4}([ .-]?)[0-9]{4,6}\1[0-9]{4,5}\1?[0-9]{0,7}")
_IBAN = re.compile(r"[A-Za-z]{2}[0-9]{2}[A-Za-z0-9 -]{11,40}")
_MAX_NATIONAL_ID_CHARACTERS = 22


def may_hold_personal_data(values: Iterable[str]) -> bool:
    """Return whether any of several ids may hold personal data: one cheap look at all of them."""
    lines = "\n" + "\n".join(values)
    return _SIGN.search(lines) is not None or _HEAD.search(lines) is not None


def holds_personal_data(value: str) -> bool:
    """Return whether an id is, or clearly contains, personal data; random ids never do.

    >>> holds_personal_data("auth0|anna@example.com"), holds_personal_data("tel:+49 170 1234567")
    (True, True)
    >>> holds_personal_data("550e8400-e29b-41d4-a716-446655440000")
    False
    """
    if _HEXADECIMAL.fullmatch(value) is not None or not may_hold_personal_data((value,)):
        return False
    if ("@" in value or "%40" in value) and next(find_emails(value), None) is not None:
        return True
    if _is_personal(value) or (value.count(".") == 3 and _is_address(value)):
        return True
    return any(_is_personal(part.strip()) for part in _SEPARATOR.split(value))


def _is_personal(part: str) -> bool:
    if part[:1] == "+":
        return is_international_phone(part)
    if _HEAD.match(f"\n{part}") is None:
        return False
    return (
        (_CARD.fullmatch(part) is not None and is_card(re.sub("[ .-]", "", part)))
        or (_IBAN.fullmatch(part) is not None and is_iban(re.sub("[ -]", "", part).upper()))
        or (len(part) <= _MAX_NATIONAL_ID_CHARACTERS and is_national_id(part))
        or (may_hold_token(part) and is_secret(part))
    )


def _is_address(value: str) -> bool:
    return any(len(value) == found.end - found.start for found in find_ip_addresses(value))
