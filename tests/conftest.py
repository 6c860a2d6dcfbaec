"""Fixtures that any test module may use."""

import contextlib
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import hypothesis
import numpy as np
import pytest
from PIL import Image

from train import TrainConfig
from utils.data.masks import mask_to_image
from utils.messages import print_messages

hypothesis.settings.register_profile(
    "project",
    deadline=None,  # the first call of a function may import or compile something
    max_examples=50,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("project")

print_messages()  # whoever calls a room below the scripts stands for one

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


@pytest.fixture(scope="session")
def write_mask():
    """write_mask(path, ids): writes uint8 (H, W) as a palette PNG; returns the path."""

    def write(path, ids):
        path.parent.mkdir(parents=True, exist_ok=True)
        mask_to_image(ids).save(path, "PNG")
        return path

    return write


@pytest.fixture(scope="session")
def write_image():
    """write_image(path, array): writes uint8 (H, W, 3) in the extension's format."""

    def write(path, array):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)
        return path

    return write


@pytest.fixture(scope="session")
def write_list():
    """write_list(VOCdevkit_path, split, names): writes a list of ImageSets/Segmentation."""

    def write(VOCdevkit_path, split, names):
        path = VOCdevkit_path / "VOC2007" / "ImageSets" / "Segmentation" / f"{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def make_voc(write_mask, write_image, write_list):
    """make_voc(base): a VOCdevkit_path with six samples of three classes: four for training,
    two for val.

    A class has a colour, with noise, so that a network can learn it; each mask has a void
    border two pixels wide.
    """

    def make(base):
        rng = np.random.default_rng(0)
        for name, (height, width) in SIZES.items():
            mask = np.zeros((height, width), np.uint8)
            mask[height // 5 : height // 2, width // 5 : -width // 4] = 1
            mask[height // 2 : -height // 5, width // 4 : -width // 5] = 2
            noise = rng.integers(-20, 21, (height, width, 3))
            image = np.clip(COLORS[mask] + noise, 0, 255).astype(np.uint8)
            mask[:2] = mask[-2:] = mask[:, :2] = mask[:, -2:] = 255
            write_image(base / "VOC2007" / "JPEGImages" / f"{name}.jpg", image)
            write_mask(base / "VOC2007" / "SegmentationClass" / f"{name}.png", mask)
        for split in ("train", "val"):
            write_list(base, split, [name for name in SIZES if name.startswith(split)])
        return base

    return make


@pytest.fixture
def voc_dir(tmp_path, make_voc):
    """What `make_voc` makes."""
    return make_voc(tmp_path / "VOCdevkit")


def tiny_training(VOCdevkit_path, save_dir, **changes):
    """Settings of a tiny training from scratch on what `make_voc` makes."""
    values = {
        "VOCdevkit_path": str(VOCdevkit_path),
        "num_classes": 3,
        "model_path": "",
        "input_shape": (32, 32),
        "width": 8,
        "precision": "float32",
        "unfreeze_epoch": 2,
        "freeze_train": True,
        "freeze_epoch": 1,
        "save_dir": str(save_dir),
        "save_period": 2,
        "eval_period": 1,
        "init_lr": 1e-3,
    }
    return TrainConfig(**(values | changes))


@pytest.fixture
def train_config(voc_dir, tmp_path):
    """train_config(**changes): settings of a tiny training from scratch on `voc_dir`."""
    return lambda **changes: tiny_training(voc_dir, **({"save_dir": tmp_path / "logs"} | changes))


@pytest.fixture
def start_weights(tmp_path):
    """start_weights(**changes): the path of untrained weights for `train_config`."""
    from nets.unet import build
    from nets.weights.description import Description
    from nets.weights.storage import save_weights

    def make(num_classes=3, width=8, name_classes=("a", "b", "c")):
        description = Description(num_classes, "vgg", (32, 32), name_classes, width)
        path = tmp_path / "start.weights.h5"
        save_weights(build(description, encoder_initializer="he_normal"), path, description)
        return str(path)

    return make


@pytest.fixture
def no_weights(tmp_path, monkeypatch):
    """A folder and caches without ImageNet weights, and no connection."""

    import keras

    def get_file(*_, **__):
        raise Exception("URL fetch failure")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(keras.utils, "get_file", get_file)
    return tmp_path


@contextlib.contextmanager
def quick_training():
    """For tests of neither graphs nor curves: a tiny step takes less time than its trace."""
    with pytest.MonkeyPatch.context() as patch:
        always = property(lambda self: True, lambda self, value: None)
        patch.setattr("keras.Model.run_eagerly", always)
        patch.setattr("utils.runs.callbacks.plot_curves", lambda *_: None)
        yield


@pytest.fixture
def quick():
    with quick_training():
        yield
