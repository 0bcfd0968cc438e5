"""What drifted on a day and what moved, with its prompts: for the terminal, not for the UI.

It shows what users wrote, as far as it was not erased, so only who runs the platform may see it.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import polars as pl

from llm_assets.drift.terms import shared_words
from llm_assets.drift.topics import UNNAMED
from llm_assets.errors import UserError
from llm_assets.installation import Installation
from llm_assets.storage import Partition

_MAX_SHOWN_CHARACTERS = 100
_OF_THE_DAY = ("n", "num_baseline", "model_version", "embedder")


def gather(installation: Installation, application: str, day: date | None) -> dict[str, Any]:
    """Return the scores and topics of a day, the newest if None, as plain values.

    What is undefined is None, and `topics` is None where none were looked for.

    Raises:
        UserError: there is no such application, or the day has no scores.
    """
    installation.application(application)
    table = installation.table("drift_scores")
    dates = table.dates(application)
    if not dates:
        raise UserError(f"application {application!r}: no day has drift scores yet")
    shown = day or dates[-1]
    partition = Partition(application=application, date=shown)
    scores = table.read(partition)
    if scores is None:
        raise UserError(
            f"application {application!r}: {shown} has no drift scores; those that have lie in "
            f"{dates[0]} to {dates[-1]}"
        )
    rows = [_plain(row) for row in scores.iter_rows(named=True)]
    is_defined = any(row["score"] is not None for row in rows)
    topics = installation.table("drift_topics").read(partition) if is_defined else None
    return {
        "application": application,
        "date": shown.isoformat(),
        "is_drifted": any(row["is_drifted"] for row in rows),
        **{name: rows[0].get(name) if rows else None for name in _OF_THE_DAY},
        "scores": [
            # Rows that were written before detectors were told apart all decide.
            {"decides": row.get("decides") is not False}
            | {name: value for name, value in row.items() if name not in (*_OF_THE_DAY, "decides")}
            for row in rows
        ],
        "topics": None if topics is None else topics_of(topics),
    }


def describe(shown: Mapping[str, Any]) -> str:
    """Return what `gather` found in some lines for people."""
    version = shown["model_version"] or "no version"
    lines = [
        f"{shown['application']}, {shown['date']}: "
        f"{'drifted' if shown['is_drifted'] else 'not drifted'}",
        f"  {shown['n'] or 0} prompts against {shown['num_baseline'] or 0} of {version}",
        "",
        *_score_lines(shown["scores"]),
        "",
    ]
    if shown["topics"] is None:
        return "\n".join([*lines, "What moved was not looked for on this day."])
    if not shown["topics"]:
        return "\n".join([*lines, "No topic stands out."])
    for number, topic in enumerate(shown["topics"], start=1):
        low, high = (f"{100 * end:+.1f}" for end in topic["interval"])
        lines += [
            f"{number}. {topic['name']}: {topic['num_prompts']} prompts, {topic['share']:.1%}, "
            f"baseline {topic['baseline_share']:.1%} ({low} to {high} points)",
            *(f"     {_one_line(prompt['prompt'])}" for prompt in topic["prompts"]),
            *(["     (its typical prompts were erased)"] if not topic["prompts"] else []),
        ]
    return "\n".join(lines)


def topics_of(table: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the topics in a partition of `drift_topics`, with those of their prompts that stay."""
    topics: list[dict[str, Any]] = []
    for part in table.sort("topic", "rank").partition_by("topic", maintain_order=True):
        prompts = part.filter(pl.col("prompt").is_not_null()).select("prompt", "request_id")
        topic = part.row(0, named=True)
        topics.append(
            {
                "kind": topic["kind"],
                "name": _name(topic["public_name"], prompts["prompt"].to_list()),
                "num_prompts": topic["num_prompts"],
                "n": topic["n"],
                "share": topic["share"],
                "num_baseline": topic["num_baseline"],
                "baseline_share": topic["baseline_share"],
                "interval": [topic["interval_low"], topic["interval_high"]],
                "prompts": prompts.to_dicts(),
            }
        )
    return topics


def _name(public_name: str, prompts: Sequence[str]) -> str:
    """Return a topic's name; one that too few users wrote of gets it from what is left of them."""
    if not public_name.startswith(UNNAMED):
        return public_name
    return ", ".join(shared_words(prompts)) or public_name


def _score_lines(scores: Sequence[Mapping[str, Any]]) -> list[str]:
    ordered = sorted(scores, key=lambda score: not score["decides"])
    width = max((len(score["detector"]) for score in ordered), default=0)
    return [f"  {score['detector']:<{width}}  {_verdict(score)}" for score in ordered]


def _verdict(score: Mapping[str, Any]) -> str:
    if score["score"] is None:
        return f"undefined: {score['reason'] or 'no reason was recorded'}"
    if score["threshold"] is None:
        return f"{score['score']:>9.4f}  no threshold: the rate of false alarms is too low to tell"
    is_over = score["score"] > score["threshold"]
    verdict = "drifted" if score["is_drifted"] else "over, but does not decide" if is_over else ""
    numbers = f"{score['score']:>9.4f}  threshold {score['threshold']:.4f}"
    return f"{numbers}  {verdict}".rstrip()


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row for JSON, which has no nan and no infinity."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }


def _one_line(prompt: str) -> str:
    """Return a prompt's beginning, without what a terminal would take for a command."""
    text = " ".join(prompt.split())
    text = "".join(character if character.isprintable() else "�" for character in text)
    is_long = len(text) > _MAX_SHOWN_CHARACTERS
    return f"{text[: _MAX_SHOWN_CHARACTERS - 1]}…" if is_long else text
