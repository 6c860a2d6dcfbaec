"""What users write into a block of settings: old names, no types, pasted lines."""

import dataclasses
import importlib.util
import sys

import pytest

from errors import UserError
from utils.config import load_config

SCRIPT = '''"""A script."""
import numpy as np
from utils.config import settings

class Part:
    flip: float
    scale: tuple[float, float]

@settings
class Config:
    # Data
    num_classes: int = 21  # classes + 1
    width: int = 64  # filters
    flip: float = 0.5  # a share
    {line}

    def check(self):
        return self.width, self.num_classes, self.sizes, self.plan, "depth"
'''


@pytest.fixture
def load(tmp_path, monkeypatch):
    """load(line, name, source): the class of a script with a line in it."""

    def make(line, name="train", source=SCRIPT):
        path = tmp_path / f"{name}.py"
        lines = line.splitlines() or [""]
        defaults = "\n    ".join(lines)
        path.write_text(source.replace("{line}", defaults), encoding="utf-8")
        # Under a name of its own, or the real script would be gone for the other tests.
        spec = importlib.util.spec_from_file_location("pasted", path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "pasted", module)
        spec.loader.exec_module(module)
        return module.Config

    return make


BASE = "sizes: tuple[int, ...] = ()\nplan: str = 'off'\ndepth: int = 1\n"


def values(cls, argv=()):
    return dataclasses.asdict(load_config(cls, list(argv)))


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        # Of the article, in its case, without types.
        ("Init_Epoch = 3", "init_epoch", 3),
        ("Init_Epoch: int = 3", "init_epoch", 3),
        ("Freeze_Train = True", "freeze_train", True),
        ("UnFreeze_Epoch = 7", "unfreeze_epoch", 7),
        ("Init_lr = 1e-3\nMin_lr = Init_lr * 0.01", "min_lr", 1e-5),
        ("Init_lr = 1", "init_lr", 1.0),
        ("weight_decay = 0", "weight_decay", 0.0),
        ("input_shape = [512, 256]", "input_shape", (512, 256)),
        ("input_shape: tuple = (512, 256)", "input_shape", (512, 256)),
        ("input_shape: list = [512, 256]", "input_shape", (512, 256)),
        ("cls_weights = np.ones([num_classes], np.float32)", "cls_weights", (1.0,) * 21),
        ("cls_weights: np.ndarray = np.ones(2)", "cls_weights", (1.0, 1.0)),
        ("cls_weights: tuple = (1, 2)", "cls_weights", (1.0, 2.0)),
        ("momentum = np.float32(0.5)", "momentum", 0.5),
        # Beside the line that is there: the later one counts.
        ("num_classes = 3", "num_classes", 3),
        ("Num_Classes = 3", "num_classes", 3),
        # Of this project, with the type lost.
        ("plan = 'auto'", "plan", "auto"),
        ("plan: tuple = 'auto'", "plan", "auto"),
        ("scale = [0.5, 2]", "scale", (0.5, 2.0)),
        ("depth = 4", "depth", 4),
        ("sizes = [1, 2]", "sizes", (1, 2)),
    ],
)
def test_known_lines_are_settings(load, line, name, value):
    taken = {one.partition(":")[0].partition(" ")[0].lower() for one in line.splitlines()}
    others = [one for one in BASE.splitlines() if one.partition(":")[0] not in taken]
    cls = load("\n".join([*others, line]))
    found = values(cls)
    assert found[name] == value
    assert type(found[name]) is type(value)
    assert {one.lower() for one in found} == set(found)


def test_a_known_line_is_an_option_with_its_type_and_meaning(load, capsys):
    cls = load(BASE + "Init_Epoch = 3  # the first")
    assert values(cls, ["--init_epoch", "5"])["init_epoch"] == 5
    with pytest.raises(UserError, match=r"init_epoch must be int; got '5\.5'"):
        load_config(cls, ["--init_epoch", "5.5"])
    with pytest.raises(SystemExit):
        load_config(cls, ["--help"])
    assert "--init_epoch int the first (now 3)" in " ".join(capsys.readouterr().out.split())


def test_a_camera_may_be_a_number(load):
    assert values(load(BASE + "video_path = 0", "predict"))["video_path"] == "0"
    with pytest.raises(UserError, match="dir_save_path must be str; got True"):
        load(BASE + "dir_save_path = True", "predict")()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("foo = 3", "There is no setting foo. Nothing reads it: take the line out."),
        ("foo: int = 3", "There is no setting foo. Nothing reads it: take the line out."),
        ("num_clases = 3", "There is no setting num_clases. Did you mean num_classes?"),
        ("mix_type = 1", "There is no setting mix_type. It is a setting of predict.py."),
        ("classes = 3", "There is no setting classes. It is num_classes here: classes + 1."),
        ("train_gpu = [0,]", "There is no setting train_gpu. How many GPUs train is devices"),
        ("depth = None", "depth needs a type: int, float, str, bool or such as tuple[int, ...]."),
        ("depth = {}", "depth needs a type: int, float, str, bool or such as tuple[int, ...]."),
        ("foo = 3\nlr: dict = {}", "There is no setting lr."),
    ],
)
def test_other_lines_are_refused(load, line, message):
    base = BASE.replace("depth: int = 1\n", "")
    cls = load(base + line)
    with pytest.raises(UserError) as caught:
        cls()
    assert message in str(caught.value)
    assert str(caught.value).count("\n") == line.count("\n")  # one for each


def test_lines_that_a_later_one_undoes_are_refused(load):
    pasted = "class Config:\n    num_classes = 3\n    Width = 32"
    cls = load(BASE, source=SCRIPT.replace("class Config:", pasted))
    with pytest.raises(UserError) as caught:
        load_config(cls, [])
    assert str(caught.value) == (
        "Settings stand twice in train.py: num_classes in lines 11 and 14, width in lines 12 and "
        "15. The later line would count. Keep one of them."
    )


def test_of_many_lost_lines_a_few_are_named(load):
    names = [f"size_{index}" for index in range(8)]
    lines = [f"{name}{kind} = 1" for kind in ("", ": int") for name in names]
    source = SCRIPT.replace("self.width", "self.width, " + ", ".join(f"self.{x}" for x in names))
    with pytest.raises(UserError, match=r"size_4 in lines 22 and 30, and 3 more\. The later"):
        load_config(load(BASE + "\n".join(lines), source=source), [])


def test_classes_that_are_no_script_need_not_be_read(load):
    cls = load(BASE + "foo: int = 3", "stranger")
    assert values(cls)["foo"] == 3
    with pytest.raises(UserError, match=r"There is no setting bar\. Nothing reads it"):
        load(BASE + "bar = 3", "stranger")()
    with pytest.raises(UserError, match="depth needs a type"):
        load(BASE.replace("depth: int = 1", "depth: dict = {}"), "stranger")()
