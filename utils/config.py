"""Settings: a dataclass at the top of each script, overridden on the command line.

    @settings
    class TrainConfig:
        # Data
        num_classes: int = 21  # classes + 1 for the background

One line is one setting: its name, type, value and, as a comment, its meaning. The comment
is also the help text. `--num_classes 3`, `--input_shape 256,256` (or `256 256`),
`--no-freeze_train`, `--image a.jpg b.jpg`. A type such as `tuple[float, ...] | str` takes
numbers or one word; `tuple[str, ...] | str` one text or several.
"""

import argparse
import dataclasses
import difflib
import inspect
import os
import sys
import typing

from errors import UserError
from utils.messages import print_messages
from utils.old_names import explain, key_of
from utils.script import run_script as run_script  # scripts take all they need from here
from utils.setting_lines import adopt_lines, find_lost_lines, read_comments, script_of
from utils.setting_values import conform, parse, split_union, type_name

_FORMER_NAMES = {"images": "--pictures"}  # of settings, which still work


def settings(cls):
    """Class decorator: a frozen dataclass whose values are checked against their types.

    Lists become tuples and ints floats where the type says so. Lines without a type, or under a
    name of the article, are settings too, see `utils.setting_lines`. A method `check(self)`, if
    there is one, runs afterwards and raises UserError for values that make no sense.
    """
    problems = adopt_lines(cls)

    def validate(self):
        print_messages()  # who makes a script's settings runs it
        if problems:
            raise UserError("\n".join(problems))
        for setting in dataclasses.fields(self):
            value = getattr(self, setting.name)
            object.__setattr__(self, setting.name, conform(setting.name, value, setting.type))
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
    names = [setting.name for setting in dataclasses.fields(cls)]
    comments = read_comments(cls, names)
    parser = _Parser(
        description=inspect.cleandoc(sys.modules[cls.__module__].__doc__ or ""),
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    parser.meanings = {name: comments.get(name, ("", ""))[1] for name in names}
    parser.script = script_of(cls)
    group, title = parser, None
    for setting in dataclasses.fields(cls):
        section, meaning = comments.get(setting.name, ("", ""))
        if section != title:
            group, title = parser.add_argument_group(section), section
        _add_argument(group, setting, meaning)
    # Texts become values here: argparse would turn a UserError into a message of its own.
    kinds = {setting.name: setting.type for setting in dataclasses.fields(cls)}
    given = vars(parser.parse_args(parser.proper(sys.argv[1:] if argv is None else argv)))
    if lost := find_lost_lines(cls):
        raise UserError(lost)
    for texts in given.values():
        if isinstance(texts, list):  # it takes all that follows
            parser.refuse_undashed(texts)
    config = cls(**{name: parse(name, text, kinds[name]) for name, text in given.items()})
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


def format_settings(config, shipped=None):
    """The settings that are not as shipped, as a table for the terminal.

    Args:
        config: settings.
        shipped: dict from names to values as shipped, for those that users edit where they stand;
            of the others the values of the class are taken.
    """
    usual = {field.name: field.default for field in dataclasses.fields(config)} | (shipped or {})
    values = dataclasses.asdict(config)
    changed = {name: value for name, value in values.items() if value != usual[name]}
    if not changed:
        return f"All {len(values)} settings are as shipped."
    width = max(map(len, changed))
    lines = (f"  {name:<{width}}  {value!r}" for name, value in changed.items())
    return "\n".join((f"{len(changed)} of {len(values)} settings are not as shipped:", *lines))


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def _format_args(self, action, default_metavar):
        if action.nargs == "+":  # "int,int" says enough
            return action.metavar
        return super()._format_args(action, default_metavar)


class _Parser(argparse.ArgumentParser):
    """argparse, for those who know other names.

    Attributes:
        meanings: dict from the names of the settings to what they mean.
        script: str, the name of the script without its ending.
    """

    def proper(self, argv):
        """The arguments with known options as they are spelled here, such as --Init_lr."""
        known = self._option_string_actions
        spelled = {key_of(option): option for option in known}
        proper = []
        for argument in argv:
            option, equals, value = argument.partition("=")
            if option.startswith("--") and option not in known:
                option = spelled.get(key_of(option), option)
            proper.append(option + equals + value)
        return proper

    def refuse_undashed(self, arguments):
        """Refuses `num_classes=3`, which lacks its dashes; a file of that name is one."""
        known = {key_of(name): name for name in self.meanings}
        for argument in arguments:
            name, equals, value = argument.partition("=")
            if equals and key_of(name) in known and not os.path.exists(argument):
                raise UserError(
                    f"{argument} lacks its dashes. Write --{known[key_of(name)]} {value}"
                )

    def error(self, message):
        start, _, rest = message.partition(": ")
        if start != "unrecognized arguments":
            raise UserError(f"{message}. See --help for all settings.")
        arguments = rest.split()
        self.refuse_undashed(arguments)
        unknown = [one.split("=")[0] for one in arguments if one.startswith("--")]
        if not unknown:
            raise UserError(f"{message}. See --help for all settings.")
        raise UserError("\n".join(map(self._explain, dict.fromkeys(unknown))))

    def _explain(self, option):
        hint = explain(option.lstrip("-"), self.meanings, self.script)
        close = difflib.get_close_matches(option, self._option_string_actions, n=1)
        if not hint:
            hint = f"Did you mean {close[0]}?" if close else "See --help for all settings."
        return f"There is no setting {option}. {hint}"


def _add_argument(group, setting, meaning):
    shown = "" if setting.default is None else f" (now {setting.default!r})"
    options = {"default": argparse.SUPPRESS, "help": (meaning + shown).replace("%", "%%")}
    if split_union(setting.type)[0] is bool:
        options |= {"nargs": "?", "const": "true"}
        group.add_argument(
            f"--no-{setting.name}", dest=setting.name, action="store_const", const="false",
            default=argparse.SUPPRESS, help=argparse.SUPPRESS,
        )  # fmt: skip
    elif typing.get_origin(split_union(setting.type)[0]) is tuple:
        options["nargs"] = "+"
    group.add_argument(
        f"--{setting.name}",
        metavar=type_name(setting.type),
        **options,
    )
    if setting.name in _FORMER_NAMES:
        options["help"] = argparse.SUPPRESS
        group.add_argument(_FORMER_NAMES[setting.name], dest=setting.name, **options)


def _to_argument(name, value):
    """A setting as a list of the words of a command line."""
    if isinstance(value, tuple) and len(value) > 1 and isinstance(value[0], str):
        return [f"--{name}", *value]  # a name may hold a comma
    texts = map(str, value) if isinstance(value, tuple) else [str(value)]
    return [f"--{name}={','.join(texts)}"]  # with "=", as a value may begin with "-"
