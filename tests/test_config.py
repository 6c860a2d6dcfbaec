"""Settings: values, the command line, help, and the exit status of scripts."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from errors import RunError, UserError
from utils.config import format_settings, load_config, run_script, settings, to_arguments
from utils.setting_values import parse


@settings
class Config:
    """Settings of no script."""

    # Data
    num_classes: int = 21  # classes + 1 for the background
    input_shape: tuple[int, int] = (512, 256)  # height, width; 100% of them
    ignore_labels: tuple[int, ...] = [255]  # void values
    name_classes: tuple[str, ...] = ()

    # Training
    init_lr: float = 1e-4  # highest rate
    min_lr: float | None = None  # last rate
    freeze_train: bool = True  # keep the encoder as it is
    augment: bool = False  # change the images at random
    tile: bool | None = None  # cut large images
    weights: str | None = "vgg16.h5"  # file to start from

    def check(self):
        if self.num_classes < 2:
            raise UserError(f"num_classes must be at least 2; got {self.num_classes}.")


@pytest.mark.parametrize(
    ("argv", "name", "value"),
    [
        (["--num_classes", "3"], "num_classes", 3),
        (["--num_classes=3"], "num_classes", 3),
        (["--input_shape", "64,96"], "input_shape", (64, 96)),
        (["--input_shape", "(64, 96)"], "input_shape", (64, 96)),
        (["--input_shape", "[64,96,]"], "input_shape", (64, 96)),
        (["--ignore_labels", "0"], "ignore_labels", (0,)),
        (["--ignore_labels", "0,254,255"], "ignore_labels", (0, 254, 255)),
        (["--ignore_labels", ""], "ignore_labels", ()),
        (["--name_classes", "sky, tall tree,'猫'"], "name_classes", ("sky", "tall tree", "猫")),
        (["--init_lr", "1"], "init_lr", 1.0),
        (["--init_lr", "2e-3"], "init_lr", 0.002),
        (["--init_lr", "-1"], "init_lr", -1.0),
        (["--min_lr", "1e-6"], "min_lr", 1e-6),
        (["--min_lr", "None"], "min_lr", None),
        (["--weights", "my file.h5"], "weights", "my file.h5"),
        (["--freeze_train"], "freeze_train", True),
        (["--freeze_train", "false"], "freeze_train", False),
        (["--freeze_train", "False"], "freeze_train", False),
        (["--freeze_train=0"], "freeze_train", False),
        (["--freeze_train", "off"], "freeze_train", False),
        (["--no-freeze_train"], "freeze_train", False),
        (["--augment"], "augment", True),
        (["--augment", "true"], "augment", True),
        (["--augment", "YES"], "augment", True),
        (["--augment", "1"], "augment", True),
        (["--augment", "on"], "augment", True),
        (["--augment", "no"], "augment", False),
        (["--no-augment"], "augment", False),
        (["--tile"], "tile", True),
        (["--no-tile"], "tile", False),
        (["--tile", "false"], "tile", False),
    ],
)
def test_command_line(argv, name, value):
    config = load_config(Config, argv)
    assert getattr(config, name) == value
    assert type(getattr(config, name)) is type(value)
    assert dataclasses.replace(config, **{name: getattr(Config(), name)}) == Config()


def test_no_arguments_give_the_values_of_the_class():
    assert load_config(Config, []) == Config()


def test_the_command_line_of_the_process_is_the_default(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "--num_classes", "7"])
    assert load_config(Config).num_classes == 7


@pytest.mark.parametrize("text", ["none", "None", ""])
def test_none_on_the_command_line_replaces_a_value(text):
    assert load_config(Config, ["--weights", text]).weights is None


@pytest.mark.parametrize(("text", "value"), [("", ()), ("()", ()), ("none", None), ("1", (1,))])
def test_an_empty_tuple_is_not_none(text, value):
    assert parse("ignore_labels", text, tuple[int, ...] | None) == value


def test_later_arguments_win():
    config = load_config(Config, ["--augment", "--num_classes", "3", "--no-augment"])
    assert (config.augment, config.num_classes) == (False, 3)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--num_class", "3"], "There is no setting --num_class. Did you mean --num_classes?"),
        (["--num_clases=3"], "There is no setting --num_clases. Did you mean --num_classes?"),
        (["--no-freeze"], "There is no setting --no-freeze. Did you mean --no-freeze_train?"),
        (["--zzz", "3"], "There is no setting --zzz. See --help for all settings."),
        (["3"], "unrecognized arguments: 3. See --help"),
        (["--num_classes"], "--num_classes: expected one argument. See --help"),
    ],
)
def test_unknown_and_incomplete_arguments_are_refused(argv, message):
    with pytest.raises(UserError) as caught:
        load_config(Config, argv)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--num_classes", "many"], "num_classes must be int; got 'many'."),
        (["--num_classes", "2.5"], "num_classes must be int; got '2.5'."),
        (["--init_lr", "fast"], "init_lr must be float; got 'fast'."),
        (["--min_lr", "slow"], "min_lr must be float; got 'slow'."),
        (["--freeze_train", "maybe"], "freeze_train must be true or false; got 'maybe'."),
        (["--input_shape", "64"], "input_shape must be int,int; got (64,)."),
        (["--input_shape", "1,2,3"], "input_shape must be int,int; got (1, 2, 3)."),
        (["--input_shape", "64,b"], "input_shape must be int; got 'b'."),
        (["--ignore_labels", "none"], "ignore_labels must be int; got 'none'."),
    ],
)
def test_arguments_of_the_wrong_type_are_refused(argv, message):
    with pytest.raises(UserError) as caught:
        load_config(Config, argv)
    assert message in str(caught.value)
    assert "lambda" not in str(caught.value)


@pytest.mark.parametrize("argv", [["--num_classes", "many"], ["--freeze_train", "maybe"]])
def test_a_refusal_names_the_setting_and_the_text(argv):
    with pytest.raises(UserError) as caught:
        load_config(Config, argv)
    assert argv[0].strip("-") in str(caught.value)
    assert repr(argv[1]) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("num_classes", "3", "num_classes must be int; got '3'."),
        ("num_classes", 3.0, "num_classes must be int; got 3.0."),
        ("num_classes", True, "num_classes must be int; got True."),
        ("num_classes", None, "num_classes must be int; got None."),
        ("init_lr", "1", "init_lr must be float; got '1'."),
        ("init_lr", True, "init_lr must be float; got True."),
        ("min_lr", "1", "min_lr must be float; got '1'."),
        ("freeze_train", 1, "freeze_train must be bool; got 1."),
        ("freeze_train", "false", "freeze_train must be bool; got 'false'."),
        ("weights", 3, "weights must be str; got 3."),
        ("input_shape", 512, "input_shape must be int,int; got 512."),
        ("input_shape", (512,), "input_shape must be int,int; got (512,)."),
        ("input_shape", (512, 2.5), "input_shape must be int; got 2.5."),
        ("ignore_labels", 255, "ignore_labels must be int,...; got 255."),
        ("ignore_labels", ("a",), "ignore_labels must be int; got 'a'."),
        ("name_classes", "cat", "name_classes must be str,...; got 'cat'."),
    ],
)
def test_values_of_the_wrong_type_are_refused(name, value, message):
    with pytest.raises(UserError) as caught:
        Config(**{name: value})
    assert str(caught.value) == message


def test_ints_become_floats():
    config = Config(init_lr=1, min_lr=0)
    assert (config.init_lr, config.min_lr) == (1.0, 0.0)
    assert (type(config.init_lr), type(config.min_lr)) == (float, float)


def test_lists_become_tuples():
    assert Config().ignore_labels == (255,)
    assert Config(input_shape=[64, 96], name_classes=["a"]).input_shape == (64, 96)
    hash(Config(ignore_labels=[0, 255]))


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().num_classes = 3


def test_check_runs_after_the_types_are_right():
    with pytest.raises(UserError, match="num_classes must be at least 2; got 1"):
        Config(num_classes=1)
    with pytest.raises(UserError, match="num_classes must be at least 2; got 1"):
        load_config(Config, ["--num_classes", "1"])
    with pytest.raises(UserError, match="num_classes must be int"):
        Config(num_classes="1")


def test_methods_and_properties_need_no_type():
    @settings
    class WithMethods:
        size: int = 3
        _private = 1

        @property
        def area(self):
            return self.size**2

        @staticmethod
        def static():
            return 1

        @classmethod
        def made(cls):
            return cls(4)

    assert (WithMethods().area, WithMethods.made().area) == (9, 16)


def test_help_shows_group_comment_and_value(capsys):
    with pytest.raises(SystemExit) as caught:
        load_config(Config, ["--help"])
    assert caught.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert __doc__ in shown
    assert "Data: --num_classes int classes + 1 for the background (now 21)" in shown
    assert "--input_shape int,int height, width; 100% of them (now (512, 256))" in shown
    assert "--ignore_labels int,... void values (now (255,))" in shown
    assert "Training: --init_lr float highest rate (now 0.0001)" in shown
    assert "--min_lr float last rate --freeze_train [bool]" in shown  # None is not shown
    assert "keep the encoder as it is (now True)" in shown


def test_a_setting_without_a_comment_stays_in_its_group(capsys):
    with pytest.raises(SystemExit):
        load_config(Config, ["--help"])
    data, training = capsys.readouterr().out.split("\nData:")[1].split("\nTraining:")
    assert "--name_classes str,..." in data
    assert "--name_classes" not in training
    assert "\n:\n" not in data


@settings
class Checked:
    size: int = 3  # pixels a side

    def check(self):
        size = self.size  # never zero
        if not size:
            raise UserError("size is 0.")


def test_comments_in_methods_are_not_shown(capsys):
    with pytest.raises(SystemExit):
        load_config(Checked, ["--help"])
    shown = capsys.readouterr().out
    assert "pixels a side (now 3)" in shown
    assert "never zero" not in shown


def test_format_settings_lists_what_is_not_as_shipped():
    lines = format_settings(Config(num_classes=3, min_lr=1e-6)).splitlines()
    assert lines == [
        "2 of 10 settings are not as shipped:",
        "  num_classes  3",
        "  min_lr       1e-06",
    ]
    assert format_settings(Config()) == "All 10 settings are as shipped."
    # Where users edit the class itself.
    assert format_settings(Config(), {"num_classes": 2, "weights": "vgg16.h5"}).splitlines() == [
        "1 of 10 settings are not as shipped:",
        "  num_classes  21",
    ]


def raising(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UserError("No mask. Add it."), 2, "error: No mask. Add it.\n"),
        (FileNotFoundError(2, "Nothing there", "x.txt"), 2, "Nothing there: 'x.txt'"),
        (PermissionError(13, "Not yours", "x.txt"), 2, "error: [Errno 13] Not yours: 'x.txt'\n"),
        (RunError("No number in step 3."), 1, "error: No number in step 3.\n"),
        (KeyboardInterrupt(), 130, "stopped.\n"),
    ],
)
def test_mistakes_are_one_message_and_a_status(error, status, message, capsys):
    with pytest.raises(SystemExit) as caught:
        run_script(raising(error))
    printed = capsys.readouterr()
    assert caught.value.code == status
    assert message in printed.err
    assert not printed.out


@pytest.mark.parametrize(
    "error", [ValueError("a defect"), KeyError("key"), ImportError("No module named 'tqdm'")]
)
def test_defects_keep_their_traceback(error):
    with pytest.raises(type(error)) as caught:
        run_script(raising(error))
    assert caught.value is error


@pytest.mark.parametrize(
    ("returned", "status"), [(None, 0), (0, 0), (3, 3), ({"miou": 1.0}, 0), ("text", 0)]
)
def test_only_an_int_that_main_returns_is_the_status(returned, status):
    with pytest.raises(SystemExit) as caught:
        run_script(lambda: returned)
    assert caught.value.code == status


@pytest.mark.parametrize(("before", "inside"), [(None, "3"), ("0", "0")])
def test_tensorflow_is_quiet_unless_the_user_wants_to_hear_it(monkeypatch, before, inside):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "")
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    if before:
        monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", before)
    with pytest.raises(SystemExit):
        run_script(lambda: None)
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == inside


def test_a_script_with_a_bad_argument_ends_with_status_2_and_no_traceback(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from utils.config import load_config, run_script, settings\n"
        "@settings\n"
        "class Config:\n"
        "    size: int = 3  # how large\n"
        "run_script(lambda: print(load_config(Config).size))\n"
    )

    def run(*argv):
        return subprocess.run(
            [sys.executable, script, *argv],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            capture_output=True,
            text=True,
            check=False,
        )

    good, bad = run("--size", "4"), run("--sise", "4")
    assert (good.returncode, good.stdout) == (0, "4\n")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr == "error: There is no setting --sise. Did you mean --size?\n"


@settings
class ListsConfig:
    size: tuple[int, int] = (1, 2)  # two numbers
    images: tuple[str, ...] = ()  # any number of names


@pytest.mark.parametrize(
    ("line", "size", "images"),
    [
        ("--size 3,4 --images a.jpg,b.jpg", (3, 4), ("a.jpg", "b.jpg")),
        ("--size 3 4 --images a.jpg b.jpg c.jpg", (3, 4), ("a.jpg", "b.jpg", "c.jpg")),
        ("--images one.jpg", (1, 2), ("one.jpg",)),
        # Several are taken as they are: names may hold commas.
        ("--images a,1.jpg b.jpg", (1, 2), ("a,1.jpg", "b.jpg")),
    ],
)
def test_lists_stand_between_commas_or_spaces(line, size, images):
    config = load_config(ListsConfig, line.split())
    assert (config.size, config.images) == (size, images)


def test_a_list_of_the_wrong_length_is_refused():
    with pytest.raises(UserError, match=r"size must be int,int; got \(1, 2, 3\)"):
        load_config(ListsConfig, ["--size", "1", "2", "3"])


def test_the_help_shows_a_list_once(capsys):
    with pytest.raises(SystemExit):
        load_config(ListsConfig, ["--help"])
    out = capsys.readouterr().out
    assert "--size int,int  " in out
    assert "[int,int" not in out


@settings
class WordConfig:
    weights: tuple[float, ...] | str = ()  # numbers, or balanced
    sizes: tuple[int, ...] | str | None = None


@pytest.mark.parametrize(
    ("line", "weights"),
    [
        ("", ()),
        ("--weights balanced", "balanced"),
        ("--weights=balanced", "balanced"),
        ("--weights 1,2.5,3", (1.0, 2.5, 3.0)),
        ("--weights (1,2)", (1.0, 2.0)),
        ("--weights 1 2 3", (1.0, 2.0, 3.0)),
        ("--weights 2", (2.0,)),
        ("--weights=", ()),
    ],
)
def test_numbers_or_a_word(line, weights):
    config = load_config(WordConfig, line.split())
    assert config.weights == weights
    assert type(config.weights) is type(weights)
    assert all(type(weight) is float for weight in weights if weights != "balanced")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--weights 1,b", "weights must be float; got 'b'."),
        ("--weights 1 b", "weights must be float; got 'b'."),
        ("--weights balanced 1", "weights must be float; got 'balanced'."),
        ("--weights 1x", "weights must be float; got '1x'."),
        ("--sizes 1.5", "sizes must be int; got '1.5'."),
    ],
)
def test_neither_numbers_nor_a_word(line, message):
    with pytest.raises(UserError) as caught:
        load_config(WordConfig, line.split())
    assert str(caught.value) == message


def test_values_that_are_numbers_or_a_word():
    assert WordConfig(weights="balanced").weights == "balanced"
    assert WordConfig(weights=[1, 2]).weights == (1.0, 2.0)
    assert WordConfig(sizes=None).sizes is None
    assert load_config(WordConfig, ["--sizes", "none"]).sizes is None
    with pytest.raises(UserError, match=r"weights must be float,... or str; got 3\.$"):
        WordConfig(weights=3)
    with pytest.raises(UserError, match=r"weights must be float,... or str; got None\.$"):
        WordConfig(weights=None)
    with pytest.raises(UserError, match=r"weights must be float; got 'a'\.$"):
        WordConfig(weights=(1, "a"))


def test_the_help_shows_numbers_or_a_word(capsys):
    with pytest.raises(SystemExit):
        load_config(WordConfig, ["--help"])
    assert "[--weights float,... or str]" in capsys.readouterr().out


def test_a_setting_is_found_by_its_former_name(capsys):
    @settings
    class Config:
        images: int = 80  # how many

    assert load_config(Config, ["--pictures", "3"]).images == 3
    with pytest.raises(SystemExit):
        load_config(Config, ["--help"])
    assert "pictures" not in capsys.readouterr().out


# The way back: settings as a command line


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"num_classes": 3, "input_shape": (64, 96), "init_lr": 1 / 3, "min_lr": 1e-6},
        {"ignore_labels": ()},
        {"ignore_labels": (0, 255), "freeze_train": False, "augment": True, "tile": False},
        {"name_classes": ("a,b", " (sky) ", "'猫'", "")},
        {"weights": None},
        {"weights": "-my file.h5"},
        {"init_lr": -1.0},
    ],
)
def test_settings_as_a_command_line_come_back(values):
    config = Config(**values)
    arguments = to_arguments(config)
    assert load_config(Config, arguments) == config
    assert bool(arguments) is bool(values)


def test_settings_that_were_typed_are_typed_again():
    assert to_arguments(Config(), {"init_lr", "name_classes"}) == [
        "--name_classes=", "--init_lr=0.0001",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weights": ""}, "These settings can't be given on a command line: --weights=. Set them"),
        ({"name_classes": ("a", "-x")}, "There is no setting|unrecognized|expected"),
    ],
)
def test_settings_that_no_command_line_can_hold(values, message):
    with pytest.raises(UserError, match=message):
        to_arguments(Config(**values))
