"""Files that say which colour of a mask is which class: CVAT's `labelmap.txt` and `r g b name`.

Source: CVAT, "Segmentation mask" and "Pascal VOC" formats: docs.cvat.ai; Datumaro, which writes
them (voc/format.py): lines `label:color_rgb:parts:actions`.
"""

import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

from errors import UserError
from utils.labels import VOID

BACKGROUND_NAMES = ("background", "_background_")
VOID_NAMES = ("void", "ignored", "__ignore__")  # ours, Datumaro's and labelme's

_CVAT_LINE = re.compile(r"(.*):\s*(-?\d+)\s*,\s*(-?\d+)\s*,\s*(-?\d+)\s*(?::[^:]*){0,2}", re.ASCII)
_PLAIN_LINE = re.compile(r"(-?\d+)[\s,]+(-?\d+)[\s,]+(-?\d+)[\s,]+(.*)", re.ASCII)
_CVAT_HEAD = re.compile(r"#\s*label\s*:\s*color_rgb")


class LabelMap(NamedTuple):
    """What a label map says.

    Attributes:
        entries: list of (name, (r, g, b)), 0..255, in the order of the ids: a background by name
            comes first, the others as the file has them, void among them.
        note: str for the user, where the background had to be moved to the front; else "".
    """

    entries: list
    note: str = ""

    @property
    def names(self):
        """The classes in the order of their ids, void left out: tuple of str."""
        return tuple(name for name, _ in self.entries if not is_void(name))

    @property
    def ids(self):
        """{(r, g, b): class id}, 255 for void."""
        ids = {name: index for index, name in enumerate(self.names)}
        return {color: ids.get(name, VOID) for name, color in self.entries}


def is_background(name):
    """Whether a name means the background, whatever its case."""
    return name.lower() in BACKGROUND_NAMES


def is_void(name):
    """Whether a name means pixels that are neither trained nor scored, whatever its case."""
    return name.lower() in VOID_NAMES


def read_label_map(path):
    """Reads CVAT's lines `name:r,g,b:parts:actions`, or lines `r g b name`.

    Empty lines and those that begin with # are skipped. The first class has the id 0, unless a
    later one is named background or _background_: then that one comes first.

    Args:
        path: of a text file in UTF-8.

    Returns:
        LabelMap.

    Raises:
        UserError: if the file can't be read, naming the line that is no such line, and for a
            colour or a name that stands twice; if there are not 2 to 255 classes.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"The label map {path} can't be read: {error}.") from error
    stripped = [line.strip() for line in lines]
    from_cvat = any(_CVAT_HEAD.match(line) or _CVAT_LINE.fullmatch(line) for line in stripped)
    entries, numbers = [], []
    for number, line in enumerate(stripped, start=1):
        if line and not line.startswith("#"):
            entry = _read_line(line, from_cvat, f"{path}, line {number}")
            _check_new(entry, dict(zip(numbers, entries, strict=True)), f"{path}, line {number}")
            entries.append(entry)
            numbers.append(number)
    found = LabelMap(*_background_first(entries, numbers, path))
    if not 2 <= len(found.names) <= VOID:
        raise UserError(
            f"The label map {path} names {len(found.names)} classes. Expected 2 to {VOID}, the "
            "background among them, a line each: 'name:r,g,b::' as CVAT writes them, or 'r g b "
            "name'."
        )
    return found


def _read_line(line, from_cvat, origin):
    """(name, (r, g, b)) of a line."""
    expected = "'name:r,g,b::'" if from_cvat else "'r g b name'"
    match = (_CVAT_LINE if from_cvat else _PLAIN_LINE).fullmatch(line)
    if match is None:
        raise UserError(
            f"{origin}: found {line[:60]!r}. Expected {expected}, the colour as three numbers from "
            "0 to 255. Correct the line, or put # before it."
        )
    groups = list(match.groups())
    # In one form of Unicode, as in class lists, so that equal names are equal.
    name = unicodedata.normalize("NFC", " ".join(groups.pop(0 if from_cvat else -1).split()))
    if not name or "\0" in name:
        raise UserError(f"{origin}: the colour {', '.join(groups)} has no name. Add it.")
    # Numbers of thousands of digits are more than int() takes.
    if any(len(text) > 9 or not 0 <= int(text) <= 255 for text in groups):
        raise UserError(
            f"{origin}: {name!r} has the colour {', '.join(groups)[:60]}. Expected three numbers "
            "from 0 to 255 for red, green and blue."
        )
    return name, tuple(map(int, groups))


def _check_new(entry, earlier, origin):
    """Raises UserError for a name or a colour that an earlier line has."""
    for number, (name, color) in earlier.items():
        if name == entry[0] or (is_background(name) and is_background(entry[0])):
            raise UserError(
                f"{origin}: the class {entry[0]!r} stands on line {number} already. Each has one "
                "colour: rename it, or remove a line."
            )
        if color == entry[1]:
            raise UserError(
                f"{origin}: {entry[0]!r} has the colour {color}, as {name!r} on line {number}. "
                "Masks can't tell them apart: each needs its own."
            )


def _background_first(entries, numbers, path):
    """(the entries with a background at the front, a sentence if it was not there)."""
    classes = [entry for entry in entries if not is_void(entry[0])]
    for number, entry in zip(numbers, entries, strict=True):
        if is_background(entry[0]) and entry is not classes[0]:
            others = [other for other in entries if other is not entry]
            return [entry, *others], (
                f"{path} names {entry[0]!r} on line {number}, after other classes. It became id 0; "
                "the others follow in the order of the file."
            )
    return entries, ""
