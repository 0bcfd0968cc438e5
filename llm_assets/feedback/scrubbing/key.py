"""The key that pseudonyms are made with: one an installation, random, readable by its owner only.

Without the key nobody can tell by trying whose id a pseudonym stands for. Whoever loses it loses
the joins between old and new records of the same user, so it belongs into the backup.
"""

import os
import secrets
import tempfile
from pathlib import Path

from llm_assets.errors import UserError

_NUM_BYTES = 32


def load_or_create_key(home: Path) -> bytes:
    """Return the installation's key, made on first use; of two at once the first one's counts.

    Raises:
        UserError: the file holds something else than 32 bytes.
    """
    path = home / "secrets" / "pseudonym.key"
    if not path.exists():
        _create(path)
    key = path.read_bytes()
    if len(key) != _NUM_BYTES:
        raise UserError(f"{path}: must hold {_NUM_BYTES} bytes, got {len(key)}")
    return key


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)  # made with mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_NUM_BYTES))
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, does not replace the key that another process has just made.
        path.hardlink_to(temporary)
    except FileExistsError:
        return
    finally:
        Path(temporary).unlink()
