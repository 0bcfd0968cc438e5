import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llm_assets.errors import UserError
from llm_assets.feedback.scrubbing.key import load_or_create_key


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    key = load_or_create_key(tmp_path)
    assert len(key) == 32
    assert load_or_create_key(tmp_path) == key
    (file,) = (tmp_path / "secrets").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_installations_have_different_keys(tmp_path: Path) -> None:
    assert load_or_create_key(tmp_path / "a") != load_or_create_key(tmp_path / "b")


def test_of_many_that_make_it_at_once_all_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        keys = set(threads.map(load_or_create_key, [tmp_path] * 32))
    assert len(keys) == 1


def test_a_damaged_key_is_named_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "pseudonym.key"
    path.parent.mkdir()
    path.write_bytes(b"short")
    with pytest.raises(UserError, match=r"pseudonym\.key: must hold 32 bytes, got 5"):
        load_or_create_key(tmp_path)
    assert path.read_bytes() == b"short"
