"""Values of settings: read from the command line's text, and checked against their types."""

import math
import types
import typing

from errors import UserError

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_PLAIN = (bool, int, float, str)


def is_type(kind):
    """Whether a setting can be of this type: a plain one, `tuple[int, ...]`, or with `| None`."""
    kind = split_union(kind)[0]
    if typing.get_origin(kind) is tuple:
        return all(one in (*_PLAIN, Ellipsis) for one in typing.get_args(kind))
    return kind in _PLAIN


def parse(name, text, kind):
    """Reads a command-line text, or several of a tuple, as a value of the setting's type."""
    if isinstance(text, list) and len(text) == 1:
        text = text[0]  # its parts, if any, stand between commas
    kind, optional, or_word = split_union(kind)
    if isinstance(text, list):
        one = typing.get_args(kind)[0]
        return conform(name, tuple(parse(name, part, one) for part in text), kind)
    # Of a tuple of any length, the empty text is the empty one.
    nothing = ("none",) if typing.get_args(kind)[-1:] == (Ellipsis,) else ("none", "")
    if optional and text.lower() in nothing:
        return None
    if kind is bool:
        if text.lower() in _TRUE + _FALSE:
            return text.lower() in _TRUE
        raise UserError(f"{name} must be true or false; got {text!r}.")
    if or_word and (text.isidentifier() or typing.get_args(kind)[0] is str):
        return text  # of texts, the one that it is: a path may hold commas
    if typing.get_origin(kind) is tuple:
        parts = [part.strip(" ()[]'\"") for part in text.split(",")]
        kinds = typing.get_args(kind)
        parts = [parse(name, part, kinds[0]) for part in parts if part]
        return conform(name, tuple(parts), kind)
    try:
        return kind(text)
    except ValueError:
        raise UserError(f"{name} must be {type_name(kind)}; got {text!r}.") from None


def conform(name, value, kind):
    """Returns `value` as the setting's type, or raises UserError."""
    whole, (kind, optional, or_word) = kind, split_union(kind)
    if value is None and optional:
        return None
    if or_word and isinstance(value, str):
        return value
    if typing.get_origin(kind) is tuple:
        kinds = typing.get_args(kind)
        if isinstance(value, (list, tuple)):
            if kinds[-1] is Ellipsis:
                return tuple(conform(name, item, kinds[0]) for item in value)
            if len(value) == len(kinds):
                return tuple(
                    conform(name, item, one) for item, one in zip(value, kinds, strict=True)
                )
    elif kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    elif kind is float and isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{name} must be a number; got {value!r}.")
    elif isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise UserError(f"{name} must be {type_name(whole)}; got {value!r}.")


def split_union(kind):
    """(type, whether None is allowed, whether a word is) of a setting's type."""
    if not isinstance(kind, types.UnionType):
        return kind, False, False
    first, *others = (arg for arg in typing.get_args(kind) if arg is not types.NoneType)
    return first, types.NoneType in typing.get_args(kind), str in others


def type_name(kind):
    kind, _, or_word = split_union(kind)
    kinds = typing.get_args(kind) or (kind,)
    names = ["..." if one is Ellipsis else one.__name__ for one in kinds]
    return ",".join(names) + (" or str" if or_word else "")
