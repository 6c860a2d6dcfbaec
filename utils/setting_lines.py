"""The lines of a block of settings, as users write them: without types, or under other names.

Readers of the article type or paste `Init_lr = 1e-3`, where `init_lr: float = 1e-4` stands here.
"""

import ast
import difflib
import inspect
import io
import re
import sys
import textwrap
import tokenize
from pathlib import Path

from utils.old_names import article, explain, key_of
from utils.setting_values import is_type, split_union

_MISSING = object()
_NAMED = 5  # lines that are named one by one


def script_of(cls):
    """The name of the script in which a class stands, without its ending; "" if in none."""
    return Path(getattr(sys.modules.get(cls.__module__), "__file__", None) or "").stem


def adopt_lines(cls):
    """Makes typed settings of the lines of a class, as far as their names are known.

    A known name is one of the article's for this script, whatever its case, or one that the script
    reads. Values become what settings hold: tuples for lists and for NumPy's arrays.

    Returns:
        list of str: what is wrong with the other lines, which are taken out.
    """
    types, usual = inspect.get_annotations(cls), article(script_of(cls))
    is_script, usual = usual is not None, usual or {}
    proper = {key_of(name): name for name in (*types, *usual)}
    fields, problems = {}, []
    for name in (*types, *_untyped(cls, types)):
        value, new = vars(cls).get(name, _MISSING), proper.get(key_of(name), name)
        stated = [types[one] for one in (name, new) if is_type(types.get(one))]
        kind = stated[0] if stated else usual.get(new)
        problem = ""
        # Classes that are no script's need not be read where they stand.
        if new == name and name not in usual and (kind is None or is_script):
            read, found = _find_reader(cls, name)
            kind = kind or found or _kind_of_value(value)
            if not read:
                problem = _refuse(cls, name, {**types, **usual})
            elif kind is None:
                problem = f"{name} needs a type: int, float, str, bool or such as tuple[int, ...]."
        if value is not _MISSING:
            delattr(cls, name)
        if problem:
            problems.append(problem)
            continue
        fields[new] = kind
        if value is not _MISSING:
            setattr(cls, new, _adapt(value, kind, name in types))
    cls.__annotations__ = fields
    return problems


def _untyped(cls, types):
    """The names that a class gives a value but no type, in order; methods and the like aside."""
    methods = property, staticmethod, classmethod
    return [
        name
        for name, value in vars(cls).items()
        if not name.startswith("_") and name not in types
        if not callable(value) and not isinstance(value, methods)
    ]


def _find_reader(cls, name):
    """(whether the module of a class reads a setting, the type that a part of it gives it or None).

    A part is another class there with a field of that name, see `utils.config.take`.
    """
    module = sys.modules[cls.__module__]
    parts = [one for one in vars(module).values() if inspect.isclass(one) and one is not cls]
    kinds = [types[name] for part in parts if name in (types := inspect.get_annotations(part))]
    read = kinds or re.search(rf"[.'\"]{name}\b", inspect.getsource(module))
    return bool(read), next(filter(is_type, kinds), None)


def _kind_of_value(value):
    """The type that a value shows, `tuple[int, ...]` for a list of ints; None if it shows none."""
    if not isinstance(value, (tuple, list)):
        return type(value) if is_type(type(value)) else None
    kinds = {type(item) for item in value}
    return tuple[kinds.pop(), ...] if len(kinds) == 1 else None


def _adapt(value, kind, typed):
    if hasattr(value, "tolist"):  # the article's cls_weights are np.ones([num_classes])
        value = value.tolist()
    if isinstance(value, list):
        return tuple(value)  # dataclasses refuse lists as defaults
    if not typed and split_union(kind)[0] is str and type(value) is int:  # video_path = 0
        return str(value)
    return value


def _refuse(cls, name, known):
    """Says that there is no such setting, and what may be meant."""
    script, meanings = script_of(cls), dict.fromkeys(known, "")
    comments = read_comments(cls, known)
    meanings |= {one: meaning for one, (_, meaning) in comments.items()}
    keys = {key_of(one): one for one in known if one != name}
    close = difflib.get_close_matches(key_of(name), keys, n=1)
    hint = explain(name, meanings, script)
    if not hint and close:
        hint = f"Did you mean {keys[close[0]]}?"
    return f"There is no setting {name}. {hint or 'Nothing reads it: take the line out.'}"


def find_lost_lines(cls):
    """Finds lines that a later one of the same name, which is typed, makes undone.

    So it is where old lines are pasted above the block. Of a typed line that an untyped one
    follows, the user's own is taken, as Python has it.

    Returns:
        str for the user; "" if there are none.
    """
    lines, first = inspect.getsourcelines(cls)
    body = ast.parse(textwrap.dedent("".join(lines))).body[0].body
    seen, lost = {}, []
    for node in body:
        for target in getattr(node, "targets", None) or [getattr(node, "target", None)]:
            if not isinstance(target, ast.Name):
                continue
            key, line = key_of(target.id), first + node.lineno - 1
            if isinstance(node, ast.AnnAssign) and key in seen:
                lost.append(f"{target.id} in lines {seen[key]} and {line}")
            seen[key] = line
    if not lost:
        return ""
    more = f", and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
    return (
        f"Settings stand twice in {script_of(cls)}.py: {', '.join(lost[:_NAMED])}{more}. The later "
        "line would count. Keep one of them."
    )


def read_comments(cls, names):
    """{name: (title of its group, its comment)} of the settings of a class, from its source."""
    found, section, name = {}, "", None
    proper = {key_of(one): one for one in names}
    source = inspect.cleandoc(inspect.getsource(cls)) + "\n"
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        before = token.line[: token.start[1]].strip()
        if token.type == tokenize.NAME and not before:
            if token.string == "def":
                break  # what methods hold is not a setting
            if key_of(token.string) in proper:  # and not, say, a None on a line of its own
                name = proper[key_of(token.string)]
                found.setdefault(name, (section, ""))
        elif token.type == tokenize.COMMENT and not before:
            section = token.string.lstrip("# ")
        elif token.type == tokenize.COMMENT and name:
            found[name] = (section, token.string.lstrip("# "))
    return found
