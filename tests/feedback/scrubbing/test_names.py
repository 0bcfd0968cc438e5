import logging
from collections.abc import Iterator
from typing import Any

import pytest

from llm_assets.errors import UserError
from llm_assets.feedback.scrubbing import scrubber as scrubber_module
from llm_assets.feedback.scrubbing.config import PersonalDataConfig, PersonalDataType
from llm_assets.feedback.scrubbing.findings import Finding
from llm_assets.feedback.scrubbing.names import NameFinder, Names, finder_of, load_finder
from llm_assets.feedback.scrubbing.scrubber import Scrubbers
from llm_assets.records import Interaction
from tests.records import an_interaction

ALL = frozenset(PersonalDataType)
CLOSED = PersonalDataConfig(remove=ALL)
OPEN = PersonalDataConfig(remove=ALL, fail_closed=False)


def find_anna(text: str) -> Iterator[Finding]:
    start = text.find("Anna")
    if start >= 0:
        yield Finding(start, start + 4, PersonalDataType.PERSON, "anna")
        yield Finding(start, start + 4, PersonalDataType.LOCATION, "anna")


def not_installed(model: str) -> NameFinder:
    raise UserError(f"names_model {model!r} is not installed")


def crashing(_: str) -> NameFinder:
    def find(text: str) -> Iterator[Finding]:
        raise RuntimeError(f"cannot cope with {text}")

    return find


def test_names_are_looked_for_only_where_they_are_to_be_removed() -> None:
    assert Names(not_installed).find("Anna", PersonalDataConfig(), application="a") == []


def test_only_the_types_to_remove_are_found() -> None:
    config = PersonalDataConfig(remove=frozenset({PersonalDataType.PERSON}))
    (found,) = Names(lambda _: find_anna).find("to Anna", config, application="a")
    assert found == (3, 7, "person", "anna")


@pytest.mark.parametrize(
    ("load", "reason"),
    [(not_installed, "is not installed"), (crashing, "failed with RuntimeError")],
)
def test_without_names_a_record_is_refused_or_cleaned_by_patterns_only(
    load: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    text = "Anna's text"
    with pytest.raises(UserError, match=f"application 'helpdesk': .*{reason}") as refused:
        Names(load).find(text, CLOSED, application="helpdesk")
    assert "\n" not in str(refused.value)
    assert "Anna" not in str(refused.value)
    with caplog.at_level(logging.WARNING):
        assert Names(load).find(text, OPEN, application="helpdesk") == []
    assert reason in caplog.text
    assert "Anna" not in caplog.text


def test_what_is_not_installed_is_named_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", refuse)
    with pytest.raises(UserError, match=r"pip install llm-assets\[names\]"):
        load_finder("en_core_web_sm")


def test_a_scrubber_numbers_names_beside_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrubber_module, "Names", lambda: Names(lambda _: find_anna))
    scrubbers = Scrubbers({"helpdesk": CLOSED}, b"k" * 32)
    record = scrubbers(an_interaction("r1", prompt="I am Anna, anna@example.com", response="Anna!"))
    assert isinstance(record, Interaction)
    assert record.prompt == "I am <PERSON_1>, <EMAIL_1>"
    assert record.response == "<PERSON_1>!"


@pytest.fixture
def find_names() -> NameFinder:
    pytest.importorskip("presidio_analyzer")
    spacy = pytest.importorskip("spacy")
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns(
        [
            {"label": "PERSON", "pattern": "Anna Smith"},
            {"label": "GPE", "pattern": "Berlin"},
            {"label": "ORG", "pattern": "Acme"},
        ]
    )
    return finder_of(nlp)


def test_presidio_finds_what_the_model_knows(find_names: NameFinder) -> None:
    text = "Anna Smith of Acme lives in Berlin."
    assert sorted(find_names(text)) == [
        (0, 10, "person", "anna smith"),
        (28, 34, "location", "berlin"),
    ]


def test_a_long_text_is_read_in_pieces_to_its_end(find_names: NameFinder) -> None:
    text = "some words " * 5000 + "Anna Smith"
    (found,) = find_names(text)
    assert text[found.start : found.end] == "Anna Smith"


def test_an_unknown_model_is_named(find_names: NameFinder) -> None:
    assert find_names
    with pytest.raises(UserError, match="spacy download no_such_model"):
        load_finder("no_such_model")
