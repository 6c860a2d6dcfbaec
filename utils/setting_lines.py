"""The lines of a block of settings, as users write them: without types, or under other names.

Readers of the article type or paste `Init_lr = 1e-3`, where `init_lr: float = 1e-4` stands here.
"""

import ast
import difflib
import inspect
import io
import sys
import textwrap
import tokenize
from pathlib import Path

from utils.old_names import article, explain, explain_old, key_of
from utils.setting_values import is_type, split_union

_MISSING = object()
_NAMED = 5  # lines that are named one by one


def script_of(cls):
    """The name of the script in which a class stands, without its ending; "" if in none."""
    return Path(getattr(sys.modules.get(cls.__module__), "__file__", None) or "").stem


def adopt_lines(cls):
    """Makes typed settings of the lines of a class, as far as their names are known.

    A known name is a setting of the class or one of the article's for this script, whatever its
    case. Values become what settings hold: tuples for lists and for NumPy's arrays.

    Returns:
        list of str: what is wrong with the other lines, which are taken out.
    """
    types, usual = inspect.get_annotations(cls), article(script_of(cls))
    proper = {key_of(name): name for name in (*types, *usual)}
    fields, problems = {}, []
    for name in (*types, *_untyped(cls, types)):
        value, kind = vars(cls).get(name, _MISSING), types.get(name)
        new = proper.get(key_of(name))
        old = kind is not None and new not in usual and _explain(cls, name, types, explain_old)
        if new is None or old:
            problems.append(_refuse(cls, name, value, {**types, **usual}))
            delattr(cls, name)
            continue
        kind = kind if is_type(kind) else usual.get(new, types.get(new) if kind is None else None)
        if kind is None:
            problems.append(
                f"The type of {name} is {_name_of(types[name])}. Those of settings are int, "
                "float, str, bool, or such as tuple[int, ...]."
            )
            delattr(cls, name)
            continue
        fields[new] = kind
        if value is not _MISSING:
            delattr(cls, name)
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


def _adapt(value, kind, typed):
    if hasattr(value, "tolist"):  # the article's cls_weights are np.ones([num_classes])
        value = value.tolist()
    if isinstance(value, list):
        return tuple(value)
    if not typed and split_union(kind)[0] is str and type(value) is int:  # video_path = 0
        return str(value)
    return value


def _refuse(cls, name, value, known):
    """Says that a line is no setting, and what may be meant."""
    if hint := _explain(cls, name, known):
        return f"There is no setting {name}. {hint}"
    keys = {key_of(one): one for one in known}
    if close := difflib.get_close_matches(key_of(name), keys, n=1):
        return f"There is no setting {name}. Did you mean {keys[close[0]]}?"
    return (
        f"The line '{name} = {value!r}' has no type, and no setting of that name is known. If it "
        f"is one, write '{name}: {type(value).__name__} = {value!r}'; a new name sets nothing."
    )


def _explain(cls, name, known, explanation=explain):
    meanings = dict.fromkeys(known, "")
    if not explanation(name, meanings, script_of(cls)):
        return ""
    comments = read_comments(cls, known)
    meanings |= {one: meaning for one, (_, meaning) in comments.items()}
    return explanation(name, meanings, script_of(cls))


def _name_of(kind):
    return getattr(kind, "__name__", kind) if isinstance(kind, type) else repr(kind)


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
