"""Secrets: keys and tokens that their issuers made recognisable, and values that a text calls so.

Sources: GitHub, "Behind GitHub's new authentication token formats" (the CRC-32 in the last six
characters is not asked for: a key with a slip in it is close to a real one); GitLab, "Token
prefixes"; the AWS IAM guide, "Unique identifiers"; Slack's, Stripe's, OpenAI's, Anthropic's, and
Google's key formats as told by the rules of gitleaks; RFC 7519 (JWT), RFC 7468 (PEM), RFC 3986
(userinfo), RFC 6750 and 7617 (Bearer, Basic).
"""

import base64
import json
import re
from collections.abc import Iterator

from llm_assets.feedback.scrubbing.config import PersonalDataType
from llm_assets.feedback.scrubbing.findings import Finding

# Each token by a part that all of its kind have, so that most texts need no regular expression.
_TOKENS = tuple(
    (mark, re.compile(rf"(?<![A-Za-z0-9_]){pattern}"))
    for mark, pattern in {
        "sk-": r"sk-(?=[A-Za-z_-]{0,40}[0-9])[A-Za-z0-9_-]{20,}",  # OpenAI, Anthropic, and alike
        "gh": r"gh[pousr]_[A-Za-z0-9]{36,251}",
        "github_pat_": r"github_pat_[A-Za-z0-9_]{36,251}",
        "gl": r"gl(?:pat|dt|rt|cbt|ptt|ft|soat|agent|oas|imt|ffct)-[A-Za-z0-9_.-]{20,}",
        "xox": r"xox[abeoprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,}",
        "xapp-": r"xapp-[0-9]-[A-Za-z0-9-]{10,}",
        "hooks.slack.com": r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/]{20,}",
        "AKIA": r"AKIA[A-Z2-7]{16}(?![A-Za-z0-9])",
        "ASIA": r"ASIA[A-Z2-7]{16}(?![A-Za-z0-9])",
        "AIza": r"AIza[A-Za-z0-9_-]{35}",
        "GOCSPX-": r"GOCSPX-[A-Za-z0-9_-]{28}",
        "_live_": r"[srp]k_live_[A-Za-z0-9]{10,}",
        "_test_": r"[sr]k_test_[A-Za-z0-9]{10,}",
        "whsec_": r"whsec_[A-Za-z0-9+/=]{24,}",
        "hf_": r"hf_[A-Za-z0-9]{30,}",
        "npm_": r"npm_[A-Za-z0-9]{36}",
        "pypi-": r"pypi-AgE[A-Za-z0-9_-]{50,}",
        "la_": r"la_[A-Za-z0-9_-]{32,}",  # our own
    }.items()
)
_JWT = re.compile(r"(?<![\w-])(eyJ[A-Za-z0-9_-]{8,})\.([A-Za-z0-9_-]{4,})\.([A-Za-z0-9_-]*)")
_PEM_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_PEM_BODY = re.compile(r"[A-Za-z0-9+/=:,\\\s-]*")
_USER_INFO = re.compile(r"://([^\s/?#:@<>]{0,128}:[^\s/?#<>]{1,256})@")
_HEADER = re.compile(
    r"(?:Bearer|Basic)\s(?=[A-Za-z_.~+/-]{0,60}[0-9=])([A-Za-z0-9_.~+/-]{16,}={0,2})"
)

_SECRET_WORD = (
    r"(?:pass(?:word|wd|phrase|code)|pwd|passwort|kennwort|contraseña|mot de passe|"
    r"secret(?:[ _-]?(?:access[ _-]?)?key)?|token|credentials?|"
    r"(?:api|access|auth|account|private|signing|encryption|master|service)[ _-]?key)"
)
_ASSIGNMENT = re.compile(
    rf"{_SECRET_WORD}[\"'`*]{{0,3}}[ \t]{{0,3}}(?P<sign>:=|=>|==?|:)[ \t]{{0,3}}"
    r"(?:(?P<quote>[\"'`])(?P<quoted>[^\"'`\n<>]{4,200})(?P=quote)|(?P<plain>[^\s\"'`<>(){}\[\]]{4,200}))",
    re.IGNORECASE,
)
_STATEMENT = re.compile(
    r"(?:password|passwort|passcode|passphrase|pwd|api key|contraseña|mot de passe)"
    r"(?: (?:for|of|to|für|de|para) [\w .@-]{1,30}?)? (?:is|was|ist|es|est|lautet) "
    r"(?P<quote>[\"'`]?)(?P<plain>[^\s\"'`<>]{4,100})",
    re.IGNORECASE,
)
_IS = re.compile(r" (?:is|was|ist|es|est|lautet) ", re.IGNORECASE)
# Values that say where a secret comes from, or that it is only an example's.
_NO_VALUE = re.compile(
    r"(?:none|null|true|false|undefined|nil|string|str|bytes?|optional|required|your[\w-]*|my[_-]\w+|"
    r"example|changeme|redacted|hidden|placeholder|os\.\w.*|process\.env.*|env\.\w.*|self\.\w.*|"
    r"[x*.•_-]+|\$.*|%.*|\{.*|[a-z_]*(?:password|passwd|token|secret|key)s?)[,;.]*",
    re.IGNORECASE,
)


def find_secrets(text: str) -> Iterator[Finding]:
    """Yield keys, tokens, private keys, the userinfo of URLs, and what is assigned to a password.

    Of an assignment only the value is found, so the text still says what had stood there.
    """
    if may_hold_token(text):
        yield from _issued(text)
        yield from _private_keys(text)
    if "://" in text:
        for match in _USER_INFO.finditer(text):
            yield _finding(match, 1)
    if may_assign(text):
        yield from _assigned(text)


def is_secret(value: str) -> bool:
    """Return whether a whole text is a key or token of a known issuer."""
    if any(mark in value and pattern.fullmatch(value) for mark, pattern in _TOKENS):
        return True
    jwt = _JWT.fullmatch(value)
    return jwt is not None and _is_jwt_header(jwt[1])


def may_hold_token(text: str) -> bool:
    """Return whether any of the marks of keys and tokens is in a text."""
    return (
        ("_" in text and any(mark in text for mark in _UNDERSCORED))
        or ("-" in text and any(mark in text for mark in _DASHED))
        or "eyJ" in text
        or "AKIA" in text
        or "ASIA" in text
        or "AIza" in text
        or "hooks.slack.com" in text
        or "Bearer " in text
        or "Basic " in text
    )


_UNDERSCORED = ("gh", "github_pat_", "_live_", "_test_", "whsec_", "hf_", "npm_", "la_")
_DASHED = ("sk-", "-----BEGIN", "gl", "xox", "xapp-", "GOCSPX-", "pypi-")


def may_assign(text: str) -> bool:
    """Return whether a text may call something a password, a key, or the like."""
    # Written out, as a loop over the words takes twice the time, and every text comes here.
    lowered = text.lower()
    if "pass" in lowered or "pwd" in lowered or "api key" in lowered or "contrase" in lowered:
        return True
    return ("=" in text or ":" in text) and (
        "key" in lowered
        or "token" in lowered
        or "secret" in lowered
        or "credential" in lowered
        or "kennwort" in lowered
    )


def _issued(text: str) -> Iterator[Finding]:
    for mark, pattern in _TOKENS:
        if mark in text:
            for match in pattern.finditer(text):
                yield _finding(match, 0)
    for match in _JWT.finditer(text):
        if _is_jwt_header(match[1]):
            yield _finding(match, 0)
    for match in _HEADER.finditer(text):
        yield _finding(match, 1)


def _assigned(text: str) -> Iterator[Finding]:
    # Texts that only speak of passwords are frequent: each search is behind a cheaper one.
    for match in _ASSIGNMENT.finditer(text) if "=" in text or ":" in text else ():
        group = "quoted" if match["quoted"] else "plain"
        value = match[group]
        if group == "plain":
            value = value.rstrip(".,;")
        has_sign = match["sign"] != ":" or group == "quoted"
        if len(value) < 4 or _NO_VALUE.fullmatch(value):
            continue
        if _looks_random(value) or (has_sign and _is_password(match[0])):
            start = match.start(group)
            yield Finding(start, start + len(value), PersonalDataType.SECRET, value)
    for match in _STATEMENT.finditer(text) if _IS.search(text) else ():
        value = match["plain"].rstrip(".,;")
        if len(value) >= 4 and _looks_random(value):
            start = match.start("plain")
            yield Finding(start, start + len(value), PersonalDataType.SECRET, value)


def _is_password(assignment: str) -> bool:
    """Return whether it is a password that is assigned: it may be any word, a token may not."""
    return assignment.lower().startswith(("pass", "pwd", "kennwort", "contraseña", "mot"))


def _looks_random(value: str) -> bool:
    """Return whether a value mixes letters with digits or signs, as words do not."""
    has_letter = any(character.isalpha() for character in value)
    has_digit = any(character.isdigit() for character in value)
    has_sign = any(character in "!@#$%^&*+=?~" for character in value)
    is_long_number = value.isdigit() and len(value) >= 6
    return (has_letter and (has_digit or has_sign) and len(value) >= 6) or is_long_number


def _private_keys(text: str) -> Iterator[Finding]:
    position = 0
    has_end = True
    while (begin := _PEM_BEGIN.search(text, position)) is not None:
        # Looked for in vain once, an end is not looked for again: the time stays linear.
        end = _PEM_END.search(text, begin.end()) if has_end else None
        has_end = end is not None
        body = _PEM_BODY.match(text, begin.end())
        assert body is not None
        position = end.end() if end is not None else body.end()
        value = text[begin.start() : position]
        yield Finding(begin.start(), position, PersonalDataType.SECRET, value)


def _is_jwt_header(encoded: str) -> bool:
    try:
        header = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except ValueError:
        return False
    return isinstance(header, dict) and ("alg" in header or "typ" in header)


def _finding(match: re.Match[str], group: int) -> Finding:
    return Finding(*match.span(group), PersonalDataType.SECRET, match[group])
