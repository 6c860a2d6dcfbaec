"""The loss of many batches as one."""

import keras
import numpy as np
import pytest

from nets import losses
from nets.epoch_loss import EpochLoss
from training.optimization import compile_trainer, make_epoch_loss, make_loss, make_optimizer
from training.settings import LossSettings, OptimizerSettings

CLASSES = 4
SETTINGS = [
    LossSettings(dice_loss=False),
    LossSettings(),
    LossSettings(focal_loss=True),
    LossSettings(dice_present_only=True, cls_weights=(1.0, 3.0, 0.5, 2.0)),
]


def make_data(rng):
    """Seven images, each with two classes and some void; one is void altogether."""
    ids = np.stack([rng.integers(image % 3, image % 3 + 2, (8, 8)) for image in range(7)])
    ids[rng.random(ids.shape) < 0.1] = 255
    ids[4] = 255
    logits = rng.normal(0, 2, (7, 8, 8, CLASSES)).astype(np.float32)
    return ids.astype(np.uint8), logits


def oracle(ids, logits, settings):
    """The formulas in float64, of all pixels at once."""
    keep = ids < CLASSES
    ids, logits = ids[keep].astype(int), logits[keep].astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    weights = np.array(settings.cls_weights or (1.0,) * CLASSES)
    log_pt = weights[ids] * np.log(p[np.arange(len(ids)), ids])
    loss = np.mean(-0.5 * (1 - np.exp(log_pt)) ** 2 * log_pt if settings.focal_loss else -log_pt)
    if not settings.dice_loss:
        return loss
    scores = [
        (2 * p[ids == c, c].sum() + 1e-5) / (p[:, c].sum() + (ids == c).sum() + 1e-5)
        for c in (np.unique(ids) if settings.dice_present_only else range(CLASSES))
    ]
    return loss + 1 - np.mean(scores)


@pytest.mark.parametrize("settings", SETTINGS)
def test_it_is_the_loss_of_all_pixels_however_the_batches_are_cut(rng, settings):
    ids, logits = make_data(rng)
    expected = oracle(ids, logits, settings)
    metric = make_epoch_loss(settings, CLASSES)
    for cuts in ((7,), (1,) * 7, (2, 2, 2, 1), (5, 2)):
        metric.reset_state()
        start = 0
        for size in cuts:
            metric.update_state(ids[start : start + size], logits[start : start + size])
            start += size
        assert float(metric.result()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("settings", SETTINGS)
def test_of_one_batch_it_is_the_loss_that_is_trained(rng, settings):
    ids, logits = make_data(rng)
    metric = make_epoch_loss(settings, CLASSES)
    metric.update_state(ids, logits)
    assert float(metric.result()) == pytest.approx(float(make_loss(settings)(ids, logits)), 1e-6)


def test_void_alone_has_loss_0_and_weighs_nothing(rng):
    ids, logits = make_data(rng)
    metric = EpochLoss(losses.CE(from_logits=True), CLASSES, dice=True)
    metric.update_state(ids[4:5], logits[4:5])
    assert float(metric.result()) == 0
    metric.update_state(ids[:4], logits[:4])
    expected = oracle(ids[:4], logits[:4], LossSettings())
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)


def test_what_keras_reports_as_loss_is_that_of_the_epoch(rng):
    ids, logits = make_data(rng)
    inputs = keras.Input((8, 8, CLASSES))
    head = keras.layers.Conv2D(CLASSES, 1, use_bias=False, name="head_conv")
    model = keras.Model(inputs, keras.layers.Softmax()(head(inputs)))
    head.set_weights([np.eye(CLASSES, dtype=np.float32)[None, None]])  # the logits come out
    settings = LossSettings()
    trainer = compile_trainer(
        model,
        make_optimizer(OptimizerSettings("sgd", 1e-30, 0.0)),
        make_loss(settings),
        metrics=[make_epoch_loss(settings, CLASSES)],
    )
    history = trainer.fit(
        logits, ids, batch_size=2, validation_data=(logits, ids), shuffle=False, verbose=0
    ).history
    expected = oracle(ids, logits, settings)
    assert history["loss"] == pytest.approx([expected], rel=1e-5)
    assert history["val_loss"] == pytest.approx([expected], rel=1e-5)


def test_weights_of_a_batch_reach_the_pixel_loss():
    def pixel_loss(y_true, y_pred, weights):
        return keras.ops.mean(weights)

    metric = EpochLoss(pixel_loss, 2, dice=False)
    for pixels, weight in ((3, 2.0), (1, 6.0)):
        masks = np.zeros((1, 1, pixels), np.uint8)
        metric.update_state(masks, np.zeros((1, 1, pixels, 2), np.float32), np.full(1, weight))
    assert float(metric.result()) == (3 * 2 + 1 * 6) / 4
