"""Fixtures that any test module may use."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import hypothesis
import numpy as np
import pytest
from PIL import Image

from train import TrainConfig
from utils.voc import mask_to_image

hypothesis.settings.register_profile(
    "project",
    deadline=None,  # the first call of a function may import or compile something
    max_examples=50,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("project")

# (height, width); the first four are the training set. None is square, no two are alike.
SIZES = {
    "train_a": (40, 60),
    "train_b": (60, 40),
    "train_c": (33, 80),
    "train_d": (70, 51),
    "val_a": (48, 64),
    "val_b": (90, 31),
}
COLORS = np.array([(40, 60, 200), (210, 50, 40), (50, 190, 60)], np.uint8)


@pytest.fixture
def rng():
    """A generator that starts anew in each test."""
    return np.random.default_rng(0)


@pytest.fixture
def write_mask():
    """write_mask(path, ids): writes uint8 (H, W) as a palette PNG; returns the path."""

    def write(path, ids):
        path.parent.mkdir(parents=True, exist_ok=True)
        mask_to_image(ids).save(path, "PNG")
        return path

    return write


@pytest.fixture
def write_picture():
    """write_picture(path, array): writes uint8 (H, W, 3) in the extension's format."""

    def write(path, array):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)
        return path

    return write


@pytest.fixture
def write_list():
    """write_list(VOCdevkit_path, split, names): writes a list of ImageSets/Segmentation."""

    def write(VOCdevkit_path, split, names):
        path = VOCdevkit_path / "VOC2007" / "ImageSets" / "Segmentation" / f"{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        return path

    return write


@pytest.fixture
def voc_dir(tmp_path, rng, write_mask, write_picture, write_list):
    """A VOCdevkit_path with six samples of three classes: four for training, two for val.

    A class has a colour, with noise, so that a network can learn it; each mask has a void
    border two pixels wide.
    """
    base = tmp_path / "VOCdevkit"
    for name, (height, width) in SIZES.items():
        mask = np.zeros((height, width), np.uint8)
        mask[height // 5 : height // 2, width // 5 : -width // 4] = 1
        mask[height // 2 : -height // 5, width // 4 : -width // 5] = 2
        noise = rng.integers(-20, 21, (height, width, 3))
        picture = np.clip(COLORS[mask] + noise, 0, 255).astype(np.uint8)
        mask[:2] = mask[-2:] = mask[:, :2] = mask[:, -2:] = 255
        write_picture(base / "VOC2007" / "JPEGImages" / f"{name}.jpg", picture)
        write_mask(base / "VOC2007" / "SegmentationClass" / f"{name}.png", mask)
    for split in ("train", "val"):
        write_list(base, split, [name for name in SIZES if name.startswith(split)])
    return base


@pytest.fixture
def train_config(voc_dir, tmp_path):
    """train_config(**changes): settings of a tiny training from scratch on `voc_dir`."""

    def make(**changes):
        values = {
            "VOCdevkit_path": str(voc_dir),
            "num_classes": 3,
            "model_path": "",
            "input_shape": (32, 32),
            "width": 8,
            "precision": "float32",
            "unfreeze_epoch": 2,
            "freeze_epoch": 1,
            "save_dir": str(tmp_path / "logs"),
            "save_period": 2,
            "eval_period": 1,
            "init_lr": 1e-3,
        }
        return TrainConfig(**(values | changes))

    return make
