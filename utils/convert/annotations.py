"""What labelme and COCO files share: JSON, points, labels and the one class list.

Whatever their format, annotations become `Item`s, and these become files of a VOC folder.
"""

import json
import reprlib
import unicodedata
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from errors import UserError
from utils.convert.text import one_form, read_text
from utils.labels import VOID

BACKGROUND = "background"
# Pillow takes half a minute for a circle of a million pixels, and paints NaN anyhow.
_MAX_COORDINATE = 100_000
_FIXED_IDS = {BACKGROUND: 0, "_background_": 0, "__ignore__": VOID}  # labelme's names


class Item(NamedTuple):
    """An image with its annotations, decoded only when its turn comes.

    Attributes:
        name: str, of the files to write, without extension.
        origin: str, where the annotations stand, for messages.
        labels: frozenset of str.
        load: function(classes) -> (Image, uint8 (H, W) class ids).
    """

    name: str
    origin: str
    labels: frozenset
    load: Callable


def read_json(path):
    """Reads a JSON file in any of the encodings of `utils.convert.text.read_text`.

    Raises:
        UserError: if the file is missing or no JSON.
    """
    return read_json_text(path)[0]


def read_json_text(path):
    """(content, encoding) of a JSON file; raises as `read_json`."""
    try:
        text, encoding = read_text(path)
        return json.loads(text), encoding
    except RecursionError:
        reason = "it is nested too deep"
    except (OSError, ValueError) as error:
        reason = error
    raise UserError(f"{path} can't be read as JSON: {reason}. Save or export it again.")


_repr = reprlib.Repr()
_repr.maxlevel, _repr.maxstring, _repr.maxlist = 3, 60, 8


def shown(value):
    """A value of an annotation file for a message: as in Python, so that texts are quoted."""
    return _repr.repr(value)


def check_points(points, origin):
    """Checks what should be a list of [x, y]; returns it as tuples.

    Raises:
        UserError: for anything else, and for numbers that lie beyond every image.
    """
    for point in points if isinstance(points, list) else [points]:
        if not (isinstance(point, list) and len(point) == 2 and all(map(_is_coordinate, point))):
            raise UserError(
                f"{origin} has the point {shown(point)}. Expected [x, y], two numbers of at "
                f"most {_MAX_COORDINATE:,} pixels."
            )
    return [tuple(point) for point in points]


def _is_coordinate(value):
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and abs(value) <= _MAX_COORDINATE  # not so of NaN


def clean_label(label, origin):
    """A label without spaces around it, in one form of Unicode.

    Raises:
        UserError: if nothing is left to write.
    """
    text = one_form(" ".join(label.split())) if isinstance(label, str) else ""
    # JSON can spell control codes, which would act on a terminal that lists the classes, and
    # halves of letters, which no text file can hold.
    has_codes = any(unicodedata.category(letter) == "Cc" for letter in text)
    if not text or has_codes or text.encode(errors="replace").decode() != text:
        raise UserError(f"{origin} has the label {shown(label)}. Expected a name.")
    return text


def read_class_list(path):
    """Reads a class list: text, a name a line, in an encoding that `read_text` knows.

    The background may lead it or be left out; `__ignore__`, labelme's void, is not a class.

    Returns:
        tuple of str, the background first.

    Raises:
        UserError: if the file can't be read, a name stands twice, or the background late.
    """
    try:
        lines = read_text(path)[0].splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"The class list {path} can't be read: {error}") from error
    names = [clean_label(line, path) for line in lines if line.strip()]
    names = [BACKGROUND if fixed_id(name) == 0 else name for name in names]
    double = [name for name, count in Counter(names).items() if count > 1]
    if double:
        raise UserError(f"The class list {path} names {double[0]!r} twice. Remove one line.")
    if BACKGROUND in [name for name in names if fixed_id(name) != VOID][1:]:
        raise UserError(
            f"The class list {path} names the background after other classes. Its id is 0: "
            "put it first, or leave it out."
        )
    return make_classes(names)


def make_classes(labels):
    """The class names: the background, then the labels in their order, each once.

    Raises:
        UserError: if there is no class besides the background, or more than an id can name.
    """
    names = [label for label in dict.fromkeys(labels) if fixed_id(label) is None]
    if not names:
        raise UserError("There is no class besides the background: nothing to learn.")
    if len(names) >= VOID:
        raise UserError(
            f"There are {len(names)} classes besides the background; a mask holds at most "
            f"{VOID - 1}, since {VOID} is void. Merge some."
        )
    return (BACKGROUND, *names)


def fixed_id(label):
    """The id of a label that is the background (0) or void (255) in labelme; else None."""
    return _FIXED_IDS.get(label.lower())


def class_id(label, classes, origin):
    """The id of a label.

    Raises:
        UserError: if the label is not in the list.
    """
    fixed = fixed_id(label)
    if fixed is not None:
        return fixed
    if label not in classes:
        raise UserError(
            f"{origin} has the label {label!r}, which is not in the class list: "
            f"{', '.join(classes)}. Correct the label, or add it to the list."
        )
    return classes.index(label)
