"""Phone numbers, international and national.

Sources: ITU-T E.164 (at most 15 digits; E.164.D for country codes), the North American Numbering
Plan (area and exchange codes do not begin with 0 or 1). National forms differ in every country, so
only what is unmistakable counts by itself; any other run of digits does where the words before it
speak of a phone, and not of an order, an account, or an amount.
"""

import re
from collections.abc import Iterator

from llm_assets.feedback.scrubbing.config import PersonalDataType
from llm_assets.feedback.scrubbing.findings import Finding

# Looked back from the first digit or bracket, as the engine skips to those and not to lookbehinds.
_BEFORE = r"(?<![\w$€£#+][0-9(])(?<!\w[/-][0-9(])(?<![0-9][.,:][0-9(])"
_AFTER = r"(?![\w%€]|[.,:-][0-9]| ?(?:EUR|USD|GBP|dollars?|euros?)\b)"
_EXTENSION = r"(?:[ ,]{0,2}(?:x|ext\.?|extension) ?[0-9]{1,6})?"
_COUNTRY = (
    r"(?:1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]"
    r"|2[1-689][0-9]|3[578][0-9]|42[0-9]|5[09][0-9]|6[7-9][0-9]|8[0578][0-9]|9[679][0-9])"
)
_SEPARATOR = r"[ .()/-]{0,3}"

_INTERNATIONAL = re.compile(
    rf"\+(?<![\w+]\+){_SEPARATOR}{_COUNTRY}(?:{_SEPARATOR}[0-9]){{6,12}}{_EXTENSION}{_AFTER}"
)
_DIALLED = re.compile(
    rf"0{_BEFORE}0[ -]?{_COUNTRY}[ .()/-]{{1,3}}[0-9](?:{_SEPARATOR}[0-9]){{5,11}}"
    rf"{_EXTENSION}{_AFTER}"
)
_NORTH_AMERICAN = re.compile(
    rf"[(1-9]{_BEFORE}(?:(?<=1)[-. ]\(?[2-9])?(?:(?<=\()[2-9])?(?<=[2-9])[0-9]{{2}}"
    rf"(?:\)[ -]?|[-. ])"
    rf"[2-9][0-9]{{2}}[-. ][0-9]{{4}}{_EXTENSION}{_AFTER}"
)
# A number within a country begins with 0 in most of Europe, Asia, and Australia.
_TRUNK = re.compile(
    rf"[(0]{_BEFORE}(?<![0-9] [(0])(?:(?<=\()0)?[1-9](?:[ ./()-]{{0,2}}[0-9]){{7,10}}"
    rf"{_EXTENSION}{_AFTER}"
)
_ANY = re.compile(
    rf"[(0-9]{_BEFORE}(?:(?<=\()[0-9])?(?:{_SEPARATOR}[0-9]){{5,12}}{_EXTENSION}{_AFTER}"
)

_DATE = re.compile(
    r"(?:19|20)[0-9]{2}[-/. ](?:0?[1-9]|1[0-2])[-/. ](?:[0-2]?[0-9]|3[01])(?![0-9])"
    r"|(?:[0-2]?[0-9]|3[01])[-/. ](?:[0-2]?[0-9]|3[01])[-/. ](?:19|20)[0-9]{2}(?![0-9])"
)
_TOPIC = re.compile(
    r"\b(?:(?P<phone>(?:tele|cell ?|mobile ?|i)?(?:phone|ph\b|fone|fon\b)|t[eé]l\b|t[eé]l[eé]f|"
    r"telefoo?n|tfno?|cell\b|cellular|cellulare|mobil|m[oó]vil|handy|fax|call|ring\b|dial|"
    r"text (?:me|him|her|us|them)|sms|whatsapp|hotline|rufnummer|ruf|anruf|llam|appel|chiam)"
    r"|(?P<other>order|invoice|account|acct|track|ticket|ref|case\b|id\b|number of|zip|postal|"
    r"version|isbn|serial|model|part\b|sku|amount|price|total|population|year|date|born|score|"
    r"bestell|rechnung|konto|kunden|pedido|factura|commande|ordine|ssn|passport|licen[sc]e))",
    re.IGNORECASE,
)
_NUM_TOPIC_CHARACTERS = 60
_SAYS_PHONE_AFTER = re.compile(
    r"[^\w\n]{0,3}(?:\(?(?:office|fax|mobile|cell|home|work|direct|landline|tel|phone)\b)",
    re.IGNORECASE,
)


def find_phones(text: str) -> Iterator[Finding]:
    """Yield phone numbers; dates, amounts, and numbers of orders are none."""
    for pattern in (_INTERNATIONAL, _DIALLED):
        for match in pattern.finditer(text):
            yield _finding(match)
    for pattern in (_NORTH_AMERICAN, _TRUNK):
        for match in pattern.finditer(text):
            if _may_be_phone(match) and _topic(match) != "other":
                yield _finding(match)
    for match in _ANY.finditer(text):
        if _may_be_phone(match) and _topic(match) == "phone":
            yield _finding(match)


def is_international_phone(value: str) -> bool:
    """Return whether a whole text is a phone number that begins with + and a country code."""
    return _INTERNATIONAL.fullmatch(value) is not None


def _finding(match: re.Match[str]) -> Finding:
    digits = re.sub("[^0-9]", "", match[0].replace("(0)", "")).removeprefix("00")
    # A bracket that does not close within the number is the sentence's.
    start = match.start() + (match[0].startswith("(") and ")" not in match[0])
    return Finding(start, match.end(), PersonalDataType.PHONE, digits)


def _may_be_phone(match: re.Match[str]) -> bool:
    """Return whether digits are neither a date nor a number of zeros and ones."""
    return _DATE.match(match[0]) is None and re.search("[2-9]", match[0]) is not None


def _topic(match: re.Match[str]) -> str | None:
    """Return what the words beside a number speak of: of those before it the last one counts."""
    if _SAYS_PHONE_AFTER.match(match.string, match.end()):
        return "phone"
    last = None
    start = match.start()
    for word in _TOPIC.finditer(match.string, max(0, start - _NUM_TOPIC_CHARACTERS), start):
        last = word.lastgroup
    return last
