"""What a format of annotations is, and what looking through its files gives."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from errors import UserError
from utils.convert.annotated_images import ImageFinder

_SHOWN = 10  # reasons in one message


@dataclass(frozen=True)
class Options:
    """The settings that formats ask for; each takes those that it knows.

    Attributes:
        finder: ImageFinder.
        strict: bool, whether the first error ends the conversion.
        crowd: str, what COCO's iscrowd=1 becomes.
        fill_boxes: bool, whether boxes without an outline are filled.
        unlabeled: str, what COCO panoptic's pixels of no segment become.
        class_attribute: str, the attribute of VIA's regions that names their class; empty: the
            only one.
        classes: str, path of the class list; "": none is given.
    """

    finder: ImageFinder
    strict: bool = False
    crowd: str = "auto"
    fill_boxes: bool = False
    unlabeled: str = "auto"
    class_attribute: str = ""
    classes: str = ""


class Skipped(NamedTuple):
    """What is left out of the result.

    Attributes:
        origin: str, the file or the image.
        reason: str, a whole message, which names the place itself.
    """

    origin: str
    reason: str


class Scan(NamedTuple):
    """What the files of one format hold.

    Attributes:
        items: list of Item, one per image.
        labels: list of str, the classes in the order of their ids.
        notes: list of str for the user.
        skipped: list of Skipped.
        has_background: bool; False: the first label has the id 0, and there is no background.
    """

    items: list
    labels: list
    notes: list
    skipped: list
    has_background: bool = True


class Format(NamedTuple):
    """One entry of `utils.convert.formats`.

    Attributes:
        name: str, what the setting `format` takes.
        title: str, as users know it.
        content: str, what its files are, in a few words that follow the title.
        guess: function(Source) -> str, what in the files tells, such as "'shapes' in a.json";
            or None. It raises nothing.
        scan: function(Source, Options) -> Scan. It checks all annotations and finds their
            images without decoding these. It raises UserError where nothing can be converted;
            with `strict`, for the first thing that can't.
    """

    name: str
    title: str
    content: str
    guess: Callable
    scan: Callable


class Skips:
    """Collects what can't be converted; raises it at once if `strict`.

    Attributes:
        found: list of Skipped.
    """

    def __init__(self, strict=False, found=()):
        self.strict = strict
        self.found = list(found)

    @contextlib.contextmanager
    def catching(self, origin):
        """Around the work on one image: a UserError leaves out this image alone."""
        try:
            yield
        except UserError as error:
            self.add(origin, error)

    def add(self, origin, error):
        """Notes a UserError, or its text, as the reason to leave `origin` out."""
        if self.strict:
            raise error if isinstance(error, UserError) else UserError(error)
        self.found.append(Skipped(str(origin), str(error)))


def nothing_left(skipped):
    """The UserError for when nothing is left to convert.

    Args:
        skipped: list of Skipped.
    """
    if not skipped:
        return UserError("The annotations list no images.")
    if len(skipped) == 1:
        return UserError(skipped[0].reason)
    lines = [f"  {one.reason}" for one in skipped[:_SHOWN]]
    more = [f"  ... and {len(skipped) - _SHOWN} more"] if len(skipped) > _SHOWN else []
    return UserError("\n".join(["Nothing can be converted:", *lines, *more]))
