"""Cleans records of personal data before they are written.

In texts a value is replaced by a placeholder that is numbered within its session: the same address
is `<EMAIL_1>` wherever it stands in a conversation. An id that holds personal data becomes a
pseudonym, the same one everywhere, so that joins hold; look-ups by an id ask for `pseudonym` too.
"""

import dataclasses
import functools
import hmac
import operator
import re
from collections.abc import Iterator, Mapping
from typing import Any

from llm_assets.feedback.log import Record
from llm_assets.feedback.scrubbing import patterns
from llm_assets.feedback.scrubbing.config import PATTERN_TYPES, PersonalDataConfig, PersonalDataType
from llm_assets.feedback.scrubbing.findings import Finding, without_overlaps
from llm_assets.feedback.scrubbing.identifiers import (
    holds_personal_data,
    may_hold_personal_data,
)
from llm_assets.feedback.scrubbing.names import Names
from llm_assets.feedback.scrubbing.numbering import Numbering
from llm_assets.records import Interaction

_PLACEHOLDER = re.compile(
    rf"<({'|'.join(type_.upper() for type_ in PersonalDataType)})_([0-9]{{1,6}})>"
)
# What stands beside a replaced value may then be a value itself. People's texts are clean after
# the first round.
_MAX_ROUNDS = 8
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})


class Scrubbers:
    """Cleans each record by the config of its application; may be used from several threads.

    Records of an application that is not in `configs` are cleaned by the default config.

    Ids are treated alike in all applications, whatever they `remove`: a look-up must find a
    record without knowing whose it is.
    """

    def __init__(self, configs: Mapping[str, PersonalDataConfig], key: bytes) -> None:
        self._configs = dict(configs)
        self._default = PersonalDataConfig()
        self._key = key
        self._numbering = Numbering(key)
        self._names = Names()
        # Labels take few values, which come with every record.
        self._is_personal_label = functools.lru_cache(maxsize=1000)(holds_personal_data)

    def __call__(self, record: Record) -> Record:
        """Return the record without personal data; a clean one is returned as it is.

        Raises:
            UserError: it could not be cleaned, and its application's config says `fail_closed`.
        """
        config = self._configs.get(record.application, self._default)
        changes = self._changed_ids(record)
        texts = dict.fromkeys(_texts(record))
        # One look at all of them together costs a third of a look at each.
        if config.remove - PATTERN_TYPES or _is_suspect("\n".join(texts)):
            changes |= self._changed_texts(record, list(texts), config)
        return dataclasses.replace(record, **changes) if changes else record

    def pseudonym(self, value: str) -> str:
        """Return an id as it is stored: itself, or a pseudonym if it holds personal data."""
        if not holds_personal_data(value):
            return value
        digest = hmac.digest(self._key, value.encode("utf-8", "surrogatepass"), "sha256")
        return f"id-{digest.hex()[:16]}"

    def _changed_ids(self, record: Record) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        is_interaction = isinstance(record, Interaction)
        ids = _INTERACTION_IDS if is_interaction else _FEEDBACK_IDS
        values = ids(record)
        aliases = record.aliases if is_interaction else []
        if may_hold_personal_data([*filter(None, values), *aliases]):
            names = _INTERACTION_ID_NAMES if is_interaction else _FEEDBACK_ID_NAMES
            for name, value in zip(names, values, strict=True):
                if value and holds_personal_data(value):
                    changes[name] = self.pseudonym(value)
            if any(map(holds_personal_data, aliases)):
                changes["aliases"] = [self.pseudonym(alias) for alias in aliases]
        for name in _INTERACTION_LABELS if is_interaction else _FEEDBACK_LABELS:
            value = getattr(record, name)
            if value and self._is_personal_label(value):
                changes[name] = self.pseudonym(value)
        return changes

    def _changed_texts(
        self, record: Record, texts: list[str], config: PersonalDataConfig
    ) -> dict[str, Any]:
        session = _session(record)
        for text in texts:
            for placeholder in _PLACEHOLDER.finditer(text):
                type_ = PersonalDataType(placeholder[1].lower())
                self._numbering.reserve(session, type_, int(placeholder[2]))
        cleaned = {text: self._cleaned(text, session, record, config) for text in texts}
        if all(text is after for text, after in cleaned.items()):
            return {}
        if not isinstance(record, Interaction):
            changes = {name: getattr(record, name) for name in _FEEDBACK_TEXTS}
            return {name: cleaned.get(text, text) for name, text in changes.items()}
        return {
            "prompt": cleaned[record.prompt],
            "response": cleaned[record.response],
            "messages": [
                {cleaned.get(key, key): cleaned.get(value, value) for key, value in message.items()}
                for message in record.messages
            ],
        }

    def _cleaned(self, text: str, session: str, record: Record, config: PersonalDataConfig) -> str:
        names = [
            name
            for name in self._names.find(text, config, application=record.application)
            if _PLACEHOLDER.search(text[name.start : name.end]) is None
        ]
        for _ in range(_MAX_ROUNDS):
            found = patterns.find(text, config.remove)
            if names:
                found, names = without_overlaps([*found, *names], len(text)), []
            if not found:
                break
            text = self._replaced(text, found, session)
        return text

    def _replaced(self, text: str, findings: list[Finding], session: str) -> str:
        parts: list[str] = []
        end = 0
        for finding in findings:
            parts.append(text[end : finding.start])
            parts.append(self._numbering.placeholder(session, finding.type, finding.value))
            end = finding.end
        parts.append(text[end:])
        return "".join(parts)


_INTERACTION_ID_NAMES = ("request_id", "session_id", "user_id")
_FEEDBACK_ID_NAMES = (*_INTERACTION_ID_NAMES, "feedback_id")
_INTERACTION_IDS = operator.attrgetter(*_INTERACTION_ID_NAMES)
_FEEDBACK_IDS = operator.attrgetter(*_FEEDBACK_ID_NAMES)
# What clients choose as well, though it is no id: a pseudonym keeps equal labels equal.
_INTERACTION_LABELS = ("model_version", "variant", "finish_reason")
_FEEDBACK_LABELS = ("rule",)
_FEEDBACK_TEXTS = ("text", "rejected", "name")


def _session(record: Record) -> str:
    """Return what the numbering is of: a session, or a request that stands alone."""
    if record.session_id:
        return f"{record.application} session {record.session_id}"
    return f"{record.application} request {record.request_id}"


def _texts(record: Record) -> Iterator[str]:
    """Yield all texts of a record in the order in which people read them."""
    if not isinstance(record, Interaction):
        yield from filter(None, (record.text, record.rejected, record.name))
        return
    for message in record.messages:
        for key, value in message.items():
            if key == "content":
                yield value
            elif key != "role" or value not in _ROLES:
                yield from (key, value)
    yield record.prompt
    yield record.response


def _is_suspect(text: str) -> bool:
    return patterns.is_suspect(text) or ("<" in text and _PLACEHOLDER.search(text) is not None)
