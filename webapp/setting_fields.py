"""Fields of a page for the settings of a script, made from the class in which these stand.

The groups are the headings of that class, the help texts its comments; what a field takes is its
type, as the command line reads it. So a new line there is a new field here.
"""

import dataclasses
import math
import re
import typing

import gradio as gr

from errors import UserError
from utils.config import to_arguments
from utils.setting_lines import read_comments, script_of
from utils.setting_values import conform, parse, split_union, type_name

_NO_CHOICE = "?"
_LINES = 8  # of a field for many words, at most
_MIN_WIDTH = 240  # pixels of a field, which decides how many stand side by side


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting, as its line says.

    Attributes:
        name: str.
        kind: its type, see `utils.setting_values`.
        default: its value as shipped.
        group: str, the heading above it.
        meaning: str, its comment.
        choices: tuple of str, the words that it may be; empty: any, or it is no word.
    """

    name: str
    kind: object
    default: object
    group: str
    meaning: str
    choices: tuple[str, ...] = ()

    @property
    def plain(self):
        """The type without what may stand in its place."""
        return split_union(self.kind)[0]

    @property
    def is_text(self):
        """Whether its field holds text, to be read as that of a command line is.

        So it is where a number may be left out: Gradio's field of a number would show 0.
        """
        return self.plain is not bool and self.kind not in (int, float)

    @property
    def _is_optional(self):
        return split_union(self.kind)[1]

    def to_field(self, value):
        """What the field shows for a value."""
        if not self.is_text:
            return value
        if value == () and self._is_optional:
            return "()"
        if isinstance(value, tuple):
            separator = "\n" if self._takes_lines else ","
            return separator.join(map(str, value))
        return "" if value is None else str(value)

    def from_field(self, shown):
        """The value that a field shows.

        Raises:
            UserError: if it is none of this type.
        """
        if not self.is_text:
            return conform(self.name, shown, self.kind)
        text = (shown or "").strip()
        if not text and self._is_optional:
            return None
        if self._takes_lines and "\n" in text:
            lines = [line.strip() for line in text.splitlines()]
            return parse(self.name, [line for line in lines if line], self.kind)
        return parse(self.name, text, self.kind)

    @property
    def _takes_lines(self):
        """Whether it holds several words, of which any may hold a comma."""
        return typing.get_origin(self.plain) is tuple and str in typing.get_args(self.plain)

    def make_field(self, value, elem_id):
        """The Gradio component for it, where it is called."""
        usual = {
            "label": self.name,
            "info": self.meaning,
            "min_width": _MIN_WIDTH,
            "elem_id": elem_id,
        }
        shown = self.to_field(value)
        if self.plain is bool:
            return gr.Checkbox(shown, **usual)
        if not self.is_text:
            return gr.Number(shown, step=_step(self), **usual)
        if self.choices:
            return gr.Dropdown(list(self.choices), value=shown, **usual)
        lines = _LINES if self._takes_lines else 1
        form = "" if self.kind is str else type_name(self.kind)
        return gr.Textbox(shown, lines=1, max_lines=lines, placeholder=form, **usual)


def read_settings(cls):
    """{name: Setting} of a class made by `utils.config.settings`, in its order."""
    fields = dataclasses.fields(cls)
    comments = read_comments(cls, [field.name for field in fields])
    return {
        field.name: Setting(
            field.name,
            field.type,
            field.default,
            *comments.get(field.name, ("", "")),
            choices=_find_choices(cls, field),
        )
        for field in fields
    }


def _find_choices(cls, field):
    """The words that a setting may be, as the class names them where it refuses another."""
    if field.type is not str:
        return ()
    try:
        cls(**{field.name: _NO_CHOICE})
    except UserError as error:
        named = re.match(rf"{field.name} must be one of (.+); got '\{_NO_CHOICE}'", str(error))
        return tuple(named[1].split(", ")) if named else ()
    return ()


def _step(setting):
    """By how much the arrows of a number's field change it."""
    if setting.plain is int:
        return 1
    return 10 ** math.floor(math.log10(abs(setting.default))) if setting.default else 0.1


class SettingFields:
    """The fields of all settings of a class, and what they say.

    Args:
        cls: made by `utils.config.settings`.
        begin: dict from names to values with which the page opens, where these are others than
            those of the class.

    Attributes:
        settings: dict from names to `Setting`, in the order of the class.
        components: dict from names to the Gradio components made so far.
    """

    def __init__(self, cls, begin=None):
        self.cls = cls
        self.begin = begin or {}
        self.settings = read_settings(cls)
        self.components = {}

    def show(self, *names):
        """Makes the fields of these settings where it is called, in a row that wraps."""
        with gr.Row():
            for name in names:
                setting, value = self.settings[name], self._opening(name)
                elem_id = f"{script_of(self.cls)}-{name}"
                self.components[name] = setting.make_field(value, elem_id)

    def show_groups(self):
        """Makes the fields of all other settings, each group folded away under its heading."""
        groups = {}
        for name, setting in self.settings.items():
            if name not in self.components:
                groups.setdefault(setting.group, []).append(name)
        for group, names in groups.items():
            with gr.Accordion(group, open=False):
                self.show(*names)

    def _opening(self, name):
        return self.begin.get(name, self.settings[name].default)

    @property
    def opening(self):
        """list of what all fields show at first, as for `read`."""
        return [one.to_field(self._opening(name)) for name, one in self.settings.items()]

    @property
    def inputs(self):
        """The components in the order of the settings, all made."""
        return [self.components[name] for name in self.settings]

    def read(self, shown):
        """The settings object that the fields say.

        Args:
            shown: list of what they show, in the order of `inputs`.

        Raises:
            UserError: for a value of the wrong type, those that make no sense together, and
                those that no command line can hold.
        """
        pairs = zip(self.settings.values(), shown, strict=True)
        config = self.cls(**{setting.name: setting.from_field(one) for setting, one in pairs})
        to_arguments(config)
        return config
