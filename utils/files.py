"""Result files: whole or not there, and never two runs' bytes in one."""

import json
import os
import secrets
import tempfile
import unicodedata
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path, suffix=None):
    """Gives a temporary path beside `path`; renames it to `path` if all goes well.

    A failure or a kill leaves nothing under the final name, and what lay there stays. The
    temporary name is hidden, unique and has the extension of `path`, by which writers choose
    their format. Missing parent folders are made.

    Args:
        path: str or Path of the final file.
        suffix: str, how the temporary name ends; None: as `path` from its last dot on.

    Yields:
        Path to write to.

    Raises:
        OSError: as the writer raises it: a full disk, no permission.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The middle of the name is short: file systems allow 255 bytes, and `path` may use them.
    temporary = path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}{suffix or path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        # A write that fails does not say where, and the temporary name means nothing to users.
        if error.filename in (None, str(temporary)) and error.errno is not None:
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path):
    """As `whole_file`, for a folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as scratch:
        new, former = Path(scratch) / "new", Path(scratch) / "former"
        yield new
        if path.exists():  # a folder with files in it can't be replaced at once
            os.replace(path, former)
        try:
            os.replace(new, path)
        except OSError:
            if former.exists():
                os.replace(former, path)
            raise


def write_json(path, value):
    """Writes a value as an indented JSON file, whole or not at all."""
    with whole_file(path) as temporary:
        text = json.dumps(value, indent=2, ensure_ascii=False)
        # A path may hold bytes that are not UTF-8; as \udc80 they still are JSON.
        temporary.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def name_key(name):
    """A file's name for comparisons: macOS writes é as two characters, other systems as one."""
    return unicodedata.normalize("NFC", name)
