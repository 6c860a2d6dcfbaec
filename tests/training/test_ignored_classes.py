"""Labels that are ignored and stand for a class: never trained, predicted or averaged."""

import csv
from pathlib import Path

import numpy as np
import pytest

import get_miou
import train
from errors import UserError
from nets.unet import build
from nets.weights.description import Description
from training.optimization import compile_trainer, make_epoch_loss, make_loss, make_optimizer
from training.settings import LossSettings, OptimizerSettings
from unet import Unet


def test_the_loss_is_one_of_the_other_classes(rng):
    description = Description(3, "vgg", (32, 32), ("a", "b", "c"), 4, ignore_labels=(0, 255))
    model = build(description, encoder_initializer="he_normal")
    settings = LossSettings(dice_loss=False)
    trainer = compile_trainer(
        model,
        make_optimizer(OptimizerSettings()),
        make_loss(settings),
        metrics=[make_epoch_loss(settings, 3)],
    )
    images = rng.uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    masks = rng.choice([1, 2, 255], (2, 32, 32)).astype(np.uint8)
    probabilities = model.predict(images, verbose=0).astype(np.float64)
    np.testing.assert_array_equal(probabilities[..., 0], 0)
    valid = masks != 255
    right = np.take_along_axis(probabilities[valid], masks[valid][:, None].astype(int), 1)
    found = trainer.evaluate(images, masks, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(-np.log(right).mean(), rel=1e-5)


@pytest.mark.usefixtures("quick")
def test_an_ignored_class_is_neither_predicted_nor_averaged(train_config, tmp_path, capsys):
    settings = train_config(ignore_labels=(0, 255), unfreeze_epoch=2)
    train.main(settings)
    (history,) = Path(settings.save_dir).glob("loss_*/history.csv")
    with open(history, encoding="utf-8") as file:
        last = list(csv.DictReader(file))[-1]
    assert np.isfinite(float(last["loss"]))
    weights = Path(settings.save_dir) / "last_epoch_weights.weights.h5"
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    assert not np.isin(0, Unet(weights).predict_array(image))
    capsys.readouterr()
    scores = get_miou.main(
        get_miou.MiouConfig(
            model_path=str(weights),
            VOCdevkit_path=settings.VOCdevkit_path,
            miou_out_path=str(tmp_path / "out"),
        )
    )
    assert scores.counts.matrix[:, 0].sum() == scores.counts.matrix[0].sum() == 0
    assert scores.miou == pytest.approx(float(last["val_miou"]))
    assert scores.miou == pytest.approx(np.nanmean(scores.iou[1:]))
    assert "ignored (ignore_labels), left out of all scores: background" in capsys.readouterr().out


def test_two_classes_must_be_left(train_config):
    with pytest.raises(
        UserError, match=r"ignore_labels holds 0, 2 of the 3 classes, which leaves fewer than two"
    ):
        train_config(ignore_labels=(0, 2, 255))
