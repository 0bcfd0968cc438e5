"""Which objects a list request means: label selectors and field selectors."""

import re

from tests.kubernetes.objects import Object

_BETWEEN_TERMS = re.compile(r",(?![^(]*\))")
_SET_TERM = re.compile(r"(?P<key>\S+)\s+(?P<operator>in|notin)\s+\((?P<values>.*)\)")
_EQUALITY_TERM = re.compile(r"(?P<key>[^=!\s]+)\s*(?P<operator>!=|==?)\s*(?P<value>.*)")


def has_labels(candidate: Object, selector: str) -> bool:
    """Tell whether all terms of a label selector hold: `a=b`, `a!=b`, `a in (b,c)`, `a`, `!a`."""
    labels = candidate["metadata"].get("labels") or {}
    return all(_label_holds(labels, term) for term in _terms(selector))


def has_fields(candidate: Object, selector: str) -> bool:
    """Tell whether all terms of a field selector hold, such as `metadata.name=a`."""
    return all(_field_holds(candidate, term) for term in _terms(selector))


def _terms(selector: str) -> list[str]:
    return [term.strip() for term in _BETWEEN_TERMS.split(selector) if term.strip()]


def _label_holds(labels: dict[str, str], term: str) -> bool:
    if found := _SET_TERM.fullmatch(term):
        values = [value.strip() for value in found["values"].split(",")]
        return (labels.get(found["key"]) in values) == (found["operator"] == "in")
    if found := _EQUALITY_TERM.fullmatch(term):
        return (labels.get(found["key"]) == found["value"]) == (found["operator"] != "!=")
    return term[1:] not in labels if term.startswith("!") else term in labels


def _field_holds(candidate: Object, term: str) -> bool:
    found = _EQUALITY_TERM.fullmatch(term)
    assert found, f"field selector {term!r}"
    value: object = candidate
    for part in found["key"].split("."):
        value = value.get(part, "") if isinstance(value, dict) else ""
    return (value == found["value"]) == (found["operator"] != "!=")
