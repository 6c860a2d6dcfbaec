"""Names of the article and of other programs: what they are here."""

import dataclasses
import sys
import types

import pytest
from test_scripts import CONFIGS

from errors import UserError
from utils import old_names
from utils.config import load_config
from utils.old_names import article, explain, refuse_edits_of_unet
from utils.setting_lines import adopt_lines


@pytest.mark.parametrize("script", CONFIGS)
def test_the_articles_settings_have_the_types_of_ours(script):
    kinds = {field.name: field.type for field in dataclasses.fields(CONFIGS[script])}
    assert article(script).items() <= kinds.items()


@pytest.mark.parametrize("script", CONFIGS)
def test_every_setting_is_found_to_be_one(script):
    """A setting that nothing seems to read would be refused."""
    assert adopt_lines(CONFIGS[script]) == []
    CONFIGS[script](**({"num_classes": 3} if script == "train" else {}))


def test_every_new_name_is_a_setting():
    known = {field.name for cls in CONFIGS.values() for field in dataclasses.fields(cls)}
    assert set(old_names._RENAMED) <= known
    assert set(old_names._EXPLAINED) <= set(CONFIGS)


def test_what_is_no_script_has_no_settings_of_the_article():
    assert article("other") is None


@pytest.mark.parametrize(
    ("script", "argv", "hints"),
    [
        ("train", "--epochs 9 --lr 1", ["unfreeze_epoch here: last epoch.", "init_lr here: high"]),
        ("train", "--batch_size 4", ["It is unfreeze_batch_size here"]),
        ("train", "--gpu 0", ["How many GPUs train is devices (0: all); CUDA_VISIBLE_DEVICES=0"]),
        ("train", "--train_gpu 0", ["How many GPUs train is devices"]),
        ("train", "--Cuda true", ["How many GPUs train is devices"]),
        ("train", "--pretrained", ["model_path says what to start from: auto or imagenet"]),
        ("train", "--augment", ["always augmented: flip, scale, jitter, rotation, gamma"]),
        ("train", "--dataset_path x", ["It is VOCdevkit_path here: folder that holds VOC2007."]),
        ("train", "--log_dir x", ["It is save_dir here"]),
        ("train", "--tflite", ["That is for predict.py. Write --mode export --export_formats lit"]),
        ("train", "--mix_type 1", ["It is a setting of predict.py."]),
        ("train", "--miou_mode 1", ["It is a setting of get_miou.py."]),
        ("train", "num_classes=3", ["num_classes=3 lacks its dashes. Write --num_classes 3"]),
        ("train", "--input_shape 9 9 SEED=3", ["SEED=3 lacks its dashes. Write --seed 3"]),
        ("predict", "--tflite", ["Write --mode export --export_formats litert (which is TFLite)"]),
        ("predict", "--blend", ["mix_type 0 lays colours over the image, 1 shows them alone."]),
        ("predict", "--video 0", ["It is video_path here"]),
        ("predict", "--output x", ["It is dir_save_path here"]),
        ("predict", "--Freeze_Train", ["It is a setting of train.py."]),
        ("get_miou", "--gt_dir x", ["True masks are those of VOCdevkit_path"]),
        ("get_miou", "--output x", ["It is miou_out_path here"]),
        ("voc_annotation", "--val_percent 0.2", ["train_percent is the share that trains"]),
        ("json_to_dataset", "--jpgs_path x", ["Both folders are made in VOCdevkit_path/VOC2007"]),
    ],
)
def test_other_names_on_the_command_line(script, argv, hints):
    with pytest.raises(UserError) as caught:
        load_config(CONFIGS[script], argv.split())
    assert len(str(caught.value).splitlines()) == len(hints)
    for hint, line in zip(hints, str(caught.value).splitlines(), strict=True):
        assert hint in line


@pytest.mark.parametrize(
    ("script", "argv", "name", "value"),
    [
        ("train", "--Init_lr 1e-3", "init_lr", 1e-3),
        ("train", "--UnFreeze_Epoch=9", "unfreeze_epoch", 9),
        ("train", "--Freeze-Train", "freeze_train", True),
        ("train", "--no-Eval_Flag", "eval_flag", False),
        ("train", "--vocdevkit_path X=Y", "VOCdevkit_path", "X=Y"),
        ("predict", "--video_path 0", "video_path", "0"),
    ],
)
def test_the_case_of_a_name_does_not_matter(script, argv, name, value):
    assert getattr(load_config(CONFIGS[script], argv.split()), name) == value


def test_a_file_may_look_like_a_setting(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "count=3").write_text("an image")
    config = load_config(CONFIGS["predict"], ["--image", "a.jpg", "count=3"])
    assert config.image == ("a.jpg", "count=3")
    (tmp_path / "count=3").unlink()
    with pytest.raises(UserError, match="count=3 lacks its dashes"):
        load_config(CONFIGS["predict"], ["--image", "a.jpg", "count=3"])


def test_a_name_that_nobody_knows():
    assert explain("zzz", {"num_classes": ""}, "train") == ""
    assert explain("classes", {"num_classes": ""}, "x") == "It is num_classes here."
    assert explain("classes", {}, "x") == ""


# unet.py


def make_unet(monkeypatch, body="", arguments="", top=""):
    """A class as unet.py has it, in a module of its own."""
    module = types.ModuleType("edited_unet")
    monkeypatch.setitem(sys.modules, "edited_unet", module)
    source = (
        f"{top}\nclass Unet:\n    {body}\n"
        f"    def __init__(self, {arguments or DEFAULTS}): self.mix_type = mix_type\n"
    )
    exec(source, vars(module))
    return module.Unet


DEFAULTS = (
    "model_path='logs/best_epoch_weights.weights.h5', num_classes=None, backbone=None, "
    "input_shape=None, mix_type=0, precision='auto'"
)


def test_unet_as_it_is(monkeypatch):
    from unet import Unet

    refuse_edits_of_unet(Unet)
    refuse_edits_of_unet(make_unet(monkeypatch))
    refuse_edits_of_unet(make_unet(monkeypatch, "num_classes = property(lambda self: 3)"))


@pytest.mark.parametrize(
    ("edit", "names"),
    [
        ({"body": "_defaults = {'num_classes': 3}"}, "_defaults"),
        ({"body": "num_classes = 3"}, "num_classes"),
        ({"top": "mix_type = 1"}, "mix_type"),
        ({"arguments": DEFAULTS.replace("mix_type=0", "mix_type=1")}, "mix_type"),
        ({"arguments": DEFAULTS.replace("logs/", "model_data/")}, "model_path"),
        (
            {"arguments": DEFAULTS.replace("None", "3"), "body": "_defaults = {}"},
            "num_classes, backbone, input_shape, _defaults",
        ),
    ],
)
def test_edits_of_unet_are_refused(monkeypatch, edit, names):
    with pytest.raises(UserError) as caught:
        refuse_edits_of_unet(make_unet(monkeypatch, **edit))
    assert str(caught.value).startswith(f"unet.py was edited: {names}. Settings do nothing there.")
    assert "set model_path and mix_type at the top of predict.py" in str(caught.value)
