"""E-mail and IP addresses.

Sources: RFC 5321 and 5322 (local part of at most 64 characters; the characters are those that
people use, of any alphabet: RFC 6531), RFC 1035 (labels), RFC 791 and 4291 (IP, through
`ipaddress`).
"""

import ipaddress
import re
from collections.abc import Iterator

from llm_assets.feedback.scrubbing.config import PersonalDataType
from llm_assets.feedback.scrubbing.findings import Finding, stands_before

# An address is looked for from its @: its domain forwards, then its local part backwards within
# its 64 characters. So the time is linear, whatever the text.
_AT_DOMAIN = re.compile(
    r"(?:@|%40)(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}(xn--[a-z0-9-]{2,59}|[^\W\d_]{2,24})",
    re.IGNORECASE,
)
_LOCAL_PART = re.compile(r"[\w+][\w.!#$'*+?^{|}~-]*\Z")
_NUM_LOCAL_CHARACTERS = 64
# `logo@2x.png` is a picture, `git@host.org` is where a repository lies.
_FILE_ENDINGS = frozenset({"png", "jpg", "jpeg", "gif", "svg", "webp", "js", "css", "ts"})
_NO_PEOPLE = frozenset({"git"})


def find_emails(text: str) -> Iterator[Finding]:
    """Yield e-mail addresses, also those that stand URL-encoded with %40."""
    for match in _AT_DOMAIN.finditer(text):
        at = match.start()
        local = _LOCAL_PART.search(text[max(0, at - _NUM_LOCAL_CHARACTERS) : at])
        if local is None or local[0].lower() in _NO_PEOPLE or match[1].lower() in _FILE_ENDINGS:
            continue
        start = at - len(local[0])
        value = text[start : match.end()].replace("%40", "@").casefold()
        yield Finding(start, match.end(), PersonalDataType.EMAIL, value)


_IP_V4 = re.compile(
    r"[0-9](?<![\w.][0-9])[0-9]{0,2}\.(?:[0-9]{1,3}\.){2}[0-9]{1,3}(?![\w-]|\.[0-9])"
)
_TWO_COLONS = re.compile(r":(?<=[0-9A-Fa-f:]:)[0-9A-Fa-f]{0,4}:")
_IP_V6 = re.compile(
    r"(?<![\w:.])(?:[A-Za-z]{0,20}[G-Zg-z][A-Za-z]{0,20}:)?"  # `from:`, and no group of digits
    r"([0-9A-Fa-f]{0,4}:(?:[0-9A-Fa-f]{0,4}:){1,6}"
    r"(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3}|[0-9A-Fa-f]{0,4}))(?![\w:])"
)
_NUMBERED_TEXT = re.compile(
    r"(?:version|versión|release|build|firmware|driver|section|chapter|abschnitt|clause|§)"
    r"\W{0,3}\Z",
    re.IGNORECASE,
)


def find_ip_addresses(text: str) -> Iterator[Finding]:
    """Yield IP addresses of versions 4 and 6; loopback and unspecified ones are nobody's."""
    for match in _IP_V4.finditer(text):
        if not stands_before(_NUMBERED_TEXT, text, match.start()):
            yield from _address(match, 0)
    if _TWO_COLONS.search(text) is None:
        return
    for match in _IP_V6.finditer(text):
        groups = [group for group in match[1].split(":") if group]
        # `a::b` and `dead::beef` are more often names in code.
        if len(groups) >= 4 or (groups and len(groups[0]) >= 3 and re.search("[0-9]", match[1])):
            yield from _address(match, 1)


def _address(match: re.Match[str], group: int) -> Iterator[Finding]:
    try:
        address = ipaddress.ip_address(match[group])
    except ValueError:
        return
    if not (address.is_loopback or address.is_unspecified):
        yield Finding(*match.span(group), PersonalDataType.IP_ADDRESS, address.compressed)
