"""OpenAI fine-tuning files: examples, and the preference form.

    {"messages": [{"role": "user", …}, {"role": "assistant", "content": …, "weight": 1}]}
    {"input": {"messages": […]}, "preferred_output": […], "non_preferred_output": […]}

The fields are those of OpenAI's guides on supervised fine-tuning and on direct preference
optimization. Who puts an answer into a training file vouches for it, which is a thumb up; an
answer of weight 0 is context only. Of a conversation of several turns the last answer counts.
"""

from typing import Any

from llm_assets.errors import UserError
from llm_assets.feedback.formats.bodies import answer_of
from llm_assets.feedback.formats.examples import approved_example, preferred_example
from llm_assets.feedback.formats.reading import Reading, chat_messages, member, objects

# Objects of other formats hold messages as well.
_OTHERS = frozenset(
    (
        "request_id",
        "response",
        "call_type",
        "run_type",
        "prompt",
        "completion",
        "chosen",
        "trace_id",
    )
)


def recognises(fields: dict[str, Any]) -> bool:
    """Say whether the object is an example or a pair of a preferred output and another."""
    is_pair = "preferred_output" in fields and "non_preferred_output" in fields
    return is_pair or ("messages" in fields and _OTHERS.isdisjoint(fields))


def read(fields: dict[str, Any], application: str) -> Reading:
    """Return the interaction and what the file says of it.

    Raises:
        UserError: a part that is needed is missing, empty, or of another type.
    """
    if "preferred_output" in fields:
        messages = chat_messages(member(member(fields, "input", dict), "messages", list))
        chosen = answer_of(member(fields, "preferred_output", list))
        rejected = answer_of(member(fields, "non_preferred_output", list))
        return preferred_example(application, messages, chosen or "", rejected or "")
    turns = objects(fields, "messages")
    last = max(
        (place for place, turn in enumerate(turns) if turn.get("role") == "assistant"), default=None
    )
    if last is None:
        raise UserError("messages: must hold a message of the assistant")
    # A file may weigh each answer or the example as a whole.
    weight = turns[last].get("weight", fields.get("weight", 1))
    thumb = None if weight == 0 else 1.0
    answer = answer_of([turns[last]]) or ""
    return approved_example(application, "sft", chat_messages(turns[:last]), answer, thumb=thumb)
