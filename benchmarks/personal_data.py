"""Measures how much personal data is found, how much else is taken for it, and what that costs.

The texts with labelled values are Presidio's synthetic data set (synth_dataset_v2.json of
presidio-research, MIT), whose file is named by LLM_ASSETS_BENCHMARK_DATA or --data; without it that
part is left out. Our patterns were fitted on its templates with odd numbers, so what counts are
the even ones, which are shown. What it lacks is made here: identity numbers, IBANs of other
countries, and secrets. Who wrote the patterns wrote these too, so they show that nothing broke and
promise nothing. Clean texts are conversations between people (chitchat-dataset,
chatterbot-corpus), where next to every finding is a false one.

Where presidio-analyzer is installed its recognisers are measured on the same texts, with patterns
only and, if a spaCy model is named by --spacy-model, with names.

    python benchmarks/personal_data.py [--data FILE] [--spacy-model MODULE] [--show]
"""

import argparse
import base64
import importlib.resources
import json
import os
import random
import re
import string
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from llm_assets.feedback.scrubbing import patterns
from llm_assets.feedback.scrubbing.config import PATTERN_TYPES
from llm_assets.feedback.scrubbing.names import load_finder
from llm_assets.feedback.scrubbing.national_ids import (
    is_codice_fiscale,
    is_dutch_bsn,
    is_french_nir,
    is_german_tax_id,
    is_spanish,
)

Span = tuple[int, int, str]
Find = Callable[[str], list[Span]]

_TYPES = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "IBAN_CODE": "iban",
    "CREDIT_CARD": "card",
    "IP_ADDRESS": "ip_address",
    "US_SSN": "national_id",
    "PERSON": "person",
    "STREET_ADDRESS": "location",
    "GPE": "location",
    "LOCATION": "location",
    # What Presidio alone calls so.
    "UK_NINO": "national_id",
    "ES_NIF": "national_id",
    "ES_NIE": "national_id",
    "IT_FISCAL_CODE": "national_id",
}
_NAMES = ("person", "location")


class Sample(NamedTuple):
    """A text, the values that it holds, and the template that it was made of."""

    text: str
    spans: list[Span]
    template: int


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("LLM_ASSETS_BENCHMARK_DATA"))
    parser.add_argument("--spacy-model", help="module of a spaCy model, to measure names")
    parser.add_argument("--show", action="store_true", help="print what was missed and mistaken")
    parser.add_argument("--fitted", action="store_true", help="the templates that were fitted on")
    arguments = parser.parse_args()

    finders = {"ours": find_ours, **other_finders(arguments.spacy_model)}
    parts = {"made here": made_samples(random.Random(7))}
    if arguments.data and Path(arguments.data).is_file():
        parts = {"presidio-research": labelled_samples(Path(arguments.data)), **parts}
    else:
        print("No labelled data set: name its file by LLM_ASSETS_BENCHMARK_DATA or --data.")
    for title, samples in parts.items():
        chosen = [sample for sample in samples if sample.template % 2 == arguments.fitted]
        print(f"\n{title}: {len(chosen)} texts, templates", end=" ")
        print("fitted on" if arguments.fitted else "not fitted on")
        for name, find in finders.items():
            report(name, find, chosen, show=arguments.show)
    texts = clean_texts()
    print(f"\nclean: {len(texts)} texts of people, findings in 10,000 texts")
    for name, find in finders.items():
        report_clean(name, find, texts, show=arguments.show)


def report(name: str, find: Find, samples: Sequence[Sample], *, show: bool) -> None:
    """Print recall and precision of each type.

    A value is found if findings of its type cover its letters and digits; a finding is right if it
    meets a value of its type. `removed` counts what findings of any type cover.
    """
    start = time.perf_counter()
    found = [find(sample.text) for sample in samples]
    microseconds = (time.perf_counter() - start) / len(samples) * 1e6
    print(f"{name:22} {'n':>5} {'recall':>7} {'removed':>8} {'precision':>10}", end="")
    print(f"   {microseconds:.0f} µs a text")
    types = {span[2] for sample in samples for span in sample.spans}
    for type_ in sorted(types):
        total = hits = removed = right = findings = 0
        for sample, spans in zip(samples, found, strict=True):
            values = [span for span in sample.spans if span[2] == type_]
            same = [span for span in spans if span[2] == type_]
            for value in values:
                total += 1
                is_hit = _covers(same, value, sample.text)
                hits += is_hit
                removed += _covers(spans, value, sample.text)
                if show and not is_hit and name == "ours" and type_ not in _NAMES:
                    print("   missed  ", type_, _excerpt(sample.text, value))
            for span in same:
                findings += 1
                is_right = any(span[0] < end and start < span[1] for start, end, _ in values)
                right += is_right
                if show and not is_right and name == "ours":
                    print("   mistaken", type_, _excerpt(sample.text, span))
        precision = f"{right / findings:.3f}" if findings else "nan"
        print(f"  {type_:20} {total:5} {hits / total:7.3f} {removed / total:8.3f} {precision:>10}")


def report_clean(name: str, find: Find, texts: Sequence[str], *, show: bool) -> None:
    """Print how often each type is found where next to nothing is."""
    start = time.perf_counter()
    found = [(text, span) for text in texts for span in find(text)]
    microseconds = (time.perf_counter() - start) / len(texts) * 1e6
    print(f"{name:22} {microseconds:.1f} µs a text")
    for type_ in sorted({span[2] for _, span in found}):
        count = sum(span[2] == type_ for _, span in found)
        print(f"  {type_:20} {count / len(texts) * 10_000:8.2f}   ({count})")
    if show and name == "ours":
        for text, span in found:
            print("   found", span[2], _excerpt(text, span))


def find_ours(text: str) -> list[Span]:
    """Return what our patterns find."""
    if not patterns.is_suspect(text):
        return []
    return [(f.start, f.end, f.type.value) for f in patterns.find(text, PATTERN_TYPES)]


def other_finders(spacy_model: str | None) -> dict[str, Find]:
    """Return ours with names, and Presidio's recognisers, as far as they are installed."""
    try:
        import spacy  # pyright: ignore[reportMissingImports]
        import tldextract.tldextract  # pyright: ignore[reportMissingImports]
        from presidio_analyzer import AnalyzerEngine  # pyright: ignore[reportMissingImports]
        from presidio_analyzer.nlp_engine import SpacyNlpEngine  # pyright: ignore[reportMissingImports]
    except ImportError:
        print("Without presidio-analyzer: it is not installed.")
        return {}
    # Presidio's e-mail recogniser would fetch a list of domains.
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=())

    def finder(nlp: Any, wanted: Sequence[str]) -> Find:
        nlp_engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": "loaded already"}])
        nlp_engine.nlp = {"en": nlp}
        analyzer = AnalyzerEngine(nlp_engine=nlp_engine, supported_languages=["en"])
        entities = [type_ for type_ in analyzer.get_supported_entities("en") if type_ in wanted]

        def find(text: str) -> list[Span]:
            results = analyzer.analyze(text, language="en", entities=entities)
            return [(r.start, r.end, _TYPES[r.entity_type]) for r in results]

        return find

    finders = {
        "presidio patterns": finder(
            spacy.blank("en"), [name for name, type_ in _TYPES.items() if type_ not in _NAMES]
        )
    }
    if spacy_model:
        find_names = load_finder(spacy_model)

        def find_ours_with_names(text: str) -> list[Span]:
            names = [(f.start, f.end, f.type.value) for f in find_names(text)]
            return [*find_ours(text), *names]

        finders["ours with names"] = find_ours_with_names
        finders["presidio with names"] = finder(spacy.load(spacy_model), list(_TYPES))
    return finders


def labelled_samples(path: Path) -> list[Sample]:
    """Return the data set's texts with the types that we know."""
    return [
        Sample(
            text=row["full_text"],
            spans=[
                (span["start_position"], span["end_position"], _TYPES[span["entity_type"]])
                for span in row["spans"]
                if span["entity_type"] in _TYPES
            ],
            template=row["template_id"],
        )
        for row in json.loads(path.read_text())
    ]


def clean_texts() -> list[str]:
    """Return what people wrote to each other and to a bot."""
    packages = importlib.resources.files
    conversations = json.loads((packages("chitchat_dataset") / "dataset.json").read_text("utf-8"))
    texts = [
        message["text"]
        for conversation in conversations.values()
        for turn in conversation["messages"]
        for message in turn
    ]
    for file in sorted((packages("chatterbot_corpus") / "data" / "english").iterdir(), key=str):
        if file.name.endswith(".yml"):
            for conversation in yaml.safe_load(file.read_text("utf-8"))["conversations"]:
                texts += map(str, conversation)
    return texts


_SENTENCES = (
    "{}",
    "Please check {} for me.",
    "My details are: {}, thank you",
    "I was told that {} is not valid, why?",
    "Here you go:\n\n{}\n\nWhat is wrong with it?",
    'He wrote "{}" and nothing else.',
    "({})",
    "Use {}; it should work.",
    '{{"value": "{}"}}',
    "this is it -> {}",
    "Can you put {}, into the form?",
    "| name | {} |",
)
_BY_KEYWORD = {
    "de_tax_id": ("Meine Steuer-ID ist {}", "tax ID: {}", "IdNr. {}", "Steuernummer {}"),
    "nl_bsn": ("mijn BSN is {}", "BSN: {}", "burgerservicenummer {}", "My bsn number: {}."),
    "password": ("password={}", "my password is {}", '"password": "{}"', "PASSWORD={} make"),
    "api_key": ("api_key={}", 'api_key: "{}"', "export SERVICE_TOKEN={}", "client_secret = '{}'"),
}


def made_samples(rng: random.Random) -> list[Sample]:
    """Return sentences with values of the types that the labelled data set lacks."""
    samples: list[Sample] = []
    for kind, (type_, make) in _MADE.items():
        sentences = _BY_KEYWORD.get(kind, _SENTENCES)
        for number, sentence in enumerate(sentences):
            for _ in range(60 // len(sentences)):
                value = make(rng)
                before, after = sentence.replace("{{", "{").replace("}}", "}").split("{}")
                span = (len(before), len(before) + len(value), type_)
                samples.append(Sample(before + value + after, [span], number))
    return samples


def _made(rng: random.Random, characters: str, length: int) -> str:
    return "".join(rng.choices(characters, k=length))


def _until(make: Callable[[], str], is_valid: Callable[[str], bool]) -> str:
    while not is_valid(value := make()):
        pass
    return value


def _iban(rng: random.Random) -> str:
    country, bban = rng.choice(
        [
            ("DE", _made(rng, _DIGITS, 18)),
            ("FR", _made(rng, _DIGITS, 10) + _made(rng, _CAPITALS + _DIGITS, 11) + "42"),
            ("NL", _made(rng, _CAPITALS, 4) + _made(rng, _DIGITS, 10)),
            ("MT", _made(rng, _CAPITALS, 4) + _made(rng, _DIGITS, 5) + _made(rng, _CAPITALS, 18)),
            ("NO", _made(rng, _DIGITS, 11)),
        ]
    )
    digits = "".join(str(int(character, 36)) for character in f"{bban}{country}00")
    value = f"{country}{98 - int(digits) % 97:02}{bban}"
    return " ".join(re.findall(".{1,4}", value)) if rng.random() < 0.5 else value


def _card(rng: random.Random) -> str:
    digits = rng.choice(["4", "51", "37", "6011"])
    digits += _made(rng, _DIGITS, (14 if digits == "37" else 15) - len(digits))
    double = [sum(divmod(2 * int(digit), 10)) for digit in digits[::-2]]
    digits += str(-(sum(double) + sum(map(int, digits[-2::-2]))) % 10)
    groups = re.findall("(....)(......)(.....)" if len(digits) == 15 else "(....)" * 4, digits)
    return rng.choice(["", " ", "-"]).join(groups[0])


def _nino(rng: random.Random) -> str:
    parts = [_made(rng, "ABCEHJLMPRSW", 2), *(_made(rng, _DIGITS, 2) for _ in range(3))]
    return rng.choice(["", " "]).join([*parts, rng.choice("ABCD")])


def _dni(rng: random.Random) -> str:
    first = rng.choice(["", "X", "Y"])
    digits = _made(rng, _DIGITS, 7 if first else 8)
    return _until(lambda: f"{first}{digits}{rng.choice(_CAPITALS)}", is_spanish)


def _codice_fiscale(rng: random.Random) -> str:
    head = _made(rng, "BCDFGLMNPRST", 6) + f"{rng.randrange(100):02}{rng.choice('ABCDEHLMPRST')}"
    head += f"{rng.randrange(1, 31):02}{rng.choice('ABCDEFGHIL')}{_made(rng, _DIGITS, 3)}"
    return _until(lambda: head + rng.choice(_CAPITALS), is_codice_fiscale)


def _nir(rng: random.Random) -> str:
    head = f"{rng.choice('12')}{rng.randrange(30, 99)}{rng.randrange(1, 13):02}"
    head += f"{rng.randrange(1, 96):02}{_made(rng, _DIGITS, 6)}"
    value = _until(lambda: f"{head}{rng.randrange(1, 98):02}", is_french_nir)
    parts = re.fullmatch("(.)(..)(..)(..)(...)(...)(..)", value)
    assert parts is not None
    return rng.choice(["", " "]).join(parts.groups())


def _tax_id(rng: random.Random) -> str:
    return _until(lambda: rng.choice("123456789") + _made(rng, _DIGITS, 10), is_german_tax_id)


def _ip_v6(rng: random.Random) -> str:
    groups = [f"{rng.randrange(0x1000, 0x10000):x}" for _ in range(7)]
    return rng.choice(["2001:" + ":".join(groups), f"fe80::{groups[0]}:{groups[1]}"])


def _jwt(rng: random.Random) -> str:
    parts = (
        b'{"alg":"HS256","typ":"JWT"}',
        b'{"sub":"%d"}' % rng.randrange(10**9),
        rng.randbytes(32),
    )
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def _private_key(rng: random.Random) -> str:
    body = "\n".join(base64.b64encode(rng.randbytes(48)).decode() for _ in range(4))
    return f"-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----"


def _token(prefix: str, length: int, characters: str = "") -> Callable[[random.Random], str]:
    return lambda rng: prefix + _made(rng, characters or _ALPHANUMERICS, length)


_DIGITS, _CAPITALS = string.digits, string.ascii_uppercase
_ALPHANUMERICS = string.ascii_letters + string.digits
_MADE: dict[str, tuple[str, Callable[[random.Random], str]]] = {
    "iban": ("iban", _iban),
    "card": ("card", _card),
    "uk_nino": ("national_id", _nino),
    "es_dni": ("national_id", _dni),
    "it_codice_fiscale": ("national_id", _codice_fiscale),
    "fr_nir": ("national_id", _nir),
    "de_tax_id": ("national_id", _tax_id),
    "nl_bsn": ("national_id", lambda rng: _until(lambda: _made(rng, _DIGITS, 9), is_dutch_bsn)),
    "ip_v6": ("ip_address", _ip_v6),
    "github": ("secret", _token("ghp_", 36)),
    "gitlab": ("secret", _token("glpat-", 20)),
    "slack": ("secret", _token("xoxb-123456789012-", 24)),
    "openai": ("secret", _token("sk-proj-", 48)),
    "anthropic": ("secret", _token("sk-ant-api03-", 95)),
    "google": ("secret", _token("AIza", 35)),
    "stripe": ("secret", _token("sk_live_", 24)),
    "aws": ("secret", _token("AKIA", 16, _CAPITALS + "234567")),
    "hugging_face": ("secret", _token("hf_", 34)),
    "jwt": ("secret", _jwt),
    "private_key": ("secret", _private_key),
    "password": ("secret", _token("Tr0ub4", 6)),
    "api_key": ("secret", _token("", 32)),
}


def _covers(spans: Sequence[Span], value: Span, text: str) -> bool:
    covered = {place for start, end, _ in spans for place in range(start, end)}
    return all(p in covered for p in range(value[0], value[1]) if text[p].isalnum())


def _excerpt(text: str, span: Span) -> str:
    before, after = text[max(0, span[0] - 30) : span[0]], text[span[1] : span[1] + 20]
    return repr(f"{before}[{text[span[0] : span[1]]}]{after}")


if __name__ == "__main__":
    main()
