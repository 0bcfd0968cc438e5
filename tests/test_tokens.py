from datetime import UTC, datetime
from pathlib import Path

import pytest

from llm_assets.errors import UserError
from llm_assets.tokens import TokenCheck, TokenError, Tokens, is_loopback

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path)


def test_a_token_speaks_for_its_application(tokens: Tokens) -> None:
    of_helpdesk = tokens.create("helpdesk", now=NOW)
    of_bank = tokens.create("bank", now=NOW)
    assert of_helpdesk.startswith("la_")
    assert len(of_helpdesk) >= 45
    assert tokens.application_of(of_helpdesk) == "helpdesk"
    assert tokens.application_of(of_bank) == "bank"
    assert tokens.application_of(of_bank[:-1]) is None
    assert tokens.application_of("") is None


def test_the_home_holds_no_token_and_shows_its_file_to_nobody(
    tokens: Tokens, tmp_path: Path
) -> None:
    text = tokens.create("helpdesk", now=NOW)
    assert tokens.path.stat().st_mode & 0o777 == 0o600
    assert tokens.path.parent.stat().st_mode & 0o777 == 0o700
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert tokens.path in files
    for path in files:
        assert text.removeprefix("la_").encode() not in path.read_bytes()


def test_a_token_without_a_name_is_called_after_its_application(tokens: Tokens) -> None:
    for name in (None, "helpdesk-2", None, "laptop"):
        tokens.create("helpdesk", name, now=NOW)
    names = [token.name for token in tokens.read()]
    assert names == ["helpdesk-1", "helpdesk-2", "helpdesk-3", "laptop"]
    assert {token.created for token in tokens.read()} == {NOW}


def test_a_name_is_taken_once(tokens: Tokens) -> None:
    tokens.create("helpdesk", "laptop", now=NOW)
    with pytest.raises(UserError, match="token 'laptop': exists already"):
        tokens.create("bank", "laptop", now=NOW)


def test_what_another_process_makes_and_revokes_is_seen(tokens: Tokens, tmp_path: Path) -> None:
    assert tokens.application_of("la_x") is None
    other = Tokens(tmp_path)
    text = other.create("helpdesk", "laptop", now=NOW)
    assert tokens.application_of(text) == "helpdesk"
    assert other.revoke("laptop").application == "helpdesk"
    assert tokens.application_of(text) is None
    with pytest.raises(UserError, match="token 'laptop': there is none of that name"):
        tokens.revoke("laptop")


def test_a_damaged_file_is_named_and_lets_nobody_pass(tokens: Tokens) -> None:
    text = tokens.create("helpdesk", now=NOW)
    tokens.path.write_text('[{"name": 7}]')
    with pytest.raises(UserError, match=r"tokens\.json: is damaged"):
        tokens.read()
    check = TokenCheck(tokens=tokens, is_required=False)
    with pytest.raises(TokenError, match="cannot be read"):
        check.check(f"Bearer {text}")


def test_where_a_token_is_required_only_a_known_one_passes(tokens: Tokens) -> None:
    text = tokens.create("helpdesk", now=NOW)
    check = TokenCheck(tokens=tokens, is_required=True, internal="la_between-us")
    token = check.check(f"Bearer {text}")
    assert token is not None
    assert token.application == "helpdesk"
    assert check.check("bearer la_between-us") is None
    for header in (None, "", "Bearer unused", "Bearer la_", f"Basic {text}", text, "Bearer la_ä"):
        with pytest.raises(TokenError) as refused:
            check.check(header)
        assert text not in str(refused.value)


def test_on_loopback_only_a_wrong_token_of_ours_is_refused(tokens: Tokens) -> None:
    text = tokens.create("helpdesk", now=NOW)
    check = TokenCheck(tokens=tokens, is_required=False)
    assert check.check(f"Bearer {text}") is not None
    for header in (None, "Bearer unused", "Basic dXNlcjpwYXNz"):
        assert check.check(header) is None
    with pytest.raises(TokenError, match="not known or was revoked"):
        check.check("Bearer la_wrong")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.7", False),
        ("llm.example.com", False),
    ],
)
def test_only_this_machine_reaches_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
