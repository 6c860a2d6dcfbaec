"""Text files in the encodings that users' machines write, and labels in one form of Unicode."""

import codecs
import unicodedata
from collections import defaultdict
from pathlib import Path

from errors import UserError

# The longest first: UTF-32's mark begins as UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CHINESE = "gb18030"  # of Chinese Windows; GBK and GB2312 are parts of it


def read_text(path):
    """Reads a text file in UTF-8, UTF-16, UTF-32 or GB18030.

    Returns:
        (str, str: its encoding).

    Raises:
        OSError: if it can't be read.
        UserError: if it is in another encoding.
    """
    data = Path(path).read_bytes()
    encoding = _guess(data)
    for one in (encoding, _CHINESE) if encoding == "utf-8" else (encoding,):
        try:
            return data.decode(one), one
        except UnicodeDecodeError:
            continue
    raise UserError(f"{path} is neither UTF-8, UTF-16 nor GB18030 text. Save it as UTF-8.")


def _guess(data):
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    # Without a mark, ASCII letters at the start show themselves by the zeros beside them.
    zeros = tuple(byte == 0 for byte in data[:2])
    return {(True, False): "utf-16-be", (False, True): "utf-16-le"}.get(zeros, "utf-8")


def encoding_note(path, encoding):
    """A sentence for the user if the encoding is not certain; else an empty string."""
    if encoding != _CHINESE:
        return ""
    return f"{path} is no UTF-8; it was read as GB18030. If names look wrong, save it as UTF-8."


def one_form(text):
    """A text in Unicode's composed form (NFC), in which equal letters are equal."""
    return unicodedata.normalize("NFC", text)


def alike_note(names):
    """A sentence for the user if names differ only in capitals; else an empty string."""
    groups = defaultdict(list)
    for name in names:
        groups[name.casefold()].append(name)
    alike = [" and ".join(map(repr, group)) for group in groups.values() if len(group) > 1]
    if not alike:
        return ""
    return (
        f"Classes differ only in capitals: {', '.join(alike)}. If they are one, correct the labels "
        "and convert again."
    )
