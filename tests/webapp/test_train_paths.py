"""What the settings of a training may name, of the files of this machine."""

import re

import pytest

from errors import UserError
from train import TrainConfig
from webapp.served import Served
from webapp.train_paths import check_paths


@pytest.fixture
def served(voc_dir, tmp_path):
    """A folder with a data set and one for runs; beside them one that nobody shows."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "names.txt").write_text("secret\n", encoding="utf-8")
    return Served((voc_dir, tmp_path / "logs"), 10**6)


def config_of(tmp_path, **changes):
    usual = {"VOCdevkit_path": str(tmp_path / "VOCdevkit"), "save_dir": str(tmp_path / "logs")}
    return TrainConfig(num_classes=3, **(usual | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model_path": ""},
        {"model_path": "imagenet"},
        {"model_path": "{}/logs/best_epoch_weights.weights.h5"},
        {"save_dir": "{}/logs/second"},
        {"imagenet_url": "https://example.org/weights"},
        {"imagenet_url": "{}/logs/vgg.h5"},
        {"train_list": "{}/VOCdevkit/VOC2007/ImageSets/Segmentation/val.txt"},
    ],
)
def test_what_lies_in_the_served_folders_is_fine(served, tmp_path, changes):
    changes = {name: value.format(tmp_path) for name, value in changes.items()}
    check_paths(config_of(tmp_path, **changes), served)


@pytest.mark.parametrize(
    "changes",
    [
        {"VOCdevkit_path": "{}/private"},
        {"VOCdevkit_path": "{}/VOCdevkit/../private"},
        {"save_dir": "{}/private"},
        {"save_dir": "{}/logs/../private"},
        {"model_path": "{}/private/names.txt"},
        {"model_path": "/etc/passwd"},
        {"imagenet_url": "{}/private/vgg.h5"},
        {"imagenet_url": "file:///etc/passwd"},
        {"train_list": "{}/private/names.txt"},
        {"val_list": "../../../../private/names"},
    ],
)
def test_what_lies_elsewhere_is_refused(served, tmp_path, changes):
    changes = {name: value.format(tmp_path) for name, value in changes.items()}
    with pytest.raises(UserError, match="lies outside the folders that this page shows"):
        check_paths(config_of(tmp_path, **changes), served)


def test_a_link_does_not_lead_out(served, tmp_path):
    (tmp_path / "logs" / "link").symlink_to(tmp_path / "private")
    with pytest.raises(UserError, match="outside"):
        check_paths(config_of(tmp_path, save_dir=str(tmp_path / "logs" / "link")), served)


def test_a_folder_without_a_data_set_is_said_to_be_none(served, tmp_path):
    folder = str(tmp_path / "logs")
    with pytest.raises(UserError, match=re.escape(f"No dataset in VOCdevkit_path {folder!r}")):
        check_paths(config_of(tmp_path, VOCdevkit_path=folder), served)
