"""What the values of a whole set of masks stand for: object and background, or class ids.

Decided for the set, never for one mask: 0 and 255 in one mask may be background and void, in all
of them they are background and object.
"""

from typing import NamedTuple

from errors import UserError
from utils.convert.mask_files import show_some
from utils.labels import VOID, class_names

FOREGROUND = "foreground"
_MOST_UNNAMED = 40  # ids that masks may hold without a list of the classes
_MOST_ODD = 0.1  # share of masks that may be damaged before the whole set is in doubt
_HELP = (
    "Otherwise put the images into VOC2007/JPEGImages and the masks into "
    "VOC2007/SegmentationClass; voc_annotation.py --fix shows what the values may mean and "
    "changes them."
)


class Meaning(NamedTuple):
    """What values stand for.

    Attributes:
        ids: dict from value to class id, 255: void.
        labels: list of str, the classes but the background.
        note: str, what was taken for what.
    """

    ids: dict
    labels: list
    note: str


def find_meaning(values, known=None):
    """Decides for a set of masks.

    0 and 255 alone are background and object; otherwise the values are ids 0 to n-1 without a
    gap, and 255 beside them void.

    Args:
        values: list of frozenset of int, those of each mask.
        known: int, how many classes a given list names, the background included; None: there is
            no list: then ids may have no gap, and are fewer than 40.

    Returns:
        Meaning. Up to a tenth of the masks may hold other values.

    Raises:
        UserError: if the values are neither.
    """
    everything = set().union(*values)
    if known and known > _MOST_UNNAMED:
        plausible = values
    else:  # edges that were smoothed give any number of values
        plausible = [one for one in values if max(one - {VOID}, default=0) < _MOST_UNNAMED]
    united = set().union(*plausible)
    count = known or next(value for value in range(VOID + 1) if value not in united)
    binary = [one for one in values if one <= {0, VOID}]
    ids = [one for one in values if one <= {*range(count), VOID}]
    least = len(values) * (1 - _MOST_ODD)
    has_void = any(VOID in one and one - {0, VOID} for one in ids)
    if known in (None, 2) and len(binary) >= max(least, len(ids)) and {VOID} & set().union(*binary):
        return Meaning({0: 0, VOID: 1}, [FOREGROUND], "0 is background, 255 the foreground.")
    # In masks of 0 and 255 alone, among masks with ids, 255 may be either.
    is_clear = has_void or not any(VOID in one for one in ids)
    if len(ids) < least or count < 1 or not is_clear:
        raise _refusal(everything, known)
    count = max(count, 2)
    labels = [FOREGROUND] if count == 2 else list(class_names(count)[1:])
    void = "; 255 is void" if has_void else ""
    note = f"The values of the masks are class ids, 0 to {count - 1}{void}."
    return Meaning({value: value for value in (*range(count), VOID)}, labels, note)


def _refusal(everything, known):
    if known:
        expected = f"class ids 0 to {known - 1}, as the class list has {known},"
    else:
        gap = next(value for value in range(VOID + 1) if value not in everything or value == VOID)
        missing = f" ({gap} is missing)" if gap < max(everything - {VOID}, default=0) else ""
        expected = f"class ids 0, 1, 2, ... without a gap{missing},"
    listed = "" if known else " If they are ids, name all classes in a file and set classes to it."
    return UserError(
        f"The masks hold the values {show_some(sorted(everything))}. Expected 0 and 255, or "
        f"{expected} with 255 for void.{listed} {_HELP}"
    )
