"""Names of people and places, found by Presidio with a spaCy model.

Both come with the extra `names`; the model is installed beside them, and its name stands in the
application's file. Nothing is fetched from the network: Presidio's own start would download a
model, so its engine is given one that is already loaded.
"""

import importlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

from llm_assets.errors import UserError
from llm_assets.feedback.scrubbing.config import PATTERN_TYPES, PersonalDataConfig, PersonalDataType
from llm_assets.feedback.scrubbing.findings import Finding

NameFinder = Callable[[str], Iterator[Finding]]

_TYPES = {"PERSON": PersonalDataType.PERSON, "LOCATION": PersonalDataType.LOCATION}
# spaCy refuses texts of more than a million characters and needs about 1 GB for one.
_NUM_PIECE_CHARACTERS = 20_000
_logger = logging.getLogger(__name__)


class Names:
    """Finds names as the applications' configs want it; a model is loaded when first needed."""

    def __init__(self, load: Callable[[str], NameFinder] | None = None) -> None:
        self._load = load or load_finder
        self._finders: dict[str, NameFinder | UserError] = {}
        self._lock = threading.Lock()

    def find(self, text: str, config: PersonalDataConfig, *, application: str) -> list[Finding]:
        """Return the names of the types that the config wants removed.

        Raises:
            UserError: they cannot be looked for, and the config says `fail_closed`.
        """
        if not config.remove - PATTERN_TYPES or not text:
            return []
        try:
            found = list(self._finder(config.names_model)(text))
        except UserError as error:
            self._fail(config, f"application {application!r}: {error}")
            return []
        # Whatever goes wrong inside a model must not let an uncleaned record pass, nor end the
        # collector; the message of such an error may hold the text, so only its type is told.
        except Exception as error:  # noqa: BLE001
            reason = f"the names model {config.names_model!r} failed with {type(error).__name__}"
            self._fail(config, f"application {application!r}: {reason}")
            return []
        return [finding for finding in found if finding.type in config.remove]

    def _finder(self, model: str) -> NameFinder:
        with self._lock:
            if model not in self._finders:
                try:
                    self._finders[model] = self._load(model)
                except UserError as error:
                    self._finders[model] = error
            finder = self._finders[model]
        if isinstance(finder, UserError):
            raise finder
        return finder

    def _fail(self, config: PersonalDataConfig, reason: str) -> None:
        if config.fail_closed:
            raise UserError(f"{reason}; the record is refused (personal_data.fail_closed)")
        _logger.warning("%s; only patterns were removed", reason)


def load_finder(model: str) -> NameFinder:
    """Return what finds names with a spaCy model.

    Raises:
        UserError: Presidio or the model is not installed; the message says how to do it.
    """
    try:
        importlib.import_module("presidio_analyzer")
        spacy = importlib.import_module("spacy")
    except ImportError:
        raise UserError(
            "person and location can be removed only with `pip install llm-assets[names]`"
        ) from None
    try:
        nlp = spacy.load(model)
    except OSError:
        raise UserError(
            f"names_model {model!r} is not installed; try `python -m spacy download {model}`"
        ) from None
    return finder_of(nlp)


def finder_of(nlp: Any) -> NameFinder:
    """Return what finds the names that a loaded spaCy pipeline recognises."""
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry  # pyright: ignore[reportMissingImports]
    from presidio_analyzer.nlp_engine import SpacyNlpEngine  # pyright: ignore[reportMissingImports]
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer  # pyright: ignore[reportMissingImports]

    language = nlp.lang
    engine = SpacyNlpEngine(models=[{"lang_code": language, "model_name": "loaded already"}])
    engine.nlp = {language: nlp}
    recognizer = SpacyRecognizer(supported_language=language, supported_entities=list(_TYPES))
    registry = RecognizerRegistry(recognizers=[recognizer], supported_languages=[language])
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=[language])
    lock = threading.Lock()  # spaCy does not promise that threads may share a pipeline

    def find(text: str) -> Iterator[Finding]:
        for start, piece in _pieces(text):
            with lock:
                results = analyzer.analyze(piece, language=language, entities=list(_TYPES))
            for result in results:
                name = piece[result.start : result.end]
                value = " ".join(name.casefold().split())
                if value:
                    first, last = start + result.start, start + result.end
                    yield Finding(first, last, _TYPES[result.entity_type], value)

    return find


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """Yield a text in pieces that end between words, each with its place."""
    start = 0
    while start < len(text):
        end = min(start + _NUM_PIECE_CHARACTERS, len(text))
        if end < len(text):
            space = text.rfind(" ", start, end)
            end = space if space > start else end
        yield start, text[start:end]
        start = end
