from typing import Any

import pydantic
import pytest

from llm_assets.training.kubernetes.fields import (
    DnsLabel,
    DnsSubdomain,
    LabelKey,
    LabelValue,
    Quantity,
    amount,
)


def is_valid(field: Any, value: str) -> bool:
    try:
        pydantic.TypeAdapter(field).validate_python(value, strict=True)
    except pydantic.ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("field", "right", "wrong"),
    [
        (DnsLabel, ["a", "a-b", "9", "a" * 63], ["", "-a", "a-", "A", "a.b", "a_b", "a" * 64]),
        (DnsSubdomain, ["a", "a.b-c", "9.9"], ["", ".a", "a..b", "a.-b", "A", "a" * 254]),
        (LabelKey, ["a", "A_b.c", "x.io/a", "nvidia.com/gpu"], ["", "/a", "a/", "a/b/c", "-a"]),
        (LabelValue, ["", "a", "A_b.c", "a" * 63], ["-a", "a-", "a/b", "a" * 64]),
        (
            Quantity,
            ["1", "0.5", "500m", "1Gi", "1.5Ti", "2M"],
            ["", "0", "-1", "1gb", "Gi", "1 Gi"],
        ),
    ],
)
def test_fields_hold_what_the_api_server_takes(
    field: Any, right: list[str], wrong: list[str]
) -> None:
    assert [value for value in right if not is_valid(field, value)] == []
    assert [value for value in wrong if is_valid(field, value)] == []


@pytest.mark.parametrize(
    ("quantity", "number"),
    [("2", 2), ("500m", 0.5), ("1k", 1000), ("1Ki", 1024), ("1.5Gi", 1.5 * 2**30), ("2T", 2e12)],
)
def test_a_quantity_stands_for_a_number(quantity: str, number: float) -> None:
    assert amount(quantity) == pytest.approx(number)
