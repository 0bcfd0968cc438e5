import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.errors import UserError
from llm_assets.feedback.formats import otlp, otlp_protobuf, read_line
from llm_assets.feedback.formats.reading import Reading
from llm_assets.feedback.formats.telemetry import Telemetry
from tests.feedback.formats.telemetry import (
    GENAI,
    PARENT,
    SPAN,
    TRACE,
    a_log_record,
    a_span,
    an_event,
    in_base64,
    in_protobuf,
    logs,
    pairs,
    traces,
)

ATTRIBUTES: dict[str, Any] = {
    "text": "é",
    "number": -(2**63),
    "ratio": 0.5,
    "flag": True,
    "list": ["a", 1, ["b"]],
    "map": {"role": "user", "parts": [{"content": "Hi"}]},
}
SPANS = traces(
    a_span(ATTRIBUTES, parentSpanId=PARENT, status={"code": 2}, events=[an_event("e", {"a": 1})]),
    a_span({}, spanId="", parentSpanId=""),
    service_name="bank-bot",
)
LOGS = logs(
    a_log_record("gen_ai.choice", ATTRIBUTES, body={"kvlistValue": {"values": pairs({"a": 1})}}),
    a_log_record("", {"event.name": "older"}, timeUnixNano="0", observedTimeUnixNano="17"),
    service_name="bank-bot",
)


def snake_cased(value: Any) -> Any:
    if isinstance(value, list):
        return [snake_cased(item) for item in value]
    if isinstance(value, dict):
        return {
            re.sub(r"[A-Z]", lambda m: f"_{m[0].lower()}", k): snake_cased(v)
            for k, v in value.items()
        }
    return value


def test_a_span_has_its_ids_times_and_plain_attributes() -> None:
    (telemetry,) = otlp.traces_of(SPANS)
    span, other = telemetry.spans
    assert (span.trace_id, span.span_id, span.parent_span_id) == (TRACE, SPAN, PARENT)
    assert span.end_ns - span.start_ns == 1_200_000_000
    assert (span.attributes, span.is_error, other.is_error) == (ATTRIBUTES, True, False)
    assert (span.events[0].name, span.events[0].span_id) == ("e", SPAN)
    assert (other.span_id, telemetry.service_name) == ("", "bank-bot")


def test_a_log_event_is_named_by_its_field_or_by_its_older_attribute() -> None:
    (telemetry,) = otlp.logs_of(LOGS)
    event, older = telemetry.events
    assert (event.name, event.body, event.attributes) == ("gen_ai.choice", {"a": 1}, ATTRIBUTES)
    assert (older.name, older.time_ns) == ("older", 17)


def test_json_and_protobuf_hold_the_same() -> None:
    assert otlp_protobuf.traces_of(in_protobuf(SPANS)) == otlp.traces_of(SPANS)
    assert otlp_protobuf.logs_of(in_protobuf(LOGS)) == otlp.logs_of(LOGS)


def test_base64_ids_integers_as_numbers_and_snake_case_are_read_as_well() -> None:
    numbers = re.sub(r'"(-?\d+)"', r"\1", json.dumps(in_base64(SPANS)))
    assert otlp.traces_of(json.loads(numbers)) == otlp.traces_of(SPANS)
    assert otlp.traces_of(snake_cased(SPANS)) == otlp.traces_of(SPANS)
    assert otlp.logs_of(snake_cased(LOGS)) == otlp.logs_of(LOGS)


def test_an_id_of_zeros_is_none() -> None:
    (telemetry,) = otlp.traces_of(traces(a_span({}, parentSpanId="0" * 16)))
    assert telemetry.spans[0].parent_span_id == ""


def test_metrics_and_spans_of_other_things_are_passed_over() -> None:
    metrics = b'{"resourceMetrics": [{"scopeMetrics": []}]}'
    assert read_line(metrics, application="bank") == Reading([], [], 1)
    line = json.dumps(traces(a_span({"http.route": "/"}))).encode()
    assert read_line(line, application="bank") == Reading([], [], 1)


def test_a_resource_of_another_application_is_a_problem() -> None:
    reading = otlp.read(traces(a_span(GENAI), application="shop"), "bank")
    assert reading.problems == ["resource llm_assets.application: must be 'bank'"]
    assert otlp.read(traces(a_span({}), application="shop"), "bank").problems == []
    assert len(otlp.read(traces(a_span(GENAI), application="bank"), "bank").records) == 1


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"spanId": "jane"}, "spanId: must be 16 hex digits, got a text of 4 characters"),
        ({"traceId": "5b8efff79803810"}, "traceId: must be 32 hex digits"),
        ({"traceId": 7}, "traceId: must be 32 hex digits, got 7"),
        ({"startTimeUnixNano": "now"}, "startTimeUnixNano: must be an integer, got a text of 3"),
        ({"startTimeUnixNano": -1}, "startTimeUnixNano: must be nanoseconds since 1970 in 64 bits"),
        ({"startTimeUnixNano": True}, "startTimeUnixNano: must be an integer, got True"),
        ({"name": 1}, "name: must be a text, got 1"),
        ({"status": "bad"}, "status: must be an object, got a text"),
        ({"events": ["x"]}, "events: must be a list of objects"),
        ({"attributes": {}}, "attributes: must be a list, got an object"),
        ({"attributes": [{"value": {}}]}, "attributes: must hold objects with a key"),
        ({"attributes": [{"key": "a", "value": 1}]}, "attributes: a value must be an object"),
    ],
)
def test_a_bad_span_is_named_and_the_others_are_kept(fields: dict[str, Any], problem: str) -> None:
    reading = otlp.read(traces(a_span({}, **fields), a_span(GENAI)), "bank")
    assert len(reading.records) == 1
    (found,) = reading.problems
    assert found.startswith(f"spans.0: {problem}")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"stringValue": 1}, "stringValue: must be a text, got 1"),
        ({"intValue": "1e3"}, "intValue: must be an integer, got a text of 3 characters"),
        ({"intValue": str(2**63)}, "intValue: must fit in 64 bits"),
        ({"intValue": "9" * 5000}, "intValue: must be an integer, got a text of 5000 characters"),
        ({"boolValue": 1}, "boolValue: must be a boolean, got 1"),
        ({"doubleValue": "half"}, "doubleValue: must be a number"),
        ({"doubleValue": 10**400}, "doubleValue: must be a number"),
        ({"arrayValue": []}, "arrayValue: must have a list of values"),
        ({"kvlistValue": {"values": 1}}, "kvlistValue: must have a list of values"),
        ({"bytesValue": "%"}, "bytesValue: must be base64"),
    ],
)
def test_a_bad_value_is_named_by_its_type(value: dict[str, Any], problem: str) -> None:
    fields = {"attributes": [{"key": "gen_ai.system", "value": value}]}
    reading = otlp.read(traces(a_span({}, **fields)), "bank")
    assert reading.problems[0].startswith(f"spans.0: {problem}")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"doubleValue": "NaN"}, "nan"),
        ({"doubleValue": "-Infinity"}, "-inf"),
        ({"intValue": 7.0}, "7"),
        ({"bytesValue": "aGk="}, "b'hi'"),
        ({"stringValue": None}, "None"),
        ({"futureValue": 1}, "None"),
        ({}, "None"),
        (None, "None"),
    ],
)
def test_rare_values_are_read(value: Any, expected: str) -> None:
    (telemetry,) = otlp.traces_of(traces(a_span({}, attributes=[{"key": "a", "value": value}])))
    assert str(telemetry.spans[0].attributes["a"]) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"resourceSpans": 1},
        {"resourceSpans": [1]},
        {"resourceSpans": [{"resource": 1}]},
        {"resourceSpans": [{"scopeSpans": {}}]},
        {"resourceLogs": [{"scopeLogs": [{"logRecords": ""}]}]},
    ],
)
def test_what_has_not_the_structure_of_otlp_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"^\w+: must be "):
        otlp.read(fields, "bank")


def nested(depth: int, value: Any) -> Any:
    for _ in range(depth):
        value = [value]
    return value


def test_values_nested_too_deeply_are_a_problem_in_both_encodings() -> None:
    fields = traces(a_span({"deep": nested(32, 1)}), a_span({"deep": nested(33, 1)}))
    (telemetry,) = otlp.traces_of(fields)
    assert telemetry.problems == ["spans.1: attributes: must not be nested more than 32 deep"]
    assert otlp_protobuf.traces_of(in_protobuf(fields)) == [telemetry]


def test_json_nested_beyond_any_parser_is_one_line() -> None:
    line = b'{"resourceSpans": ' + b"[" * 100_000
    with pytest.raises(UserError, match="is not JSON"):
        read_line(line, application="bank")
    inner = b'{"arrayValue":{"values":[' * 300 + b"{}" + b"]}}" * 300
    line = b'{"resourceSpans":[{"resource":{"attributes":[{"key":"a","value":' + inner + b"}]}}]}"
    with pytest.raises(UserError, match="nested more than 32 deep"):
        read_line(line, application="bank")


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["chat", "user", "1760000000000000000", "[{}]", '[{"role":"user"}]', SPAN]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=3) | st.sampled_from(["key", "value", "values", "role", "content"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
KEYS = (
    *GENAI,
    "openinference.span.kind",
    "gen_ai.prompt",
    "gen_ai.prompt.0.content",
    "gen_ai.completion.0.content",
    "llm.input_messages.0.message.content",
    "gen_ai.usage.input_tokens",
    "gen_ai.evaluation.name",
    "gen_ai.evaluation.score.value",
    "gen_ai.event.content",
    "gen_ai.system_instructions",
    "annotations.0.annotation.score",
    "user.id",
    "event.name",
    "input.value",
)
EVENT_NAMES = (
    "gen_ai.evaluation.result",
    "gen_ai.client.inference.operation.details",
    "gen_ai.user.message",
    "gen_ai.choice",
)


def require_readable(line: bytes | str) -> None:
    """Check that a line gives records that can be kept, and problems of one line each."""
    try:
        content = line.encode() if isinstance(line, str) else line
        reading = read_line(content, application="bank", format_name="otlp")
    except UserError as error:
        reading = Reading([], [str(error)])
    assert all("\n" not in problem for problem in reading.problems)
    for record in reading.records:
        assert type(record).from_json(record.to_json()) == record


@given(st.dictionaries(st.sampled_from(KEYS), ANY_JSON), st.sampled_from(EVENT_NAMES))
def test_any_values_of_attributes_give_records_or_problems(
    attributes: dict[str, Any], name: str
) -> None:
    values = json.loads(json.dumps({**GENAI, **attributes}).replace("NaN", "1"))
    events = [an_event(name, values)]
    record = a_log_record(name, values, body={"kvlistValue": {"values": pairs(values)}})
    for fields in (traces(a_span(values, events=events)), logs(record, record)):
        require_readable(json.dumps(fields))
        require_readable(json.dumps(snake_cased(fields)))


@given(
    ANY_JSON,
    st.sampled_from(
        [
            ("resourceSpans",),
            ("resourceSpans", 0),
            ("resourceSpans", 0, "resource"),
            ("resourceSpans", 0, "scopeSpans"),
            ("resourceSpans", 0, "scopeSpans", 0, "spans"),
            ("resourceSpans", 0, "scopeSpans", 0, "spans", 0),
            ("resourceSpans", 0, "scopeSpans", 0, "spans", 0, "attributes"),
            ("resourceSpans", 0, "scopeSpans", 0, "spans", 0, "attributes", 0, "value"),
            ("resourceSpans", 0, "scopeSpans", 0, "spans", 0, "events"),
            ("resourceSpans", 0, "scopeSpans", 0, "spans", 0, "startTimeUnixNano"),
            ("resourceSpans", 0, "scopeSpans", 0, "spans", 0, "spanId"),
            ("resourceSpans", 0, "scopeSpans", 0, "spans", 0, "status"),
        ]
    ),
)
def test_any_value_in_a_span_gives_a_record_or_one_line(value: Any, path: tuple[Any, ...]) -> None:
    fields: Any = json.loads(json.dumps(traces(a_span(GENAI), service_name="bank-bot")))
    place = fields
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    require_readable(json.dumps(fields))


def telemetry_or_none(decode: Any, content: bytes) -> list[Telemetry] | None:
    try:
        return decode(content)
    except UserError:
        return None


@given(st.binary(max_size=300))
def test_random_bytes_are_refused_or_read_but_never_break_the_decoder(content: bytes) -> None:
    telemetry_or_none(otlp_protobuf.traces_of, content)
    telemetry_or_none(otlp_protobuf.logs_of, content)


@given(st.data())
def test_protobuf_with_some_bytes_changed_is_refused_or_read(data: st.DataObject) -> None:
    content = bytearray(in_protobuf(SPANS))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    for telemetry in telemetry_or_none(otlp_protobuf.traces_of, bytes(content)) or []:
        assert all("\n" not in problem for problem in telemetry.problems)


def test_protobuf_nested_too_deeply_is_refused() -> None:
    content = in_protobuf(traces(a_span({"deep": nested(40, 1)})))
    deep = b""
    for _ in range(2000):  # AnyValue.array_value.values
        length = len(deep)
        varint = bytearray()
        while length > 127:
            varint.append(length & 127 | 128)
            length >>= 7
        deep = b"\x0a" + bytes([*varint, length]) + deep
    assert telemetry_or_none(otlp_protobuf.traces_of, deep) is None
    (telemetry,) = otlp_protobuf.traces_of(content)
    assert telemetry.problems == ["spans.0: attributes: must not be nested more than 32 deep"]
