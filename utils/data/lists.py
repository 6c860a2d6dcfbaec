"""Lists of names: read whatever editor wrote them, explained where they name nothing."""

import codecs
import difflib
import os
import re
from functools import cached_property
from typing import NamedTuple

from errors import UserError
from utils.files import name_key, whole_file

# The longer mark first: UTF-32's begins as UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CLASS_MARK = re.compile(r"(.*\S)\s+[-+]?[01]")
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,5}$")
_COLUMN_ENDS = re.compile(r"[\s,;]+")


class Fault(NamedTuple):
    """Why a line names nothing.

    Attributes:
        kind: str, a key of `_ADVICE`.
        meant: str, the name that was probably meant; "" where none is known.
    """

    kind: str
    meant: str = ""

    @property
    def advice(self):
        """What to do, a sentence or two."""
        return _ADVICE[self.kind].format(repr(self.meant))


_ADVICE = {
    "extension": "Names stand without extension: write {}.",
    "folder": "Names stand without folder and extension: write {}.",
    "class": "Names stand alone, without a 1 or -1 of whether they hold a class: write {}.",
    "columns": "A line is one name, of the image and of its mask: write {}.",
    "case": "Did you mean {}? Case and extension count.",
    "unknown": "Add the file, or run voc_annotation.py to write the lists anew.",
}


def read_lines(path):
    """Reads a text file in UTF-8, or in UTF-16 or UTF-32 with their mark.

    Args:
        path: Path.

    Returns:
        list of str, its lines without those that are blank; they may end as on any system.

    Raises:
        UserError: if the text is in another encoding.
    """
    data = path.read_bytes()
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text ({error}).{_guess(data)} Save it as UTF-8 in an editor, or "
            "run voc_annotation.py to write the lists anew."
        ) from error
    if "\0" in text:  # no name holds it, and UTF-16 without mark does
        raise UserError(
            f"{path} is not UTF-8 text: it holds zero bytes, as UTF-16 without a mark does. Save "
            "it as UTF-8 in an editor, or run voc_annotation.py to write the lists anew."
        )
    return [line for line in re.split(r"\r\n|\n|\r", text) if line.strip()]


def _guess(data):
    """A sentence on how the text would begin in encodings that Windows writes; "" if in none."""
    first = data.lstrip().splitlines()[0]
    found = []
    for encoding, name in (("gbk", "GBK"), ("cp1252", "Windows-1252")):
        try:
            found.append(f"{first.decode(encoding)!r} in {name}")
        except UnicodeDecodeError:
            continue
    return f" It would begin with {' or '.join(found)}." if found else ""


def write_lines(path, lines):
    """Writes a text file, UTF-8 and one line an entry, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), "utf-8", newline="\n")


def can_list(name):
    """Whether a line of a list can hold a name: UTF-8, not blank, and of one line."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return bool(name.strip()) and not re.search(r"[\r\n]", name)


class Names:
    """The names that lines of a list may hold.

    Args:
        files: dict from `utils.files.name_key` of a stem to the Path of the file, as
            `utils.data.voc.index_folder` gives it.
    """

    def __init__(self, files):
        self.files = files

    def find(self, line):
        """The key of the file that a line names, outer spaces or not; None if there is none."""
        keys = map(name_key, (line, line.strip()))
        return next((key for key in keys if key in self.files), None)

    def fault(self, line, similar=True):
        """Finds out why a line names none of the files.

        Args:
            line: str.
            similar: bool, whether to look for a name that is merely similar, which takes a while.

        Returns:
            Fault.
        """
        name = line.strip()
        readings = list(_readings(name))
        for kind, text in readings:
            if name_key(text) in self.files:
                return Fault(kind, stem_of(self.files[name_key(text)]))
        folded = (name_key(text).casefold() for text in (name, *(text for _, text in readings)))
        close = [self._folded[text] for text in folded if text in self._folded]
        if similar and not close:
            close = difflib.get_close_matches(name_key(name), self.files, n=1)
        return Fault("case", self.files[close[0]].name) if close else Fault("unknown")

    @cached_property
    def _folded(self):
        return {key.casefold(): key for key in self.files}


def _readings(line):
    """(kind of fault, the name that it would be) of a line, likely ones first."""
    yield "extension", _bare(line, folder=True)
    if match := _CLASS_MARK.fullmatch(line):
        yield "class", match[1]
        yield "class", _bare(match[1])
    first, *others = _COLUMN_ENDS.split(line)
    for text in (first, _bare(first)):
        if others and text in others[0]:  # or it is a name of two words
            yield "columns", text
    yield "folder", re.split(r"[/\\]", line)[-1]
    yield "folder", _bare(line)


def _bare(path, folder=False):
    """A path as any system writes it, without extension and, unless wanted, without folder."""
    name = path if folder else re.split(r"[/\\]", path)[-1]
    return _EXTENSION.sub("", name)


def stem_of(path):
    """A file's name without extension."""
    return os.path.splitext(path.name)[0]
