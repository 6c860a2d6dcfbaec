"""What a training starts from: the loss before the first step, and ImageNet weights or none."""

import re
from pathlib import Path

import numpy as np
import pytest
from other_networks import keras_2_unet
from stand_ins import KERAS_FILES

import train
from nets.unet import build
from nets.weights.description import Description
from nets.weights.imagenet_files import find_local
from nets.weights.storage import save_weights
from utils.runs.guards import StartLoss
from utils.runs.state import read_state


@pytest.fixture
def config(train_config):
    return train_config


def start_losses(out):
    """(loss before the first step, loss of uniform predictions), as printed once."""
    ((loss, uniform),) = re.findall(
        r"Loss before the first step: ([\d.]+) \(uniform predictions: ([\d.]+)\)", out
    )
    return float(loss), float(uniform)


def check_start(config, capsys, **changes):
    train.main(config(unfreeze_epoch=1, eval_flag=False, save_period=0, **changes))
    out = capsys.readouterr().out
    loss, uniform = start_losses(out)
    assert loss == pytest.approx(uniform, rel=0.2)
    assert "Warning: that is far worse" not in out
    return out


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"backbone": "resnet50"},
        {"decoder_norm": "batch"},
        {"decoder_norm": "group"},
        {"dice_loss": False, "focal_loss": True},
    ],
)
def test_from_scratch_the_loss_is_that_of_knowing_nothing(config, capsys, changes):
    check_start(config, capsys, **changes)


@pytest.mark.usefixtures("quick")
def test_of_a_file_with_another_class_count_too(config, capsys, start_weights):
    """In the frozen phase, whose features are those of the file."""
    out = check_start(config, capsys, num_classes=4, model_path=start_weights())
    assert "encoder frozen" in out


@pytest.mark.usefixtures("quick")
def test_of_an_encoder_of_resnet50_too(config, capsys, tmp_path):
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    theirs = keras_2_unet(tf_keras, 2, "resnet50", width=8)
    for layer in theirs.layers:  # statistics as of trained weights: those of what comes in
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            layer.momentum = 0.0
    theirs(np.random.default_rng(0).uniform(-120, 130, (4, 64, 64, 3)), training=True)
    path = tmp_path / KERAS_FILES["resnet50"]
    tf_keras.Model(theirs.inputs, theirs.get_layer("bn5c_branch2c").output).save_weights(path)
    check_start(config, capsys, backbone="resnet50", model_path=str(path))


@pytest.mark.slow
@pytest.mark.real_data
def test_of_the_real_imagenet_weights_too(config, capsys):
    readable, _ = find_local("vgg")
    if not readable:
        pytest.skip("no ImageNet weights here")
    out = check_start(config, capsys, width=64, model_path=str(readable[0]))
    assert "loaded" in out


def test_the_loss_of_uniform_predictions_by_hand(config, capsys):
    """Cross-entropy is log 3 whatever is true, here weighed by 2."""
    out = check_start(config, capsys, dice_loss=False, cls_weights=(2.0, 2.0, 2.0))
    assert start_losses(out)[1] == pytest.approx(2.197, abs=1e-3)


def test_a_start_that_is_far_worse_is_warned_of(capsys):
    hook = StartLoss(3.0)
    hook.on_train_batch_end(0, {"loss": 4.6})
    hook.on_train_batch_end(1, {"loss": 99.0})
    out = capsys.readouterr().out
    assert "Loss before the first step: 4.600 (uniform predictions: 3.000)" in out
    assert out.count("Warning: that is far worse than knowing nothing") == 1
    StartLoss(3.0).on_train_batch_end(0, {"loss": 4.4})
    assert "Warning" not in capsys.readouterr().out


@pytest.mark.usefixtures("quick")
def test_without_imagenet_weights_it_trains_and_stays_so_when_they_come(
    config, no_weights, capsys, monkeypatch
):
    settings = {"model_path": "auto", "width": 64, "eval_flag": False, "freeze_epoch": 9}
    train.main(config(**settings, unfreeze_epoch=1))
    out = capsys.readouterr().out
    assert "WARNING: THE NETWORK STARTS FROM SCRATCH" in out
    assert KERAS_FILES["vgg"] in out and "freeze_train is skipped" in out
    (folder,) = Path(config().save_dir).glob("loss_*")
    assert read_state(folder).facts["start"] == ""
    (no_weights / "model_data").mkdir()
    (no_weights / "model_data" / KERAS_FILES["vgg"]).touch()
    train.main(config(**settings, unfreeze_epoch=2))
    out = capsys.readouterr().out
    assert f"Resuming {folder} after epoch 1" in out
    assert "all layers" in out and "Loss before the first step" not in out


@pytest.mark.usefixtures("quick")
def test_asked_for_by_name_they_must_be_there(config, no_weights):
    with pytest.raises(train.UserError, match="no ImageNet weights for vgg"):
        train.main(config(model_path="imagenet", width=64))
    assert not list(Path(config().save_dir).glob("loss_*"))


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_a_file_says_how_its_decoder_normalizes(norm, config, tmp_path, capsys):
    from unet import Unet

    names = ("a", "b", "c")
    description = Description(3, "vgg", (32, 32), names, 8, decoder_norm=norm)
    path = tmp_path / "a.weights.h5"
    save_weights(build(description), path, description)
    network = Unet(path)
    assert network.description.decoder_norm == norm
    kinds = {type(layer).__name__ for layer in network.model.layers}
    assert {"batch": "BatchNormalization", "group": "GroupNormalization"}[norm] in kinds
    with pytest.raises(train.UserError, match=f"holds decoder_norm '{norm}'"):
        train.main(config(model_path=str(path)))
