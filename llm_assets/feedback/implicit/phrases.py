"""What users and models say at the start of a message that shows how an answer went.

English only: in other languages these rules find nothing. A phrase counts at the start, after
words like "ok" or "hmm", because further inside a prompt it is mostly part of a text to work on.
"""

import re

_START = 200  # a phrase stands in so many first characters
_END = 160  # a question that is to be replied to stands in so many last ones

_FILLERS = (
    r"(?:(?:ok|okay|hm+|um+|uh+|well|oh|ah|wait|hey|ugh|sorry|but|and|yes|yeah|so|nope?|no+"
    r"|thanks,? but|thank you,? but)\b[\s,.!:…-]*)*"
)
_IT = r"(?:(?:that|this|it|the answer) ?(?:is|was|'s)|thats|its)"
_IT_NOT = (
    rf"(?:{_IT} (?:just |still |really |also )?not|(?:that|this|it) ?(?:isn't|wasn't|aint|ain't))"
)
_DID_NOT = r"(?:didn'?t|did not|don'?t|do not|never)"
_STRONG = re.compile(
    _FILLERS
    + r"(?:"
    + rf"{_IT_NOT} (?:what|how|right\b|correct\b|true\b|working\b|helpful\b|the (?:one|question))"
    + rf"|{_IT} (?:still |just |all |completely |totally )?(?:wrong|incorrect|false)\b"
    + r"|you(?:'re| are) (?:still )?(?:wrong|mistaken|incorrect|not (?:answering|listening))\b"
    + r"|you (?:misunder\w+|misread|got (?:it|that|this|me) wrong|missed the|ignored|forgot)\b"
    + rf"|you {_DID_NOT} (?:answer|understand|read|listen|do what)\b"
    + r"|i (?:didn'?t|did not|never) (?:mean|ask)\b(?! to\b)"
    + r"|i meant\b(?! to (?:say|type|write|put|use)\b)|not what i (?:meant|asked|want|need|said)"
    + r"|(?:it|that|this) (?:still )?(?:does|did)(?: not|n'?t) (?:work|help|answer)\b"
    + r"|(?:still )?(?:doesn'?t|didn'?t) work\b|still (?:wrong|not working|broken)\b"
    + r"|(?:wrong|incorrect|not (?:true|correct|right))(?:\s*[.!,]|\s*$| answer| again)"
    + r")"
)
_WEAK = re.compile(r"(?:(?:no|nope)\b\s*[,.!]\s*\w|actually\b)")

_PRAISE = (
    r"(?:great|perfect|awesome|nice|excellent|amazing|wonderful|brilliant|good|exactly|cool)\b"
)
_BEFORE_PRAISE = r"(?:(?:ok|okay|oh|ah|wow|yes|yeah|got it|haha|lol|alright)\b[\s,.!:…-]*)*"
_BEFORE_THANKS = rf"{_BEFORE_PRAISE}(?:{_PRAISE}[\s,.!:…-]*)*{_BEFORE_PRAISE}"
_THANKED = re.compile(
    _BEFORE_THANKS
    + r"(?:many thanks|thanks|thank ?you|thank u|thx|tysm|ty|cheers|much appreciated)\b"
    + r"(?!\s*(?:notes?|letters?|cards?|e-?mails?|messages?|speech|gifts?|for nothing)\b)"
)
_WORKED = re.compile(
    _BEFORE_THANKS
    + r"(?:(?:that|this|it) (?:works?|worked|helps?|helped|fixed (?:it|that)|solved (?:it|that))"
    + r"\b(?!\s+(?:if|that|when|like|out|by|with|because|to|for|in|on|as)\b)"
    + r"|(?:that's|this is|thats|that is) (?:exactly|just) what i\b"
    + r"|(?:that's|this is|thats|that is) (?:very|really|so|super) helpful\b)"
)
_PRAISED = re.compile(rf"{_BEFORE_PRAISE}(?:that's |this is |that is )?(?:{_PRAISE}[\s.!,]*)+$")
_RESERVATION = re.compile(r"\b(?:but|however|except|still|although|not)\b")

_AGAIN = re.compile(
    r"(?:(?:please|pls|ok|no)[\s,]*)*(?:can you |could you )?(?:please )?"
    r"(?:try (?:it |that |this )?again|regenerate(?: (?:it|that|this|the answer|response))?"
    r"|redo(?: it| that| this)?|do (?:it|that|this) again|retry|once more|one more time"
    r"|(?:give me )?another (?:answer|try|attempt))(?:[\s,]*please)?[\s.!?]*$"
)
_CANNOT = (
    r"i(?:(?: am|'m) (?:unable|not able|not allowed)| can'?t| cannot| can not| won't| could ?n[o']t"
    r"| do(?: not|n't) (?:know|have|understand))\b"
)
_REFUSAL = re.compile(
    rf"(?:{_CANNOT}|as an? (?:ai|language model|assistant)\b"
    r"|(?:(?:i'm|i am) (?:so |very |really )?sorry|sorry|my apologies|i apologi[sz]e|unfortunately)"
    rf"[,.]? (?:but )?(?:{_CANNOT}|as an\b|this (?:content|request|question)))"
)


def correction_confidence(prompt: str, *, answer: str) -> float | None:
    """Return how surely a prompt rejects the answer before it; None where it does not.

    0.75 for "that's wrong" or "I meant …", 0.25 for a mere "no, …" or "actually …", which is
    nothing at all after an answer with a question at its end: the user may only be replying. Both
    are about the share of hits that a reader agreed with (`benchmarks/implicit.py`).

    >>> correction_confidence("No, that's not what I meant", answer="Here is a poem.")
    0.75
    >>> correction_confidence("No, make it shorter", answer="Shall I go on?") is None
    True
    """
    start = _plain(prompt)
    strong = _STRONG.match(start)
    if strong:
        # "It didn't work?" asks what the answer said.
        return None if start[strong.end() :].lstrip().startswith("?") else 0.75
    if "?" in answer[-_END:] or thanks_confidence(prompt) is not None or _is_polite_no(start):
        return None
    return 0.25 if _WEAK.match(start) else None


def thanks_confidence(prompt: str) -> float | None:
    """Return how surely a prompt shows that the answer before it was good; None where it does not.

    0.9 for thanks, 0.6 for nothing but "great!", 0.25 for "that worked". Thanks with a "but"
    are none.

    >>> thanks_confidence("Perfect, thank you so much!")
    0.9
    >>> thanks_confidence("thanks, but that is still wrong") is None
    True
    """
    start = _plain(prompt)
    for pattern, confidence in ((_THANKED, 0.9), (_PRAISED, 0.6), (_WORKED, 0.25)):
        found = pattern.match(start)
        if found and start.strip(" .!"):
            rest = start[found.end() : found.end() + 40]
            return None if _RESERVATION.search(rest) else confidence
    return None


def asks_again(prompt: str) -> bool:
    """Say whether a prompt wants nothing but another answer, such as "try again".

    >>> asks_again("Try again, please!"), asks_again("try again with more salt")
    (True, False)
    """
    return len(prompt) < _START and _AGAIN.match(_plain(prompt)) is not None


def is_refusal(answer: str) -> bool:
    """Say whether an answer starts by saying that it is none.

    >>> is_refusal("I'm sorry, but I can't help with that."), is_refusal("Paris.")
    (True, False)
    """
    return _REFUSAL.match(_plain(answer)) is not None


def _is_polite_no(start: str) -> bool:
    return (
        re.match(
            r"nope?\b[\s,.!]*(?:thanks|thank|that's (?:all|it|fine|ok)|problem|worries)", start
        )
        is not None
    )


def _plain(text: str) -> str:
    return " ".join(
        text.lstrip()[:_START].replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").casefold().split()
    )
