import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.errors import UserError
from llm_assets.feedback.ingestion.quarantine import (
    MAX_TEXT_CHARACTERS,
    Quarantined,
    QuarantineFile,
    quarantined,
    rule_of,
)
from llm_assets.feedback.log import Record
from llm_assets.feedback.scrubbing.scrubber import Scrubbers
from llm_assets.records import Feedback

SCRUB = Scrubbers({}, bytes(32))
SHA256 = hashlib.sha256(b"content").hexdigest()


def text_of(content: bytes) -> str | None:
    return quarantined(3, "is bad", content, scrub=SCRUB, application="helpdesk").text


@pytest.mark.parametrize(
    "content",
    [
        b'{"mail": "anna.schmidt@example.com"',
        b'{"text": "one\\nanna.schmidt@example.com"}',
        b'{"text": "\\u0061nna.schmidt\\u0040example.com"}',
        b'{"text": "{\\"text\\": \\"anna.schmidt\\\\u0040example.com\\"}"}',
        b'{"card": "number\\n4111 1111 1111 1111\\nanna.schmidt"}'.replace(b"anna.schmidt", b""),
        b'{"card": "{\\"c\\": \\"x\\\\n4111 1111 1111 1111\\"}"}',
    ],
)
def test_a_text_is_kept_without_personal_data(content: bytes) -> None:
    text = text_of(content)
    assert text
    assert "anna" not in text
    assert "1111" not in text
    assert ("<EMAIL_1>" in text) != ("<CARD_1>" in text)


def test_the_same_content_gives_the_same_text_whatever_came_before() -> None:
    first = text_of(b"anna@example.com and bob@example.com")
    text_of(b"carl@example.com")
    assert text_of(b"anna@example.com and bob@example.com") == first
    assert first == "<EMAIL_1> and <EMAIL_2>"


@pytest.mark.parametrize("num_before", [3990, 15_990, 16_000, 63_990])
def test_no_half_of_a_value_is_left_where_a_text_is_cut(num_before: int) -> None:
    text = text_of(b"a b " * (num_before // 4) + b" anna.schmidt@example.com " + b"c d " * 20_000)
    assert text
    assert len(text) <= MAX_TEXT_CHARACTERS
    assert "anna" not in text


@given(st.binary())
def test_no_content_crashes(content: bytes) -> None:
    text = text_of(content)
    assert text is not None
    text.encode()


def test_what_cannot_be_cleaned_is_kept_without_its_text() -> None:
    def refuse(_: Record) -> Record:
        raise UserError("the model of names is not installed")

    unit = quarantined(3, "x: unknown key", b"anna", scrub=refuse, application="helpdesk")
    assert unit.text is None
    assert "x" not in unit.reason.split()


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        ("time: must be a time, got 'anna@example.com'", "time: must be a time"),
        ("application: must be 'a', got 'anna'\nsecond", "application: must be 'a'"),
        ("id: must be of type str, got int", "id: must be of type str, got int"),
        ("value: must be at most 5, got 12", "value: must be at most 5, got 12"),
        ("card: must be a text, got 4111111111111111", "card: must be a text"),
        ("anna@example.com: unknown key", "<EMAIL_1>: unknown key"),
    ],
)
def test_a_reason_echoes_no_value(reason: str, kept: str) -> None:
    assert quarantined(1, reason, b"", scrub=SCRUB, application="helpdesk").reason == kept


def test_reasons_of_one_rule_are_one() -> None:
    assert rule_of("spans[3].id: is missing") == rule_of("spans[12].id: is missing")
    assert rule_of("span 0af7: is bad") == rule_of("span 99: is bad") == "span #: is bad"
    assert rule_of("choices.0.text: is missing") == "choices.#.text: is missing"
    assert rule_of("must lie in 1 to 5") == "must lie in 1 to 5"


def test_a_quarantine_appears_as_a_whole_and_is_replaced_by_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "application=helpdesk"
    contents: list[bytes] = []
    for _ in range(2):
        file = QuarantineFile(folder, Path("a.json"))
        file.add([Quarantined(1, "is bad", "text")])
        file.add([Quarantined(2, "is bad", None)])
        assert len(list(folder.glob("*.ndjson"))) == len(contents) % 2
        path = file.publish(SHA256)
        assert path
        assert path == folder / f"{SHA256[:16]}.ndjson"
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    assert [json.loads(line) for line in contents[0].splitlines()] == [
        {"file": "a.json", "line": 1, "reason": "is bad", "text": "text"},
        {"file": "a.json", "line": 2, "reason": "is bad", "text": None},
    ]
    assert [path.name for path in folder.iterdir()] == [f"{SHA256[:16]}.ndjson"]


def test_a_file_that_is_read_whole_by_now_leaves_the_quarantine(tmp_path: Path) -> None:
    file = QuarantineFile(tmp_path, Path("a.json"))
    file.add([Quarantined(1, "is bad", "text")])
    assert file.publish(SHA256)
    assert QuarantineFile(tmp_path, Path("a.json")).publish(SHA256) is None
    assert list(tmp_path.iterdir()) == []


def test_what_was_not_published_can_be_discarded(tmp_path: Path) -> None:
    file = QuarantineFile(tmp_path, Path("a.json"))
    file.add([Quarantined(1, "is bad", "text")])
    file.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_scrubber_of_ones_own_is_asked(tmp_path: Path) -> None:
    def shout(record: Record) -> Record:
        assert isinstance(record, Feedback)
        assert record.text
        return dataclasses.replace(record, text=record.text.upper())

    unit = quarantined(1, "is bad", b"a b", scrub=shout, application="helpdesk")
    assert unit == Quarantined(1, "IS BAD", "A B")
