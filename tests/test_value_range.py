"""One brightness range from the check of a set to its training, its weights and its scores."""

import dataclasses
import json
import shutil

import h5py
import numpy as np
import pytest
import tifffile
from conftest import SIZES, tiny_training
from PIL import Image

import get_miou
import train
from errors import UserError
from unet import Unet
from utils.config import load_config
from utils.images.reading import read_image


@pytest.fixture(scope="module")
def deep_voc(tmp_path_factory, make_voc):
    """The usual set, its images in 12 bits of 16, with one odd value in one of them."""
    base = make_voc(tmp_path_factory.mktemp("deep") / "VOCdevkit")
    for name in SIZES:
        path = base / "VOC2007" / "JPEGImages" / f"{name}.jpg"
        values = np.array(Image.open(path)).astype(np.uint16) * 16
        if name == "train_a":
            values[0, 0] = 65535
        tifffile.imwrite(path.with_suffix(".tif"), values, photometric="rgb")
        path.unlink()
    return base


@pytest.fixture(scope="module")
def trained(deep_voc, tmp_path_factory):
    """The folder of a training on that set."""
    folder = tmp_path_factory.mktemp("trained")
    train.main(tiny_training(deep_voc, folder, unfreeze_epoch=1))
    return folder


def test_the_found_range_goes_with_the_weights(trained, deep_voc):
    (run,) = trained.glob("loss_*")
    assert json.loads((run / "settings.json").read_text())["value_range"] == [0, 4095]
    unet = Unet(trained / "last_epoch_weights.weights.h5", precision="float32")
    assert unet.description.value_range == (0, 4095)
    path = deep_voc / "VOC2007" / "JPEGImages" / "val_a.tif"
    values = tifffile.imread(path)
    expected = np.rint(values * (255 / 4095)).astype(np.uint8)
    (outcome,) = unet.predict_files([path])
    np.testing.assert_array_equal(outcome.value[0], expected)
    # An array of these numbers is the same image.
    assert np.array_equal(unet.get_miou_png(values), unet.predict_array(expected))
    with Image.open(path) as image, pytest.raises(UserError) as caught:
        unet.detect_image(image)
    assert str(caught.value) == (
        f"Of the image {path}, Pillow shows only 8 bits of 16, and the network expects brightness "
        "in (0.0, 4095.0). Give the path of its file to what reads files."
    )


def test_scores_say_what_images_are_read_in(trained, deep_voc, tmp_path, capsys):
    config = get_miou.MiouConfig(
        model_path=str(trained / "last_epoch_weights.weights.h5"),
        VOCdevkit_path=str(deep_voc),
        miou_out_path=str(tmp_path),
        precision="float32",
    )
    get_miou.main(config)
    assert "read as 0..4095 (black to white), as value_range says." in capsys.readouterr().out


def test_old_weights_files_keep_their_rule(trained, deep_voc, tmp_path):
    path = tmp_path / "old.weights.h5"
    path.write_bytes((trained / "last_epoch_weights.weights.h5").read_bytes())
    with h5py.File(path, "a") as file:
        described = json.loads(file.attrs["unet_keras"])
        del described["value_range"]
        file.attrs["unet_keras"] = json.dumps(described)
    unet = Unet(path, precision="float32")
    assert unet.description.value_range is None
    image = deep_voc / "VOC2007" / "JPEGImages" / "val_a.tif"
    (outcome,) = unet.predict_files([image])
    # The upper eight bits, as Pillow shows them.
    np.testing.assert_array_equal(outcome.value[0], tifffile.imread(image) >> 8)
    np.testing.assert_array_equal(read_image(image), tifffile.imread(image) >> 8)


def test_a_range_that_is_not_one_is_refused():
    for wrong in ["0,0", "5,1", "1,2,3", "7", "brightest"]:
        with pytest.raises(UserError, match="value_range must be the numbers that are black and"):
            load_config(train.TrainConfig, ["--value_range", wrong])
    parsed = {"0,4095": (0, 4095), "-1024,3071": (-1024, 3071), "percentiles": "percentiles"}
    for text, value in parsed.items():
        config = load_config(train.TrainConfig, [f"--value_range={text}"])
        assert config.value_range == value
    config = load_config(train.TrainConfig, ["--value_range", ""])
    assert (config.value_range, dataclasses.asdict(train.TrainConfig())["value_range"]) == ((), ())


def test_a_run_that_resumes_keeps_its_range(trained, deep_voc, tmp_path):
    """Even if the images have changed meanwhile: the network has learnt the old range."""
    voc, logs = tmp_path / "VOCdevkit", tmp_path / "logs"
    shutil.copytree(deep_voc, voc)
    shutil.copytree(trained, logs)
    for path in (voc / "VOC2007" / "JPEGImages").iterdir():
        tifffile.imwrite(path, tifffile.imread(path) // 16, photometric="rgb")
    train.main(tiny_training(voc, logs, unfreeze_epoch=2))
    (run,) = logs.glob("loss_*")
    assert len((run / "history.csv").read_text().splitlines()) == 3  # a head and two epochs
    assert json.loads((run / "settings.json").read_text())["value_range"] == [0, 4095]
