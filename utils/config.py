"""Settings: a dataclass at the top of each script, overridden on the command line.

    @settings
    class TrainConfig:
        # Data
        num_classes: int = 21  # classes + 1 for the background

One line is one setting: its name, type, value and, as a comment, its meaning. The comment
is also the help text. `--num_classes 3`, `--input_shape 256,256` (or `256 256`),
`--no-freeze_train`, `--image a.jpg b.jpg`. A type such as `tuple[float, ...] | str` takes
numbers or one word.
"""

import argparse
import dataclasses
import difflib
import inspect
import io
import math
import sys
import tokenize
import types
import typing

from errors import UserError
from utils.script import run_script as run_script  # scripts take all they need from here

_FORMER_NAMES = {"images": "--pictures"}  # of settings, which still work
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def settings(cls):
    """Class decorator: a frozen dataclass whose values are checked against their types.

    Lists become tuples and ints floats where the type says so. A method `check(self)`, if
    there is one, runs afterwards and raises UserError for values that make no sense.
    """
    annotated = inspect.get_annotations(cls)
    for name, value in list(vars(cls).items()):
        if isinstance(value, list):
            setattr(cls, name, tuple(value))  # dataclasses refuse lists as defaults
    forgotten = [
        name
        for name, value in vars(cls).items()
        if not name.startswith("_") and name not in annotated and not callable(value)
        if not isinstance(value, (property, staticmethod, classmethod))
    ]

    def validate(self):
        for name in forgotten:
            value = getattr(cls, name)
            raise UserError(
                f"The setting '{name} = {value!r}' has no type. "
                f"Write '{name}: {type(value).__name__} = {value!r}', if there is such a setting."
            )
        for setting in dataclasses.fields(self):
            value = getattr(self, setting.name)
            object.__setattr__(self, setting.name, _conform(setting.name, value, setting.type))
        if hasattr(self, "check"):
            self.check()

    cls.__post_init__ = validate
    return dataclasses.dataclass(frozen=True)(cls)


def load_config(cls, argv=None):
    """Makes the settings from the class' values and the command line.

    Args:
        cls: a class made by `settings`.
        argv: list of str; None: the command line.

    Raises:
        UserError: for an unknown setting or a value of the wrong type.
    """
    parser = _Parser(
        description=inspect.cleandoc(sys.modules[cls.__module__].__doc__ or ""),
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    comments, group, title = _comments(cls), parser, None
    for setting in dataclasses.fields(cls):
        section, meaning = comments.get(setting.name, ("", ""))
        if section != title:
            group, title = parser.add_argument_group(section), section
        _add_argument(group, setting, meaning)
    # Texts become values here: argparse would turn a UserError into a message of its own.
    kinds = {setting.name: setting.type for setting in dataclasses.fields(cls)}
    given = vars(parser.parse_args(argv))
    config = cls(**{name: _parse(name, text, kinds[name]) for name, text in given.items()})
    object.__setattr__(config, "_typed", frozenset(given))
    return config


def typed_settings(config):
    """Names of the settings that the command line gave, for settings made by `load_config`."""
    return getattr(config, "_typed", frozenset())


def to_arguments(config, typed=()):
    """The command line by which a script takes these settings, as a list of str.

    Args:
        config: settings, an object of a class made by `settings`.
        typed: names of settings that are given though they have the class' value.

    Raises:
        UserError: for a value that no command line can hold.
    """
    arguments = []
    for setting in dataclasses.fields(config):
        value = getattr(config, setting.name)
        if setting.name in typed or value != setting.default:
            arguments += _to_argument(setting.name, value)
    if load_config(type(config), arguments) != config:
        raise UserError(
            f"These settings can't be given on a command line: {' '.join(arguments)}. Set them at "
            "the top of the script."
        )
    return arguments


def take(cls, config, **more):
    """Makes `cls`, a dataclass, of those of its fields that `config` has too, and of `more`."""
    names = [field.name for field in dataclasses.fields(cls) if field.name not in more]
    return cls(**{name: getattr(config, name) for name in names}, **more)


def format_settings(config):
    """The resolved settings as a table for the terminal."""
    values = dataclasses.asdict(config)
    width = max(map(len, values))
    return "\n".join(f"  {name:<{width}}  {value!r}" for name, value in values.items())


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def _format_args(self, action, default_metavar):
        if action.nargs == "+":  # "int,int" says enough
            return action.metavar
        return super()._format_args(action, default_metavar)


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        if message.startswith("unrecognized arguments: --"):
            option = message.split()[2].split("=")[0]
            close = difflib.get_close_matches(option, self._option_string_actions, n=1)
            hint = f"Did you mean {close[0]}?" if close else "See --help for all settings."
            raise UserError(f"There is no setting {option}. {hint}")
        raise UserError(f"{message}. See --help for all settings.")


def _add_argument(group, setting, meaning):
    shown = "" if setting.default is None else f" (now {setting.default!r})"
    options = {"default": argparse.SUPPRESS, "help": (meaning + shown).replace("%", "%%")}
    if _split_union(setting.type)[0] is bool:
        options |= {"nargs": "?", "const": "true"}
        group.add_argument(
            f"--no-{setting.name}", dest=setting.name, action="store_const", const="false",
            default=argparse.SUPPRESS, help=argparse.SUPPRESS,
        )  # fmt: skip
    elif typing.get_origin(_split_union(setting.type)[0]) is tuple:
        options["nargs"] = "+"
    group.add_argument(
        f"--{setting.name}",
        metavar=_type_name(setting.type),
        **options,
    )
    if setting.name in _FORMER_NAMES:
        options["help"] = argparse.SUPPRESS
        group.add_argument(_FORMER_NAMES[setting.name], dest=setting.name, **options)


def _parse(name, text, kind):
    """Reads a command-line text, or several of a tuple, as a value of the setting's type."""
    if isinstance(text, list) and len(text) == 1:
        text = text[0]  # its parts, if any, stand between commas
    kind, optional, or_word = _split_union(kind)
    if isinstance(text, list):
        one = typing.get_args(kind)[0]
        return _conform(name, tuple(_parse(name, part, one) for part in text), kind)
    if optional and text.lower() in ("none", ""):
        return None
    if kind is bool:
        if text.lower() in _TRUE + _FALSE:
            return text.lower() in _TRUE
        raise UserError(f"{name} must be true or false; got {text!r}.")
    if or_word and text.isidentifier():
        return text
    if typing.get_origin(kind) is tuple:
        parts = [part.strip(" ()[]'\"") for part in text.split(",")]
        kinds = typing.get_args(kind)
        parts = [_parse(name, part, kinds[0]) for part in parts if part]
        return _conform(name, tuple(parts), kind)
    try:
        return kind(text)
    except ValueError:
        raise UserError(f"{name} must be {_type_name(kind)}; got {text!r}.") from None


def _to_argument(name, value):
    """A setting as a list of the words of a command line."""
    if isinstance(value, tuple) and len(value) > 1 and isinstance(value[0], str):
        return [f"--{name}", *value]  # a name may hold a comma
    texts = map(str, value) if isinstance(value, tuple) else [str(value)]
    return [f"--{name}={','.join(texts)}"]  # with "=", as a value may begin with "-"


def _conform(name, value, kind):
    """Returns `value` as the setting's type, or raises UserError."""
    whole, (kind, optional, or_word) = kind, _split_union(kind)
    if value is None and optional:
        return None
    if or_word and isinstance(value, str):
        return value
    if typing.get_origin(kind) is tuple:
        kinds = typing.get_args(kind)
        if isinstance(value, (list, tuple)):
            if kinds[-1] is Ellipsis:
                return tuple(_conform(name, item, kinds[0]) for item in value)
            if len(value) == len(kinds):
                return tuple(
                    _conform(name, item, one) for item, one in zip(value, kinds, strict=True)
                )
    elif kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    elif kind is float and isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{name} must be a number; got {value!r}.")
    elif isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise UserError(f"{name} must be {_type_name(whole)}; got {value!r}.")


def _split_union(kind):
    """(type, whether None is allowed, whether a word is) of a setting's type."""
    if not isinstance(kind, types.UnionType):
        return kind, False, False
    first, *others = (arg for arg in typing.get_args(kind) if arg is not types.NoneType)
    return first, types.NoneType in typing.get_args(kind), str in others


def _type_name(kind):
    kind, _, or_word = _split_union(kind)
    kinds = typing.get_args(kind) or (kind,)
    names = ["..." if one is Ellipsis else one.__name__ for one in kinds]
    return ",".join(names) + (" or str" if or_word else "")


def _comments(cls):
    """{setting: (title of its group, its comment)}, read from the class' source."""
    found, section, name = {}, "", None
    settings_of_class = {setting.name for setting in dataclasses.fields(cls)}
    source = inspect.cleandoc(inspect.getsource(cls)) + "\n"
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        before = token.line[: token.start[1]].strip()
        if token.type == tokenize.NAME and not before:
            if token.string == "def":
                break  # what methods hold is not a setting
            if token.string in settings_of_class:  # and not, say, a None on a line of its own
                name = token.string
                found.setdefault(name, (section, ""))
        elif token.type == tokenize.COMMENT and not before:
            section = token.string.lstrip("# ")
        elif token.type == tokenize.COMMENT and name:
            found[name] = (section, token.string.lstrip("# "))
    return found
