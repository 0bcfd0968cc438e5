"""What the fields of a manifest may hold: the rules of the API server that no schema tells.

A cluster would refuse a wrong name or quantity only when a training is to start, hours after it
was written; these say so when the file is read.
"""

import re
from decimal import Decimal
from typing import Annotated, Any

import pydantic

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_QUALIFIED = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_QUANTITY = re.compile(r"(?P<number>\d{1,15}(\.\d{1,9})?)(?P<suffix>[KMGTPE]i|[mkMGTPE])?")
_POWERS = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", 1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", 1)},
}
# Memory below this is a number whose suffix was forgotten.
_SMALLEST_MEMORY = 2**20


def _matches(pattern: str, rule: str, *, longest: int) -> pydantic.AfterValidator:
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if len(value) > longest or not compiled.fullmatch(value):
            raise ValueError(rule)
        return value

    return pydantic.AfterValidator(check)


DnsLabel = Annotated[
    str,
    _matches(
        _LABEL,
        "must be at most 63 lower-case letters, digits and '-', the first and last no '-'",
        longest=63,
    ),
]
DnsSubdomain = Annotated[
    str,
    _matches(
        rf"{_LABEL}(\.{_LABEL})*",
        "must be lower-case letters, digits, '-' and '.', the first and last a letter or digit",
        longest=253,
    ),
]
LabelKey = Annotated[
    str,
    _matches(
        rf"({_LABEL}(\.{_LABEL})*/)?{_QUALIFIED}",
        "must be the key of a label: a name, or a domain, '/' and a name",
        longest=317,
    ),
]
LabelValue = Annotated[
    str,
    _matches(
        rf"({_QUALIFIED})?",
        "must be the value of a label: at most 63 letters, digits, '-', '_' and '.'",
        longest=63,
    ),
]
VariableName = Annotated[
    str,
    _matches(
        r"[A-Za-z_][A-Za-z0-9_]*",
        "must be the name of a variable: letters, digits and '_', the first no digit",
        longest=253,
    ),
]
AbsolutePath = Annotated[
    str,
    _matches(
        r"/[^:\s]*[^:\s/]",
        "must be an absolute path without ':' and spaces, not the root, and not end with '/'",
        longest=1024,
    ),
]
ImageName = Annotated[str, _matches(r"\S+", "must be an image, without spaces", longest=1024)]


def amount(quantity: str) -> Decimal:
    """Return the number that a quantity stands for.

    >>> amount("1500m"), int(amount("1.5Gi"))
    (Decimal('1.500'), 1610612736)
    """
    found = _QUANTITY.fullmatch(quantity)
    assert found, quantity
    return Decimal(found["number"]) * _POWERS[found["suffix"] or ""]


def _as_text(value: Any) -> Any:
    """Take a number for its text, as Kubernetes does."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else value


def _is_quantity(value: str) -> str:
    if not _QUANTITY.fullmatch(value) or amount(value) == 0:
        raise ValueError("must be a quantity above 0: a number, and a suffix such as m, Mi or Gi")
    return value


def _is_memory(value: str) -> str:
    if amount(value) < _SMALLEST_MEMORY:
        raise ValueError("must be at least 1Mi; a suffix such as Gi may be missing")
    return value


Quantity = Annotated[str, pydantic.BeforeValidator(_as_text), pydantic.AfterValidator(_is_quantity)]
MemoryQuantity = Annotated[Quantity, pydantic.AfterValidator(_is_memory)]
