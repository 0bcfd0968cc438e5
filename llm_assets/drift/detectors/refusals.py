"""How often does the model decline to answer? Known phrases at the start of the answer.

A model that was taught to be too careful, or that lost a tool it needs, declines more. The phrases
are English, German, French, Spanish, Portuguese, Italian and Dutch. What declines in other words
is missed, a lecture above all, so the rate is for comparing with itself.

Held against two people's labels of the 1,350 answers of XSTest (Röttger et al., NAACL 2024), some
of which were read while the phrases were written, they find 196 of GPT-4's 211 full refusals, 272
of Llama 2's 294, and 6 of Mistral 7B's 49, which lectures. Of 705 answers that comply they take
14, most of which say that something is not known.
"""

import re
from collections.abc import Sequence

import numpy as np

from llm_assets.drift.detectors.calibration import Measured, calibrate
from llm_assets.drift.detectors.js_divergence import DECIMALS
from llm_assets.drift.detectors.relabelling import sums
from llm_assets.intervals import wilson

# Two sentences of politeness come before a refusal, seldom more; later on it is a caveat.
_MAX_CHARACTERS = 240

_PATTERNS = (
    # I can't assist with that. I am not able to provide ... I won't be able to help you with ...
    r"\b(i|we)( am|'m| are|'re)? ?"
    r"(cannot|can ?not|can't|could not|couldn't|will not|won't|would not|wouldn't|unable to|"
    r"not able to|not allowed to|not permitted to|not programmed to|not going to|"
    r"not comfortable( with)?|do not feel comfortable|don't feel comfortable)"
    r"( be able to| in good conscience| ethically| legally| directly| simply| personally)* "
    r"(assist|help|provide|providing|fulfil|satisfy|answer|answering|comply|engage|discuss|"
    r"discussing|share|sharing|create|creating|generate|generating|write|writing|give|giving|"
    r"offer|offering|support|do (that|this)|recommend|suggest|participate|respond|process|"
    r"complete|continue|disclose|reveal|advise|encourage|endorse|condone|promote|facilitate|"
    r"access|perform|carry out|accept|accommodate)",
    # I must decline. We have to respectfully refuse your request.
    r"\b(i|we) (must|have to|need to|will|'ll)?( (politely|respectfully|kindly))* "
    r"?(decline|refuse)\b",
    # I don't have access to your order. I do not have the ability to send mail.
    r"\b(i|we) (do not|don't|did not|didn't) have (direct |real-time |any )?"
    r"(access to|the ability to|permission to|the capability)",
    # It is not appropriate for me to ..., it is against my guidelines to ...
    r"(\bnot|n't) (be )?(appropriate|ethical|right)( or \w+)? (for me|to (provide|assist|help|"
    r"share|discuss|answer|give|offer|use|ask|make))",
    r"(\bnot|n't) within my (programming|guidelines|ethical|capabilities|power)",
    r"\bagainst (my|our|openai's) (\w+ )?(guidelines|policy|policies|programming|principles)",
    # German
    r"\b(kann|darf|werde) ich (ihnen |dir |dabei |hierbei |das |diese \w+ |dazu )*(leider )?"
    r"(nicht|keine|kein)\b.{0,40}\b(helfen|beantworten|geben|weiterhelfen|unterstützen|"
    r"auskunft|anleitung)",
    r"\bich (kann|darf|werde) (ihnen |dir |dabei |hierbei |das |diese \w+ |dazu |leider )*"
    r"(nicht|keine|kein)\b.{0,40}\b(helfen|beantworten|geben|weiterhelfen|unterstützen)",
    # French
    r"\bje (ne peux|ne puis|ne suis) (malheureusement |pas |en mesure |autorisée? )*"
    r"(pas |à |de |d'|vous |t'|y )*"
    r"(aider|fournir|répondre|donner|assister|satisfaire|accéder)",
    # Spanish and Portuguese
    r"\b(no|não) (puedo|podemos|posso|consigo) (te |le |lhe )?"
    r"(ayudar|ajudar|proporcionar|fornecer|responder|ofrecer|dar|cumplir|asistir|atender|"
    r"compartir|compartilhar)",
    # Italian
    r"\bnon (posso|possiamo|sono in grado di) (aiutar|fornir|risponder|dar|assister|soddisfar)",
    # Dutch
    r"\b(kan|mag|zal) ik (je |u |daar |hier |daarbij |hierbij |helaas )*(niet|geen)\b.{0,40}"
    r"\b(helpen|geven|beantwoorden|bieden)",
    r"\bik (kan|mag|zal) (je |u |daar |hier |daarbij |hierbij |helaas )*(niet|geen)\b.{0,40}"
    r"\b(helpen|geven|beantwoorden|bieden)",
)
_REFUSAL = re.compile("|".join(_PATTERNS))


def is_refusal(response: str) -> bool:
    """Tell whether an answer begins by declining to answer.

    >>> is_refusal("I\u2019m sorry, but I can\u2019t assist with that.")
    True
    >>> is_refusal("I can't stress enough that you should back up first.")
    False
    """
    start = response[:_MAX_CHARACTERS].replace("\u2019", "'").casefold()
    return _REFUSAL.search(" ".join(start.split())) is not None


def refusals(responses: Sequence[str]) -> np.ndarray:
    """Return which answers decline, 1 or 0 for each."""
    return np.fromiter(map(is_refusal, responses), np.uint8, len(responses))


def refusal_rate(
    current: np.ndarray, reference: np.ndarray, labels: np.ndarray, *, false_alarm_rate: float
) -> Measured:
    """Compare the rate of refusals with the reference's; only an increase can be drift.

    The null is Fisher's exact test's. Its steps are whole answers, so with few refusals it alarms
    less often than asked. The effect size is the difference of the two rates.
    """
    num_refused = int(current.sum())
    pooled = np.concatenate([current, reference]).astype(np.float32)[:, None]
    counts = np.concatenate([chunk[0] for chunk in sums(pooled, labels)])
    rates = np.round(counts / len(current), DECIMALS)
    return calibrate(
        float(rates[0]),
        rates[1:],
        false_alarm_rate=false_alarm_rate,
        interval=wilson(num_refused, len(current)),
        effect_size=float(rates[0] - reference.mean()),
    )
