"""Names of the values in masks: Roboflow's `_classes.csv`.

Source: Roboflow, docs.roboflow.com, the format "Semantic Segmentation Masks":
"Pixel Value, Class", then lines such as "1, cat".
"""

import csv

from errors import UserError
from utils.convert.annotations import clean_label
from utils.convert.text import read_text

_FILE = "_classes.csv"


def read_value_names(source):
    """The names of the values 0, 1, 2, ... if files of the source tell them.

    Roboflow writes one file for each part of a set.

    Args:
        source: Source.

    Returns:
        list of str, the name of value 0 first; empty without such a file.

    Raises:
        UserError: if a file is not as expected, or two differ.
    """
    found = {path: _read(path) for path in source.files if path.name.lower() == _FILE}
    first = next(iter(found), None)
    for path, names in found.items():
        if names != found[first]:
            raise UserError(
                f"{first} and {path} name different classes. Convert their folders one by one, "
                "with a list of all classes as the setting classes."
            )
    return found[first] if found else []


def _read(path):
    try:
        lines = read_text(path)[0].splitlines()
        rows = [row for row in csv.reader(lines, skipinitialspace=True) if row]
    except (OSError, csv.Error) as error:
        raise UserError(f"{path} can't be read: {error}.") from error
    names = []
    for number, row in enumerate(rows[1:]):
        if len(row) != 2 or row[0].strip() != str(number):
            raise UserError(
                f"{path} has the line {','.join(row)[:60]!r}. Expected '{number}, name': the "
                "values in order, without a gap."
            )
        names.append(clean_label(row[1], str(path)))
    if len(set(names)) != len(names) or len(names) < 2:
        raise UserError(
            f"{path} names {len(names)} classes, {len(set(names))} of them different. Expected two "
            "or more, the background first, each once."
        )
    return names
