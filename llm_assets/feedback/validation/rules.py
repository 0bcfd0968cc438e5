"""What is expected of the logs' rows, columns and days, rule by rule.

A rule is an error where our own pipeline must have failed, and a warning where a client or the
world may have.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from llm_assets.feedback.validation.config import ValidationConfig
from llm_assets.records import FeedbackKind


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One claim about one column of the facts (see `facts`); a value that is null passes.

    Exactly one of the conditions is set, or an interval. Of a day's rows `allowed_rate` may break
    the rule.
    """

    name: str
    claim: str
    column: str
    is_error: bool = False
    allowed_rate: float = 0.0
    is_given: bool = False
    is_unique: bool = False
    same_as: str | None = None
    among: Sequence[float] | Sequence[str] | None = None
    at_least: float | None = None
    at_most: float | None = None
    below: float | None = None


COLUMN_RULES = (
    Rule(
        name="schema",
        claim="every column is there with its type, and no other",
        column="type",
        is_error=True,
        same_as="expected_type",
    ),
)

_ROWS = (
    Rule(
        name="id_is_given", claim="every row has an id", column="id", is_error=True, is_given=True
    ),
    Rule(
        name="id_is_unique",
        claim="no id stands twice in a day",
        column="day_and_id",
        is_error=True,
        is_unique=True,
    ),
    Rule(
        name="time_lies_in_the_day",
        claim="every row's time lies in the day of its partition (UTC)",
        column="days_off",
        is_error=True,
        at_least=0,
        at_most=0,
    ),
)


def interaction_rules(config: ValidationConfig) -> tuple[Rule, ...]:
    """Return what is expected of the rows of `interaction_logs`."""
    latency = config.max_latency_seconds
    return (
        *_ROWS,
        Rule(
            name="status_is_http",
            claim="status lies in 100 to 599",
            column="status",
            at_least=100,
            at_most=599,
        ),
        Rule(
            name="latency_is_plausible",
            claim=f"latency_seconds lies in 0 to under {latency:g}",
            column="latency_seconds",
            at_least=0,
            below=latency,
        ),
        Rule(
            name="first_token_is_plausible",
            claim="first_token_seconds is not negative",
            column="first_token_seconds",
            at_least=0,
        ),
        *(
            Rule(
                name=f"{name}_is_a_count", claim=f"{name} is not negative", column=name, at_least=0
            )
            for name in ("num_prompt_tokens", "num_response_tokens")
        ),
        Rule(
            name="prompt_is_not_blank",
            claim=f"at most {config.max_blank_prompt_rate:.1%} of the answered prompts are blank",
            column="prompt_length",
            at_least=1,
            allowed_rate=config.max_blank_prompt_rate,
        ),
    )


def feedback_rules(config: ValidationConfig) -> tuple[Rule, ...]:
    """Return what is expected of the rows of `feedback_logs`."""
    unknown = config.max_unknown_request_rate
    return (
        *_ROWS,
        Rule(
            name="kind_is_known",
            claim="kind is one of the kinds of feedback",
            column="kind",
            is_error=True,
            among=[str(kind) for kind in FeedbackKind],
        ),
        Rule(name="thumb_is_up_or_down", claim="a thumb is -1 or 1", column="thumb", among=[-1, 1]),
        Rule(
            name="rating_has_five_steps",
            claim="a rating lies in 1 to 5",
            column="rating",
            at_least=1,
            at_most=5,
        ),
        Rule(
            name="confidence_is_a_rate",
            claim="confidence lies in 0 to 1",
            column="confidence",
            at_least=0,
            at_most=1,
        ),
        Rule(
            name="text_is_not_empty",
            claim="a comment, correction, edit or preference has a text",
            column="text_length",
            at_least=1,
        ),
        Rule(
            name="speaks_of_something",
            claim="every row names a request or a session",
            column="num_ids",
            is_error=True,
            at_least=1,
        ),
        Rule(
            name="request_is_known",
            claim=f"at most {unknown:.0%} of the rows name a request that has not arrived",
            column="is_unknown",
            at_most=0,
            allowed_rate=unknown,
        ),
    )


def day_rules(max_age_days: float) -> tuple[Rule, ...]:
    """Return what is expected of a day as a whole."""
    return (
        Rule(
            name="has_rows",
            claim="a day that was published has rows",
            column="num_published_rows",
            at_least=1,
        ),
        Rule(
            name="volume_is_usual",
            claim="as many rows as the weekday usually has",
            column="rows_beyond_usual",
            at_least=0,
            at_most=0,
        ),
        Rule(
            name="is_fresh",
            claim=f"the newest row of all is at most {max_age_days:g} days old",
            column="age_days",
            at_most=max_age_days,
        ),
    )
