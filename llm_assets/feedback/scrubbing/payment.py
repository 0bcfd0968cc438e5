"""Bank accounts (IBAN) and payment cards.

Sources: ISO 13616 and SWIFT's IBAN registry (lengths), ISO 7064 (mod 97-10); ISO/IEC 7812-1 (Luhn)
and the schemes' published ranges of first digits.
"""

import re
from collections.abc import Iterator

from llm_assets.feedback.scrubbing.config import PersonalDataType
from llm_assets.feedback.scrubbing.findings import Finding, stands_before

_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FK FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}
# Patterns begin with a digit and look back from it: the engine skips to digits, not to lookbehinds.
_IBAN_CHECK_DIGITS = re.compile(
    r"[0-9](?<=[A-Za-z]{2}[0-9])(?<![A-Za-z0-9][A-Za-z]{2}[0-9])[0-9](?=[ -]?[A-Za-z0-9]{4})"
)
_SAYS_IBAN = re.compile(r"\bIBAN\W{0,12}(?:\w{1,10}\W{1,3})?\Z", re.IGNORECASE)


def find_ibans(text: str) -> Iterator[Finding]:
    """Yield account numbers whose country, length, and check digits agree.

    Where the text calls it an IBAN the check digits may be wrong: a slip of the pen is still
    somebody's account.
    """
    for digits in _IBAN_CHECK_DIGITS.finditer(text):
        start = digits.start() - 2
        length = _IBAN_LENGTHS.get(text[start : start + 2].upper())
        if length is None:
            continue
        run = _compact(text, start, length)
        if run is None:
            continue
        value, end = run
        if is_iban(value) or stands_before(_SAYS_IBAN, text, start):
            yield Finding(start, end, PersonalDataType.IBAN, value)


def is_iban(value: str) -> bool:
    """Return whether an IBAN in capitals without spaces is right by its country and mod 97.

    >>> is_iban("GB82WEST12345698765432"), is_iban("GB83WEST12345698765432")
    (True, False)
    """
    if _IBAN_LENGTHS.get(value[:2]) != len(value):
        return False
    digits = "".join(str(int(character, 36)) for character in value[4:] + value[:4])
    return int(digits) % 97 == 1


def _compact(text: str, start: int, length: int) -> tuple[str, int] | None:
    """Return the next `length` letters and digits, single spaces and dashes left out."""
    characters: list[str] = []
    position = start
    while len(characters) < length:
        character = text[position : position + 1]
        if character in {" ", "-"} and text[position - 1] not in {" ", "-"}:
            position += 1
            continue
        if not (character.isascii() and character.isalnum()):
            return None
        characters.append(character)
        position += 1
    if text[position : position + 1].isalnum():
        return None
    return "".join(characters).upper(), position


# In one piece, or in the groups that are printed on cards; what follows a card, such as its date
# and its code, does not belong to it.
_CARD = re.compile(
    r"[0-9](?<!\w[0-9])(?<![0-9][.,][0-9])"
    r"(?:[0-9]{11,18}"
    r"|[0-9]{3}([ .-])[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?:\1[0-9]{3}(?![0-9]))?"
    r"|[0-9]{3}([ .-])[0-9]{6}\2[0-9]{4,5})"
    r"(?![\w]|[.,][0-9])"
)
_CARD_SCHEMES = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{17,18})"  # Visa
    r"|(?:5[1-5][0-9]{2}|22[2-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"  # Mastercard
    r"|3[47][0-9]{13}"  # American Express
    r"|3(?:0[0-5]|095|[689][0-9])[0-9]{11,16}"  # Diners Club
    r"|(?:6011|64[4-9][0-9]|65[0-9]{2})[0-9]{12,15}"  # Discover
    r"|35(?:2[89]|[3-8][0-9])[0-9]{12,15}|(?:1800|2131)[0-9]{11}"  # JCB
    r"|(?:62|81)[0-9]{14,17}"  # UnionPay
    r"|220[0-4][0-9]{12,15}"  # Mir
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3]|6[0-9]{3}|50[0-9]{2})[0-9]{8,15}"  # Maestro, RuPay
)
_SAYS_CARD = re.compile(
    r"\b(?:credit|debit|cards?\b|visa\b|mastercard|amex|maestro|payment|carte|kreditkarte|tarjeta|cc\b)",
    re.IGNORECASE,
)
# Article numbers (EAN, UPC) have 12 and 13 digits too, and a check digit that Luhn may accept.
_MIN_DIGITS = 14


def find_cards(text: str) -> Iterator[Finding]:
    """Yield card numbers that pass Luhn's check and begin as a known scheme's do.

    Where the text speaks of a card the beginning does not matter, and 12 digits are enough.
    """
    for match in _CARD.finditer(text):
        end = match.end()
        value = re.sub("[^0-9]", "", match[0])
        if match[1] and len(value) == 19 and not is_card(value):
            # Four groups, and then the three digits of the card's code.
            value, end = value[:16], end - 4
        if not passes_luhn(value):
            continue
        is_whole = len(value) >= _MIN_DIGITS or not match[0].isdigit()
        if (is_whole and is_card(value)) or stands_before(_SAYS_CARD, text, match.start()):
            yield Finding(match.start(), end, PersonalDataType.CARD, value)


def is_card(value: str) -> bool:
    """Return whether digits are a card's by their beginning, length, and Luhn's check.

    >>> is_card("4111111111111111"), is_card("4111111111111112"), is_card("1111111111111117")
    (True, False, False)
    """
    return _CARD_SCHEMES.fullmatch(value) is not None and passes_luhn(value)


def passes_luhn(value: str) -> bool:
    """Return whether the last digit is Luhn's check of those before it."""
    total = sum(int(digit) for digit in value[-1::-2])
    total += sum(sum(divmod(2 * int(digit), 10)) for digit in value[-2::-2])
    return total % 10 == 0
