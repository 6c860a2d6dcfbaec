"""Shares of a folder, for jobs that segment it side by side."""

import hashlib
import re
from typing import NamedTuple

from errors import UserError
from utils.files import name_key

_TEXT = re.compile(r"([0-9]+)/([0-9]+)")


class Part(NamedTuple):
    """One of the shares of a folder: `Part(3, 16)` is the third of sixteen.

    The share of an image follows from its name alone, by a hash. Were it its place in the sorted
    list, an image that is added would move those behind it, and of jobs that list the folder at
    different times some would do an image twice, and none another. The price is that shares are
    of nearly one size only: of a million images, sixteen have 62,500 each, give or take 250.
    """

    number: int = 1
    count: int = 1

    @property
    def is_whole(self):
        """Whether it is the whole folder."""
        return self.count == 1

    def holds(self, name):
        """Whether an image belongs to it, by its path below the folder, with forward slashes."""
        # Names may hold bytes that are no text; macOS writes é otherwise than other systems do.
        text = name_key(name).encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(text, digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.number - 1

    def __str__(self):
        return f"{self.number}/{self.count}"


def parse_part(text):
    """The Part that a setting means, such as "3/16"; "" is the whole folder.

    Raises:
        UserError: for what is none.
    """
    if not text:
        return Part()
    match = _TEXT.fullmatch(text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(
            "part must be I/N, with I from 1 to N, such as 3/16 for the third of sixteen shares; "
            f"got {text!r}."
        )
    return Part(int(match[1]), int(match[2]))
