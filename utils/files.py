"""Result files: whole or not there, and never two runs' bytes in one."""

import contextlib
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
import unicodedata
from contextlib import contextmanager
from pathlib import Path

from errors import UserError

TEMPORARY = re.compile(r"\.\d+-[0-9a-f]{8}(\..*)?")  # as `whole_file` names them
# Seconds without a change after which no process writes a temporary file any more; of a folder
# only changes in it itself count, not in folders in it.
_OLD, _OLD_FOLDER = 3600, 24 * 3600
_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # the last ones are of full width
_cleared = set()  # folders


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
    temporary = temporary_path(path.parent, suffix or path.suffix)
    try:
        with naming(path, temporary):
            yield temporary
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def naming(path, temporary=None):
    """Gives an OSError the name of what was to be written: a write that fails does not say it.

    Args:
        path: str or Path.
        temporary: Path of a file or folder whose name means nothing to users; for it and what is
            in it, `path` is named.
    """
    try:
        yield
    except OSError as error:
        both = error.filename, error.filename2
        names = [name for name in both if isinstance(name, (str, os.PathLike))]
        inside = temporary and any(Path(name).is_relative_to(temporary) for name in names)
        if error.errno is not None and (inside or not names):
            # Another one: PyAV's let nobody change their name.
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise


def temporary_path(folder, suffix=""):
    """A Path in a folder, hidden and unique, for a result that is not whole yet.

    What processes that were killed left under such names goes, as soon as nobody can still be
    writing it: once a process and folder.
    """
    _clear_leftovers(os.path.abspath(folder))
    # It is short: file systems allow 255 bytes, and the final name may use them.
    return Path(folder) / f".{os.getpid()}-{secrets.token_hex(4)}{suffix}"


def _clear_leftovers(folder):
    if folder in _cleared:
        return
    _cleared.add(folder)
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not TEMPORARY.fullmatch(entry.name):
                continue
            # Others, maybe on other machines, write here too.
            age = time.time() - entry.stat(follow_symlinks=False).st_mtime
            if entry.is_file(follow_symlinks=False) and age > _OLD:
                os.unlink(entry.path)
            elif entry.is_dir(follow_symlinks=False) and age > _OLD_FOLDER:
                shutil.rmtree(entry.path, ignore_errors=True)


@contextmanager
def scratch_folder(parent):
    """Gives a new hidden folder in an existing one, which vanishes at the end."""
    scratch = temporary_path(parent)
    with naming(parent, scratch):
        scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def whole_folder(path):
    """As `whole_file`, for a folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(path.parent) as scratch:
        new, former = scratch / "new", scratch / "former"
        with naming(path, scratch):
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


def home_folder():
    """Path of the user's folder; of temporary files where there is none, as in some containers."""
    home = os.path.expanduser("~")
    return Path(home if os.path.isabs(home) else tempfile.gettempdir())


def name_key(name):
    """A file's name for comparisons: macOS writes é as two characters, other systems as one."""
    return unicodedata.normalize("NFC", name)


def csv_text(text):
    """A name for a cell of a CSV file: spreadsheets take what starts so for a formula.

    An apostrophe in front keeps them from it, as OWASP advises; in the JSON files names stand as
    they are.
    """
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def check_regular(path):
    """Refuses what is no file on a disk, and whose reading may therefore never end.

    Raises:
        UserError: for a pipe, a device or a socket. A missing file is no matter of this check.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return
    for is_kind, name in _KINDS:
        if is_kind(mode):
            raise UserError(f"{path} is {name}. Expected a file: save the data as one.")
