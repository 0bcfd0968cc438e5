"""Bearer tokens: who may send an application's records and ask its model.

A token is shown once, when it is made; the home keeps its SHA-256 in `secrets/tokens.json`. As a
token is 32 random bytes, a plain hash is as safe as a slow one. A file that changes is read again,
so making or revoking a token needs no restart.
"""

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pydantic

from llm_assets.errors import UserError
from llm_assets.storage import locked, write_atomically

PREFIX = "la_"
# By this variable `llm-assets up` hands the API and the model servers a token between themselves.
INTERNAL_TOKEN = "LLM_ASSETS_INTERNAL_TOKEN"


class TokenError(Exception):
    """No token, or one that is not known; HTTP answers 401. The message never holds the token."""


@dataclass(frozen=True, kw_only=True)
class Token:
    """What is kept of a token; `name` is what it is revoked by."""

    name: str
    application: str
    created: datetime
    sha256: str


_TOKENS = pydantic.TypeAdapter(list[Token])


def new_token() -> str:
    """Return a token that nobody can guess."""
    return PREFIX + secrets.token_urlsafe(32)


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Tokens:
    """The tokens of an installation's home."""

    def __init__(self, home: Path) -> None:
        self.path = home / "secrets" / "tokens.json"
        self._seen: tuple[int, int, int] | None = None
        self._tokens: list[Token] = []

    def create(self, application: str, name: str | None = None, *, now: datetime) -> str:
        """Make a token and return it, for the only time.

        Without a name it is called after its application.

        Raises:
            UserError: there is a token of that name.
        """
        with self._locked():
            tokens = self.read()
            names = {token.name for token in tokens}
            if name in names:
                raise UserError(f"token {name!r}: exists already; revoke it or take another name")
            if name is None:
                numbers = range(1, len(names) + 2)
                name = next(
                    f"{application}-{n}" for n in numbers if f"{application}-{n}" not in names
                )
            text = new_token()
            token = Token(name=name, application=application, created=now, sha256=_sha256(text))
            self._write([*tokens, token])
        return text

    def read(self) -> list[Token]:
        """Return all tokens, oldest first.

        Raises:
            UserError: the file is damaged.
        """
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return []
        seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if seen != self._seen:
            try:
                self._tokens = _TOKENS.validate_json(self.path.read_bytes())
            except pydantic.ValidationError:
                raise UserError(f"{self.path}: is damaged; remove it and make new tokens") from None
            self._seen = seen
        return [*self._tokens]

    def revoke(self, name: str) -> Token:
        """Remove a token and return what was kept of it.

        Raises:
            UserError: there is none of that name.
        """
        with self._locked():
            tokens = self.read()
            for token in tokens:
                if token.name == name:
                    self._write([kept for kept in tokens if kept.name != name])
                    return token
        raise UserError(f"token {name!r}: there is none of that name")

    def find(self, presented: str) -> Token | None:
        """Return the token that was presented, or None; every one is compared in equal time."""
        sha256 = _sha256(presented)
        found = [token for token in self.read() if hmac.compare_digest(token.sha256, sha256)]
        return found[0] if found else None

    def application_of(self, presented: str) -> str | None:
        """Return the application of a token that was presented, or None if it is not known."""
        token = self.find(presented)
        return None if token is None else token.application

    def _write(self, tokens: list[Token]) -> None:
        write_atomically(self.path, _TOKENS.dump_json(tokens, indent=2) + b"\n", mode=0o600)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(self.path.with_suffix(".lock"), alone=True):
            yield


def internal_credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the header by which our own processes know each other, if `up` started them."""
    token = environment.get(INTERNAL_TOKEN)
    return {"authorization": f"Bearer {token}"} if token else {}


@dataclass(frozen=True, kw_only=True)
class TokenCheck:
    """The rule of an address: who may pass, and for which application.

    `is_required` is off on loopback only: there a request without a token passes, and what other
    programs write into the header is not our business. The `internal` token passes for all.
    """

    tokens: Tokens
    is_required: bool
    internal: str | None = None

    def check(self, authorization: str | None) -> Token | None:
        """Return the token of an `Authorization` header; None passes for every application.

        Raises:
            TokenError: the token is not known, or none was given where one is required.
        """
        scheme, _, presented = (authorization or "").partition(" ")
        presented = presented.strip()
        if scheme.lower() == "bearer" and presented.startswith(PREFIX):
            if self.internal is not None and hmac.compare_digest(
                presented.encode(), self.internal.encode()
            ):
                return None
            try:
                token = self.tokens.find(presented)
            except UserError:  # it names a path, which is not for strangers
                raise TokenError("authorization: the tokens cannot be read") from None
            if token is None:
                raise TokenError("authorization: the token is not known or was revoked")
            return token
        if self.is_required:
            raise TokenError("authorization: needs `Bearer la_...` (llm-assets token create)")
        return None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
