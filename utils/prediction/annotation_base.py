"""What all kinds of annotation files have in common, and the class list beside them."""

import contextlib

from errors import UserError
from utils.convert.annotations import clean_label, fixed_id
from utils.files import whole_file


class Annotations:
    """None at all, and what the kinds have in common.

    Attributes:
        per_image: bool, whether each image has its own file, rather than one for the run.
    """

    per_image = True

    def files_of(self, result):
        """The files that an image has to itself, of a Result: list of Path."""
        return []

    def is_complete(self):
        """Whether the file of the whole run is there, if there is one at all."""
        return True

    def check_new(self, results):
        """Raises UserError if something that exists would be overwritten."""

    @contextlib.contextmanager
    def writing(self, names):
        """Wraps the calls of `add`; afterwards all is written.

        Args:
            names: sequence of str, of all classes, the background first.

        Raises:
            UserError: for names that would come back as something else.
        """
        yield

    def add(self, result, mask):
        """Writes the regions of a mask, uint8 (H, W), for a Result."""


def clean_names(names):
    """The names of all classes but the background, as an annotation's reader takes them.

    Raises:
        UserError: if one would be taken for the background, void, or another class.
    """
    cleaned = [clean_label(name, "name_classes") for name in names[1:]]
    for number, name in enumerate(cleaned, 1):
        if fixed_id(name) is not None:
            raise UserError(
                f"Class {number} is named {name!r}, which annotations take for the background or "
                "for void. Set name_classes to other names."
            )
        if name in cleaned[: number - 1]:
            raise UserError(
                f"Two classes are named {name!r}; annotations would make them one. Set "
                "name_classes to names that differ."
            )
    return cleaned


def write_class_list(path, names):
    """Writes the class list for json_to_dataset.py, so that ids stay what they are.

    Raises:
        UserError: if there is one with other classes.
    """
    text = "".join(f"{name}\n" for name in names)
    if path.exists():
        if path.read_text(encoding="utf-8") != text:
            raise UserError(
                f"{path} names other classes than these weights, of which annotations are beside "
                "it. Move them away, or set another dir_save_path."
            )
        return
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
