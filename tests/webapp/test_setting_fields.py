"""The fields of a page: one for each setting, which says what the line in the script says."""

import dataclasses
import inspect
import json
import re

import gradio as gr
import pytest

from errors import UserError
from nets.backbones import BACKBONES
from nets.checks import DECODER_NORMS, PRECISIONS
from train import TrainConfig
from utils.config import settings
from utils.runs.lr_schedule import SCHEDULES
from webapp.setting_fields import SettingFields

NAMES = [field.name for field in dataclasses.fields(TrainConfig)]
# Settings that not every value of their type fits; `val_window` only beside another one.
OTHERS = {
    "num_classes": {"num_classes": 3},
    "folds": {"folds": 5},
    "val_window": {"val_window": (64, 96), "val_input_shape": (128, 160)},
    "value_range": {"value_range": (0.0, 4095.5)},
    "cls_weights": {"cls_weights": "balanced"},
    "name_classes": {"num_classes": 2, "name_classes": ("wall, inside", "door")},
    "engine": {"engine": "onednn,three_layers"},
    "scale": {"scale": (0.5, 1.5)},
    "min_lr": {"min_lr": 1e-7},
    "ignore_labels": {"ignore_labels": ()},
    "elastic": {"elastic": 0.02},
}


@pytest.fixture(scope="module")
def fields():
    """The fields of all settings of train.py, made on a page."""
    made = SettingFields(TrainConfig)
    with gr.Blocks():
        made.show("num_classes", "plan")
        made.show_groups()
    return made


def another(name):
    """TrainConfig in which a setting, at least, has another value than that of its line."""
    usual = getattr(TrainConfig(), name)
    if name in OTHERS:
        return TrainConfig(**OTHERS[name])
    if isinstance(usual, bool):
        return TrainConfig(**{name: not usual})
    if isinstance(usual, int):
        return TrainConfig(**{name: usual + 1})
    if isinstance(usual, float):
        return TrainConfig(**{name: usual / 2 or 0.25})
    if isinstance(usual, tuple) or usual is None:
        return TrainConfig(**{name: (64, 96)})
    choices = {
        "plan": "auto", "decoder_norm": "group", "precision": "float32", "optimizer_type": "sgd",
        "lr_decay_type": "step", "resume": "never", "backbone": "resnet50",
    }  # fmt: skip
    return TrainConfig(**{name: choices.get(name, "a folder/of, mine")})


def sent(fields, config):
    """What the functions of the page are given where a browser shows these settings."""
    values = []
    for name, setting in fields.settings.items():
        field = fields.components[name]
        shown = field.postprocess(setting.to_field(getattr(config, name)))
        values.append(field.preprocess(json.loads(json.dumps(shown))))
    return values


def accordion_of(field):
    """The title of the accordion in which a field is."""
    block = field.parent
    while not isinstance(block, gr.Accordion):
        block = block.parent
    return block.label


def test_every_setting_has_a_field(fields):
    assert list(fields.settings) == NAMES
    assert set(fields.components) == set(NAMES)
    assert len({field.elem_id for field in fields.inputs}) == len(NAMES)


def test_help_texts_are_the_comments_of_the_lines(fields):
    lines = re.findall(r"^    (\w+): .+?  # (.+)$", inspect.getsource(TrainConfig), re.MULTILINE)
    assert {name: fields.components[name].info for name in NAMES} == dict(lines)
    assert all(fields.components[name].label == name for name in NAMES)


def test_groups_are_the_headings_of_the_class(fields):
    headings = re.findall(r"^    # (.+)$", inspect.getsource(TrainConfig), re.MULTILINE)
    assert list(dict.fromkeys(one.group for one in fields.settings.values())) == headings
    folded = {
        name: accordion_of(field)
        for name, field in fields.components.items()
        if name not in ("num_classes", "plan")
    }
    assert folded == {name: fields.settings[name].group for name in folded}
    assert set(folded.values()) == set(headings)


def test_the_page_opens_with_the_settings_of_the_script(fields):
    assert fields.read(fields.opening) == TrainConfig()
    assert fields.read(sent(fields, TrainConfig())) == TrainConfig()


@pytest.mark.parametrize("name", NAMES)
def test_a_value_comes_back_as_it_was(fields, name):
    config = another(name)
    assert getattr(config, name) != getattr(TrainConfig(), name)
    assert fields.read(sent(fields, config)) == config


def test_words_to_choose_from_are_those_that_the_checks_allow(fields):
    found = {name: set(one.choices) for name, one in fields.settings.items() if one.choices}
    assert found == {
        "plan": {"off", "auto"},
        "backbone": set(BACKBONES),
        "decoder_norm": set(DECODER_NORMS),
        "precision": set(PRECISIONS),
        "optimizer_type": {"adam", "sgd"},
        "lr_decay_type": set(SCHEDULES),
        "resume": {"auto", "never"},
    }
    assert all(isinstance(fields.components[name], gr.Dropdown) for name in found)


def test_kinds_of_fields(fields):
    kinds = {name: type(field) for name, field in fields.components.items()}
    for name in NAMES:
        usual = getattr(TrainConfig(), name)
        if isinstance(usual, bool):
            assert kinds[name] is gr.Checkbox
        elif isinstance(usual, (int, float)):
            assert kinds[name] is gr.Number
        else:
            assert kinds[name] in (gr.Textbox, gr.Dropdown)


@pytest.mark.parametrize(
    ("name", "shown", "message"),
    [
        ("num_classes", None, "num_classes must be int; got None."),
        ("num_classes", 2.5, "num_classes must be int; got 2.5."),
        ("num_classes", 1, "num_classes must be 2 to 255 and counts the background too; got 1."),
        ("init_lr", None, "init_lr must be float; got None."),
        ("input_shape", "512", "input_shape must be int,int; got "),
        ("input_shape", "a,b", "must be int"),
        ("cls_weights", "blanced", "cls_weights must be one of balanced; got 'blanced'."),
        ("save_period", -1, "save_period must be at least 0; got -1."),
    ],
)
def test_what_is_wrong_is_one_sentence_of_the_settings(fields, name, shown, message):
    values = fields.opening
    values[NAMES.index(name)] = shown
    with pytest.raises(UserError, match=re.escape(message)):
        fields.read(values)


def test_names_with_commas_stand_on_lines_of_their_own(fields):
    values = sent(fields, TrainConfig(num_classes=2))
    values[NAMES.index("name_classes")] = "sky, clouds\n\n ground "
    assert fields.read(values).name_classes == ("sky, clouds", "ground")


def test_a_value_that_no_command_line_can_hold_is_refused(fields):
    values = sent(fields, TrainConfig(num_classes=2))
    values[NAMES.index("name_classes")] = "sky\n--ground"
    with pytest.raises(UserError, match="There is no setting --ground"):
        fields.read(values)


def test_empty_means_none_where_none_is_allowed(fields):
    values = dict(zip(NAMES, fields.opening, strict=True))
    assert values["val_window"] == values["min_lr"] == ""
    values |= {"val_window": " ", "val_input_shape": "None"}
    assert fields.read(list(values.values())) == TrainConfig()


def test_fields_begin_as_the_page_says():
    begun = SettingFields(TrainConfig, {"plan": "auto", "time_limit": 60.0})
    with gr.Blocks():
        begun.show_groups()
    assert begun.components["plan"].value == "auto"
    assert begun.read(begun.opening) == TrainConfig(plan="auto", time_limit=60.0)


def test_a_new_line_is_a_new_field():
    @settings
    class Config:
        # Paint
        colour: str = "red"  # of the wall
        coats: tuple[int, ...] = (1, 2)  # one after the other

    made = SettingFields(Config)
    with gr.Blocks():
        made.show_groups()
    assert [field.info for field in made.inputs] == ["of the wall", "one after the other"]
    assert made.read(["blue", "3"]) == Config(colour="blue", coats=(3,))


def test_examples_are_of_settings_that_there_are():
    assert set(OTHERS) <= set(NAMES)
