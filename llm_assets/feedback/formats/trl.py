"""Data sets in TRL's formats, of plain texts or of conversations.

    {"prompt": …, "completion": …, "label": true}     unpaired preference, as KTO takes it
    {"prompt": …, "chosen": …, "rejected": …}         preference; the prompt may be implicit
    {"prompt": …, "completion": …}                    prompt and completion

The fields are those of `docs/source/dataset_formats.md` in TRL 1.16. A label is a thumb; an example
without one was put there to be learnt, which is a thumb up.
"""

from typing import Any

from llm_assets.feedback.formats.bodies import Messages, answer_of
from llm_assets.feedback.formats.examples import approved_example, preferred_example
from llm_assets.feedback.formats.reading import Reading, chat_messages, member


def recognises(fields: dict[str, Any]) -> bool:
    """Say whether the object has a completion or a pair of answers, and no id of a request."""
    is_pair = "chosen" in fields and "rejected" in fields
    return "request_id" not in fields and (
        is_pair or ("prompt" in fields and "completion" in fields)
    )


def read(fields: dict[str, Any], application: str) -> Reading:
    """Return the interaction and what the label or the pair says of it.

    Raises:
        UserError: a part that is needed is missing, empty, or of another type.
    """
    if "chosen" in fields and "rejected" in fields:
        chosen, rejected = fields["chosen"], fields["rejected"]
        messages = _conversation(fields["prompt"]) if "prompt" in fields else []
        if not messages and isinstance(chosen, list) and isinstance(rejected, list):
            num_shared = _num_shared(chosen, rejected)
            messages = chat_messages(chosen[:num_shared])
            chosen, rejected = chosen[num_shared:], rejected[num_shared:]
        return preferred_example(application, messages, _answer(chosen), _answer(rejected))
    messages, answer = _conversation(fields.get("prompt")), _answer(fields.get("completion"))
    if fields.get("label") is None:
        return approved_example(application, "sft", messages, answer, thumb=1.0)
    thumb = 1.0 if member(fields, "label", bool) else -1.0
    return approved_example(application, "kto", messages, answer, thumb=thumb)


def _conversation(prompt: Any) -> Messages:
    # A plain text is taken as it stands, also where it looks like JSON.
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    return chat_messages(prompt)


def _answer(completion: Any) -> str:
    return completion if isinstance(completion, str) else answer_of(completion) or ""


def _num_shared(chosen: list[Any], rejected: list[Any]) -> int:
    """Return how many messages the two share before they part."""
    num_shared = 0
    for one, other in zip(chosen, rejected, strict=False):
        if one != other:
            break
        num_shared += 1
    return num_shared
