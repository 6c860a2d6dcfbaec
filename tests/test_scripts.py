"""The scripts as users start them: help, and what typical mistakes look like."""

import ast
import dataclasses
import inspect
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from pages import CONFIGS
from PIL import Image

import train
from utils.config import load_config

ROOT = Path(train.__file__).parent
HEAVY = ("keras", "tensorflow", "jax", "torch")
CHATTER = re.compile(r"import time:|WARNING: All log messages before absl|[IW]\d{4} ")


def run(name, *argv, folder, python=()):
    """Runs a script in a folder as `python name.py ...`, without a display or any input."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in ("DISPLAY", "WAYLAND_DISPLAY", "PYTHONPATH", "TF_CPP_MIN_LOG_LEVEL")
    }
    return subprocess.run(
        [sys.executable, *python, ROOT / f"{name}.py", *map(str, argv)],
        cwd=folder,
        env=environment | {"PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )


def contents(folder):
    """{path: bytes} of everything in a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def imported(importtime):
    """The modules that `python -X importtime` lists."""
    return set(re.findall(r"^import time:.*\| +(\S+)$", importtime, re.MULTILINE))


def assert_one_message(done, *parts):
    """Status 2; one error, which is all that stderr holds, and no traceback.

    What voc_annotation.py finds stands in its report, on stdout.
    """
    # TensorFlow greets on stderr, whatever its log level, and so does -X importtime.
    lines = [line for line in done.stderr.splitlines() if not CHATTER.match(line)]
    message = "\n".join(lines)
    assert done.returncode == 2, message
    assert "Traceback" not in done.stdout + message
    assert message.startswith("error: ")
    assert (done.stdout + message).count("error: ") == 1
    for part in parts:
        assert str(part) in done.stdout + message


# Help


@pytest.mark.parametrize("name", CONFIGS)
def test_help_lists_every_setting_and_loads_no_network(name, tmp_path):
    done = run(name, "--help", folder=tmp_path, python=["-X", "importtime"])
    assert done.returncode == 0
    for setting in dataclasses.fields(CONFIGS[name]):
        assert f"--{setting.name} " in done.stdout
    modules = imported(done.stderr)
    assert {"argparse", "utils.config"} <= modules
    assert modules.isdisjoint(HEAVY)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_help_says_what_each_setting_means(name, capsys):
    with pytest.raises(SystemExit):
        load_config(CONFIGS[name], ["--help"])
    listed = " ".join(capsys.readouterr().out.partition("\noptions:")[2].split())
    for setting in dataclasses.fields(CONFIGS[name]):
        found = re.search(rf"--{setting.name} \S+ (\S+)", listed)
        # Without a comment, what follows is the value "(now ...)" or the next setting.
        assert found and found[1][0] not in "(-", setting.name


@pytest.mark.parametrize("name", CONFIGS)
def test_each_setting_stands_on_one_line(name):
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(CONFIGS[name]))).body
    settings = [node for node in definition.body if isinstance(node, ast.AnnAssign)]
    assert len(settings) == len(dataclasses.fields(CONFIGS[name]))
    assert [node.target.id for node in settings if node.lineno != node.end_lineno] == []


# Settings


@pytest.mark.parametrize(
    ("name", "argv", "message"),
    [
        ("train", ["--num_clases", "3"], "no setting --num_clases. Did you mean --num_classes?"),
        ("train", ["--num_classes", "1"], "num_classes must be 2 to 255"),
        ("train", ["--input_shape", "500,0"], "input_shape must be at least 1 pixel high and wide"),
        ("predict", ["street.jpg"], "unrecognized arguments: street.jpg. See --help"),
        ("get_miou", ["--miou_mode", "3"], "miou_mode must be one of 0, 1, 2; got 3."),
        (
            "summary",
            ["--backbone", "resnet-101"],
            "got 'resnet-101'. Nearest: resnet101",
        ),
        ("voc_annotation", ["--train_percent", "90"], "train_percent is a share: above 0, at"),
    ],
)
def test_bad_settings(name, argv, message, tmp_path):
    done = run(name, *argv, folder=tmp_path)
    assert_one_message(done, message)
    assert contents(tmp_path) == {}


# Packages


def test_opencv_that_cannot_be_loaded_says_which_build_to_take(tmp_path):
    """A stand-in for OpenCV on a server without libGL, found before the real one."""
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object')")
    folder = str(Path(train.__file__).parent)
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {folder!r}]; import train"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "ImportError: OpenCV can't be loaded: libGL.so.1: cannot open" in done.stderr
    assert done.stderr.strip().endswith("pip install opencv-python-headless")


# Data. These problems are found before the seconds that a network's packages take to load.

OPTIONS = {
    "train": ["--num_classes", "3"],
    "get_miou": ["--num_classes", "3", "--miou_mode", "2"],
    "voc_annotation": [],
}


@pytest.mark.parametrize("name", ["voc_annotation", "train", "get_miou"])
def test_a_missing_dataset(name, tmp_path):
    done = run(name, *OPTIONS[name], folder=tmp_path)
    assert_one_message(done, Path("VOCdevkit", "VOC2007", "JPEGImages"))
    assert contents(tmp_path) == {}


def test_an_empty_dataset(tmp_path):
    for name in ("JPEGImages", "SegmentationClass"):
        (tmp_path / "VOCdevkit" / "VOC2007" / name).mkdir(parents=True)
    done = run("voc_annotation", folder=tmp_path)
    assert_one_message(done, "VOC2007 holds no image with a mask.")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("name", ["train", "get_miou"])
@pytest.mark.parametrize("problem", ["missing", "empty", "missing image", "missing mask"])
def test_faulty_lists(name, problem, voc_dir):
    folder = voc_dir / "VOC2007"
    path = folder / "ImageSets" / "Segmentation" / "val.txt"
    if problem == "missing":
        path.unlink()
        parts = [f"There is no list {path.relative_to(voc_dir.parent)}.", "voc_annotation.py"]
    elif problem == "empty":
        path.write_text("\n")
        parts = [f"{path.relative_to(voc_dir.parent)} is empty."]
    elif problem == "missing image":
        (folder / "JPEGImages" / "val_b.jpg").unlink()
        parts = [path.relative_to(voc_dir.parent), "names 'val_b', which has no image."]
    else:
        (folder / "SegmentationClass" / "val_b.png").unlink()
        parts = [path.relative_to(voc_dir.parent), "names 'val_b', which has no mask."]
    before = contents(voc_dir.parent)
    done = run(name, *OPTIONS[name], folder=voc_dir.parent)
    assert_one_message(done, *parts)
    assert contents(voc_dir.parent) == before


@pytest.mark.parametrize("name", ["voc_annotation", "train"])
def test_an_image_and_mask_of_different_sizes(name, voc_dir, write_mask):
    mask = write_mask(
        voc_dir / "VOC2007" / "SegmentationClass" / "val_b.png", np.zeros((91, 31), np.uint8)
    )
    image = voc_dir / "VOC2007" / "JPEGImages" / "val_b.jpg"
    before = contents(voc_dir.parent)
    done = run(name, *OPTIONS[name], folder=voc_dir.parent)
    assert_one_message(
        done,
        f"{image.relative_to(voc_dir.parent)} is 31x90, ",
        f"{mask.relative_to(voc_dir.parent)} is 31x91 (width x height)",
    )
    after = contents(voc_dir.parent)
    new = {path.name: after.pop(path) for path in set(after) - set(before)}
    assert set(new) == ({"check_report.json"} if name == "voc_annotation" else set())
    assert after == before


def test_a_mask_value_out_of_range(voc_dir):
    before = contents(voc_dir.parent)
    done = run("train", "--num_classes", "2", folder=voc_dir.parent, python=["-X", "importtime"])
    assert imported(done.stderr).isdisjoint(HEAVY)
    mask = Path("VOCdevkit", "VOC2007", "SegmentationClass", "train_a.png")
    assert_one_message(done, "ids that num_classes does not cover", "value 2: ", mask)
    assert contents(voc_dir.parent) == before


def test_a_coloured_mask(voc_dir):
    path = voc_dir / "VOC2007" / "SegmentationClass" / "train_a.png"
    with Image.open(path) as image:
        image.convert("RGB").save(path)
    done = run("train", "--num_classes", "3", folder=voc_dir.parent)
    assert_one_message(done, "masks that are colour images: 1", path.relative_to(voc_dir.parent))


def test_a_broken_image(voc_dir):
    path = voc_dir / "VOC2007" / "JPEGImages" / "train_c.jpg"
    path.write_bytes(b"no image")
    done = run("voc_annotation", folder=voc_dir.parent)
    assert_one_message(done, f"The image {path.relative_to(voc_dir.parent)} can't be read")


@pytest.mark.parametrize("name", ["predict", "get_miou", "summary"])
def test_weights_that_are_not_there(name, voc_dir):
    """Said before anything that takes seconds is loaded."""
    (voc_dir.parent / "logs").mkdir()
    (voc_dir.parent / "logs" / "last_epoch_weights.weights.h5").write_text("weights")
    path = Path("logs", "best_epoch_weights.weights.h5")
    options = ["--model_path", path] if name == "summary" else []
    before = contents(voc_dir.parent)
    done = run(name, *options, folder=voc_dir.parent, python=["-X", "importtime"])
    assert imported(done.stderr).isdisjoint(HEAVY)
    assert_one_message(
        done,
        f"No weights file {path}. Train first, or give the path of one. In logs there are: "
        "last_epoch_weights.weights.h5.",
    )
    assert contents(voc_dir.parent) == before


# Weights. These do load the network's packages.


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train", "predict", "get_miou", "summary"])
def test_a_weights_file_that_is_none(name, voc_dir):
    path = voc_dir.parent / "my photo.weights.h5"
    path.write_bytes(b"\xff\xd8 no weights")
    (voc_dir.parent / "logs").mkdir()
    (voc_dir.parent / "logs" / "last_epoch_weights.weights.h5").write_text("of an earlier run")
    before = contents(voc_dir.parent)
    options = OPTIONS["train"] if name == "train" else []
    done = run(name, "--model_path", path.name, *options, folder=voc_dir.parent)
    assert_one_message(done, f"{path.name} is not a weights file, or is broken")
    # What train.py found of the data is kept, whatever comes of the weights; a run is not.
    hidden = {one for one in contents(voc_dir.parent) if one.name in (".data_check.json", ".lock")}
    assert len(hidden) == (2 if name == "train" else 0)
    for one in hidden:
        one.unlink()
    assert contents(voc_dir.parent) == before
    assert not list((voc_dir.parent / "logs").glob("loss_*"))


@pytest.mark.parametrize("deep", [False, True])
def test_a_save_dir_that_cannot_be_made(voc_dir, deep):
    (voc_dir.parent / "notes").write_text("mine")
    save_dir = Path("notes", "logs") if deep else Path("notes")
    before = contents(voc_dir.parent)
    done = run("train", *OPTIONS["train"], "--save_dir", save_dir, folder=voc_dir.parent)
    assert_one_message(done, "notes")
    assert done.stderr.count("\n") == 1
    assert contents(voc_dir.parent) == before


# Another backend


@pytest.mark.system
def test_the_scripts_run_on_jax(voc_dir, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    folder = voc_dir.parent
    size = ["--num_classes", "3", "--input_shape", "32,32", "--width", "4", "--model_path", ""]
    done = run("train", *size, "--unfreeze_epoch", "1", "--eval_period", "1", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "val mIoU" in done.stdout
    done = run("get_miou", folder=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "miou_out" / "results.json").is_file()
    image = voc_dir / "VOC2007" / "JPEGImages" / "val_a.jpg"
    done = run("predict", "--image", image, folder=folder)
    assert done.returncode == 0, done.stderr
    with Image.open(folder / "img_out" / "val_a.png") as drawn:
        assert drawn.size == (64, 48)
