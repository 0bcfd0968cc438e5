"""National identity and tax numbers, by checksum or by a format that nothing else has.

Sources: US Social Security Administration, "Randomization" and POMS RM 10201.035 (numbers that are
never given); HMRC NIM39110 (national insurance numbers); Spanish Real Decreto 1553/2005 and Orden
INT/2058/2008 (DNI, NIE: letter by mod 23); Italian D.M. 23 December 1976 (codice fiscale); French
INSEE (NIR: key 97 - n mod 97); German § 139b AO with ISO 7064 mod 11,10 (tax id); Dutch BSN
("elfproef").
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from llm_assets.feedback.scrubbing.config import PersonalDataType
from llm_assets.feedback.scrubbing.findings import Finding, stands_before


class _Format(NamedTuple):
    """How a number is written; `num_before` characters of it stand before the match."""

    pattern: re.Pattern[str]
    is_valid: Callable[[str], bool]
    keyword: re.Pattern[str] | None
    num_before: int


def find_national_ids(text: str) -> Iterator[Finding]:
    """Yield identity numbers of the countries that are told above.

    Bare digits (US, German, Dutch numbers) count only where a word before them says what they
    are: one number in ten or eleven passes such a checksum by chance.
    """
    for form in _FORMATS:
        for match in form.pattern.finditer(text):
            start = match.start() - form.num_before
            value = re.sub(r"[\W_]", "", text[start : match.end()]).upper()
            if form.is_valid(value) and (
                form.keyword is None or stands_before(form.keyword, text, start)
            ):
                yield Finding(start, match.end(), PersonalDataType.NATIONAL_ID, value)


def is_national_id(value: str) -> bool:
    """Return whether a whole text is an identity number that needs no word beside it."""
    return any(found.end - found.start == len(value) for found in find_national_ids(value))


def is_us_ssn(value: str) -> bool:
    """Return whether nine digits may be a social security number: some are never given."""
    area, group, serial = value[:3], value[3:5], value[5:]
    return area not in {"000", "666"} and area[0] != "9" and group != "00" and serial != "0000"


def is_uk_nino(value: str) -> bool:
    """Return whether the prefix of a national insurance number is one that is given."""
    return value[:2] not in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"}


def is_spanish(value: str) -> bool:
    """Return whether the letter of a DNI or NIE is right.

    >>> is_spanish("12345678Z"), is_spanish("X1234567L"), is_spanish("12345678A")
    (True, True, False)
    """
    digits = value[:-1].translate(str.maketrans("XYZ", "012"))
    return value[-1] == "TRWAGMYFPDXBNJZSQVHLCKE"[int(digits) % 23]


_ODD_VALUES = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10)
_ODD_VALUES += (22, 25, 24, 23)


def is_codice_fiscale(value: str) -> bool:
    """Return whether the last letter of an Italian tax code is right.

    >>> is_codice_fiscale("RSSMRA85T10A562S"), is_codice_fiscale("RSSMRA85T10A562T")
    (True, False)
    """
    # A digit counts as the letter of its rank: 0 as A, 1 as B.
    ranks = [ord(character) - (48 if character.isdigit() else 65) for character in value[:15]]
    total = sum(_ODD_VALUES[rank] for rank in ranks[::2]) + sum(ranks[1::2])
    return total % 26 == ord(value[15]) - 65


def is_french_nir(value: str) -> bool:
    """Return whether the key of a French social security number is right; Corsica is 2A and 2B.

    >>> is_french_nir("255081416802538"), is_french_nir("255081416802539")
    (True, False)
    """
    number = value[:13].replace("2A", "19").replace("2B", "18")
    return number.isdigit() and 97 - int(number) % 97 == int(value[13:])


def is_german_tax_id(value: str) -> bool:
    """Return whether eleven digits are a German tax id.

    Of the first ten, one digit stands there twice or three times; the last is ISO 7064's check.

    >>> is_german_tax_id("86095742719"), is_german_tax_id("86095742718")
    (True, False)
    """
    counts = sorted(value[:10].count(digit) for digit in set(value[:10]))
    if counts[-1] not in {2, 3} or counts[:-1].count(1) != len(counts) - 1:
        return False
    product = 10
    for digit in value[:10]:
        product = ((product + int(digit)) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(value[10])


def is_dutch_bsn(value: str) -> bool:
    """Return whether nine digits pass the Dutch test of eleven.

    >>> is_dutch_bsn("111222333"), is_dutch_bsn("111222334")
    (True, False)
    """
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    total = sum(weight * int(digit) for weight, digit in zip(weights, value, strict=True))
    return total != 0 and total % 11 == 0


def _format(
    first: str,
    rest: str,
    is_valid: Callable[[str], bool],
    *,
    keyword: str | None = None,
    before: str = "",
    num_before: int = 0,
) -> _Format:
    """Return a format by its first character that is matched, and what follows and precedes it.

    The engine skips to a first character and not to a lookbehind, so this comes after it.
    """
    is_there = f"(?<={before}{first})" if before else ""
    return _Format(
        pattern=re.compile(
            rf"{first}{is_there}(?<![\w-]{before}{first}){rest}(?![\w]|-[\w])", re.ASCII
        ),
        is_valid=is_valid,
        keyword=re.compile(rf"\b(?:{keyword})", re.IGNORECASE) if keyword else None,
        num_before=num_before,
    )


# In a codice fiscale letters may stand for digits, where two people would have the same.
_DIGIT = "[0-9LMNP-Vl-np-v]"
_FORMATS = (
    _format("[0-9]", "[0-9]{2}-[0-9]{2}-[0-9]{4}", is_us_ssn),
    _format(
        "[0-9]",
        "[0-9]{2} ?[0-9]{2} ?[0-9]{4}",
        is_us_ssn,
        keyword=r"ssn|ss#|social[ -]?sec|tax(?:payer)? id|itin",
    ),
    _format(
        "[A-CEGHJ-PR-TW-Z]",
        "[A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]",
        is_uk_nino,
    ),
    _format("[0-9XYZxyz]", "[0-9]{7}[ -]?[A-Za-z]", is_spanish),
    _format(
        "[0-9]",
        f"[0-9][A-EHLMPR-Ta-ehlmpr-t]{_DIGIT}{{2}}[A-Za-z]{_DIGIT}{{3}}[A-Za-z]",
        is_codice_fiscale,
        before="[A-Za-z]{6}",
        num_before=6,
    ),
    _format(
        "[12]",
        " ?[0-9]{2} ?(?:0[1-9]|[2-9][0-9]|1[0-2]) ?(?:[0-9]{2}|2[ABab]) ?[0-9]{3} ?[0-9]{3}"
        " ?[0-9]{2}",
        is_french_nir,
    ),
    _format(
        "[1-9]",
        "[0-9] ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}",
        is_german_tax_id,
        keyword=r"steuer|tax[ -]?id|tin\b|id-?nr|identifikationsn",
    ),
    _format("[0-9]", "[0-9]{8}", is_dutch_bsn, keyword=r"bsn|burgerservice|sofi"),
)
