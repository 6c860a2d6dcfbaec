"""The class names of a YOLO data set: `names` in data.yaml, or classes.txt.

Of YAML only the forms that data sets use are read: a list or a table of plain or quoted names.
"""

import re

from errors import UserError
from utils.convert.annotations import clean_label
from utils.convert.text import read_text

# 'cat', "cat" or cat, of which the last has no sign that means something else in YAML.
_PLAIN = r"""[^\s,'"\[\]{}#&*!|>%@`?:-][^,\[\]{}#\n]*"""
_NAME = rf"""(?:'((?:[^'\n]|'')*)'|"((?:[^"\\\n]|\\["\\])*)"|({_PLAIN}))"""
_ITEM = re.compile(_NAME)
_ENTRY = re.compile(rf"(\d{{1,9}})\s*:\s+{_NAME}", re.ASCII)
_LINE = re.compile(rf"\s*(?:-(?=\s)|(\d{{1,9}})\s*:(?=\s))\s*{_NAME}\s*(?:\s#.*)?$", re.ASCII)
_GAP = re.compile(r"(?:\s+(?:#[^\n]*)?)*")
_KEY = re.compile(r"names\s*:(?=\s|$)\s*(.*)")
_OTHER_KEY = re.compile(r"""["']?\w[^:]*:(\s|$)""")


def read_yolo_names(path):
    """Reads the names of a data.yaml, or the lines of a classes.txt.

    Args:
        path: Path; .yaml or .yml, or another type for lines.

    Returns:
        {class number: name}, sorted by the number.

    Raises:
        UserError: if the file can't be read, has no names in a form that is understood, or one
            name twice.
    """
    try:
        text, _ = read_text(path)
    except OSError as error:
        raise UserError(f"{path} can't be read: {error}.") from error
    if path.suffix.lower() in (".yaml", ".yml"):
        names = _from_yaml(text, path)
        _check_count(text, names, path)
    else:
        names = dict(enumerate(line for line in text.splitlines() if line.strip()))
    names = {number: clean_label(name, str(path)) for number, name in sorted(names.items())}
    double = [name for name in names.values() if list(names.values()).count(name) > 1]
    if double:
        raise UserError(f"{path} names {double[0]!r} twice. Each class needs its own name.")
    if not names:
        raise UserError(f"{path} names no classes. Expected a name for each.")
    return names


def _check_count(text, names, path):
    """Raises UserError if nc, the number of classes, is another than that of the names."""
    match = re.search(r"(?m)^nc\s*:\s*(\d{1,9})\s*(?:#.*)?$", text, re.ASCII)
    if match and int(match[1]) != len(names):
        raise UserError(
            f"{path} has nc: {match[1]}, but {len(names)} names. Correct the one that is wrong."
        )


def _from_yaml(text, path):
    lines = text.splitlines()
    starts = [(number, match) for number, line in enumerate(lines) if (match := _KEY.match(line))]
    if len(starts) != 1:
        raise UserError(
            f"{path} has {len(starts)} lines 'names:'. Expected one: names: ['cat', 'dog'], or a "
            "line for each class below it, '- cat' or '0: cat'."
        )
    ((number, match),) = starts
    first = match[1].strip()
    rest = "\n".join([first, *lines[number + 1 :]])
    opening = _GAP.match(f" {rest}").end() - 1
    if rest[opening : opening + 1] in ("[", "{"):
        return _from_brackets(rest[opening:], path)
    if first and not first.startswith("#"):
        raise _not_understood(path, number, lines[number])
    return _from_lines(lines, number + 1, path)


def _from_brackets(text, path):
    """Names between brackets, which may go over several lines."""
    names, at = {}, _GAP.match(text, 1).end()
    pattern, closing = (_ENTRY, "}") if text[0] == "{" else (_ITEM, "]")
    while text[at : at + 1] != closing:
        match = pattern.match(text, at)
        at = _GAP.match(text, match.end()).end() if match else at
        if match is None or text[at : at + 1] not in (",", closing):
            found = " ".join(text[at : at + 40].split())
            raise UserError(
                f"{path}: of names, {found!r} is not understood. Expected names: ['cat', 'dog'] "
                "or names: {0: 'cat', 1: 'dog'}, with the bracket closed."
            )
        _add(names, int(match[1]) if closing == "}" else len(names), match, path)
        if text[at] == ",":
            at = _GAP.match(text, at + 1).end()
    return names


def _from_lines(lines, start, path):
    """Names in lines '- cat' or '0: cat', up to the next key."""
    names, forms = {}, set()
    for number in range(start, len(lines)):
        line = lines[number]
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        if _OTHER_KEY.match(line) or line.startswith(("---", "...")):
            break
        if match is not None:
            _add(names, len(names) if match[1] is None else int(match[1]), match, path)
            # What is indented otherwise continues the line before, or is a level of its own.
            forms.add((match[1] is None, len(line) - len(line.lstrip())))
        if match is None or len(forms) > 1:
            raise _not_understood(path, number, line)
    return names


def _add(names, key, match, path):
    single, double, plain = match.groups()[-3:]
    if key in names:
        raise UserError(f"{path} names the class {key} twice. Remove one.")
    if single is not None:
        names[key] = single.replace("''", "'")
    elif double is not None:
        names[key] = re.sub(r"\\(.)", r"\1", double)
    elif re.search(r":(\s|$)", plain.strip()):
        raise UserError(f"{path}: the name {plain.strip()!r} has a colon. Put it in quotes.")
    else:
        names[key] = plain.strip()


def _not_understood(path, number, line):
    return UserError(
        f"{path}, line {number + 1}: {line.strip()[:60]!r} is not understood as names. Expected "
        "names: ['cat', 'dog'], or a line for each class below it, '- cat' or '0: cat'."
    )
