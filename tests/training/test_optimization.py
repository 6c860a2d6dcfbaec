"""Optimizer, loss and the compiled trainer, as the settings name them."""

import keras
import numpy as np
import pytest

import train
from nets.precision import dtype_policy
from nets.unet import Unet
from training.optimization import compile_trainer, make_loss, make_optimizer, uniform_loss
from training.settings import LossSettings, OptimizerSettings
from utils.data.borders import BorderWeights


@pytest.fixture
def config(train_config):
    return train_config


def test_the_rate_that_is_set_is_the_rate_that_is_used():
    optimizer = make_optimizer(OptimizerSettings("adam", 0.05, 0.8, 1e-3))
    assert float(optimizer.learning_rate) == pytest.approx(0.05)
    assert (optimizer.beta_1, optimizer.weight_decay) == (0.8, 1e-3)
    sgd = make_optimizer(OptimizerSettings("sgd", 0.3, 0.7, 0.0))
    assert float(sgd.learning_rate) == pytest.approx(0.3)
    assert (sgd.momentum, sgd.nesterov, sgd.weight_decay) == (0.7, True, None)


def test_weight_decay_spares_normalization():
    layer = keras.layers.BatchNormalization()
    layer.build((None, 3))
    optimizer = make_optimizer(OptimizerSettings("sgd", 0.1, 0.0, 0.5))
    weights = layer.trainable_weights
    optimizer.apply([keras.ops.zeros_like(weight) for weight in weights], weights)
    assert [weight.numpy().tolist() for weight in weights] == [[1] * 3, [0] * 3]


def test_weight_decay_spares_biases():
    layer = keras.layers.Dense(2, bias_initializer="ones")
    layer.build((None, 3))
    before = layer.kernel.numpy()
    optimizer = make_optimizer(OptimizerSettings("sgd", 0.1, 0.0, 0.5))
    optimizer.apply([keras.ops.zeros_like(weight) for weight in layer.weights], list(layer.weights))
    # Without a gradient, one step multiplies by 1 - 0.1 * 0.5.
    np.testing.assert_allclose(layer.kernel.numpy(), before * 0.95, rtol=1e-6)
    np.testing.assert_array_equal(layer.bias.numpy(), 1)


@pytest.mark.parametrize(
    ("dice", "focal", "expected"),
    [
        # One pixel, two classes, p = 0.5 each, true class 0: CE = log 2 = 0.6931;
        # focal = 0.5 * 0.5^2 * log 2 = 0.0866; Dice: class 0 F = 2*0.5 / (2*0.5 + 0.5),
        # class 1 F = 0, so the Dice loss is 1 - 0.5 * 0.6667 = 0.6667.
        (False, False, 0.6931),
        (False, True, 0.0866),
        (True, False, 0.6931 + 0.6667),
        (True, True, 0.0866 + 0.6667),
    ],
)
def test_the_loss_that_the_settings_name(dice, focal, expected):
    loss = make_loss(LossSettings(dice, focal))
    value = loss(np.zeros((1, 1, 1), np.uint8), np.full((1, 1, 1, 2), 0.5, np.float32))
    assert float(value) == pytest.approx(expected, abs=1e-4)


def test_class_weights_reach_the_loss():
    loss = make_loss(LossSettings(False, False, (3.0, 1.0, 1.0)))
    value = loss(np.zeros((1, 1, 1), np.uint8), np.full((1, 1, 1, 3), 1 / 3, np.float32))
    assert float(value) == pytest.approx(3 * np.log(3), rel=1e-5)


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("policy", "focal"),
    [("float32", False), ("float32", True), ("mixed_bfloat16", False), ("mixed_float16", False)],
)
def test_border_weights_reach_the_loss_of_a_step_but_not_of_a_test(rng, policy, focal):
    with dtype_policy(policy):
        model = Unet((32, 32, 3), 3, width=4)
    settings = LossSettings(dice_loss=False, focal_loss=focal, cls_weights=(1.0, 2.0, 1.0))
    trainer = compile_trainer(model, make_optimizer(OptimizerSettings()), make_loss(settings))
    images = rng.normal(size=(2, 32, 32, 3)).astype(np.float32)
    masks = rng.choice([0, 1, 2, 255], (2, 32, 32)).astype(np.uint8)
    border = rng.uniform(0, 10, masks.shape).astype(np.float32)
    logits = np.asarray(trainer.predict_on_batch(images), np.float64)
    valid = masks != 255
    ids, p = masks[valid], softmax(logits)[valid]
    log_p = np.log(p[np.arange(len(ids)), ids])
    weights = np.array([1.0, 2.0, 1.0])[ids]
    modulation = 0.5 * (1 - np.exp(weights * log_p)) ** 2 if focal else 1
    plain = np.mean(modulation * weights * -log_p)
    weighed = np.mean(modulation * (weights + border[valid]) * -log_p)
    tolerance = 1e-5 if policy == "float32" else 1e-2
    found = trainer.test_on_batch(images, masks, return_dict=True)
    assert found["loss"] == pytest.approx(plain, rel=tolerance)
    trainer.reset_metrics()
    stepped = trainer.train_on_batch(images, masks, sample_weight=border, return_dict=True)
    assert stepped["loss"] == pytest.approx(weighed, rel=tolerance)
    assert stepped["batch_miou"] == pytest.approx(found["batch_miou"], abs=1e-6)


def test_uniform_predictions_are_measured_with_the_border_weights(rng):
    masks = rng.choice([0, 1, 255], (2, 4, 6)).astype(np.uint8)
    border = rng.uniform(0, 10, masks.shape).astype(np.float32)

    class Batches(list):
        num_classes = 3

    loss = make_loss(LossSettings(dice_loss=False))
    expected = np.mean(1 + border[masks != 255]) * np.log(3)
    assert uniform_loss(loss, Batches([(None, masks, border)])) == pytest.approx(expected, rel=1e-5)
    assert uniform_loss(loss, Batches([(None, masks)])) == pytest.approx(np.log(3), rel=1e-5)


def test_borders_are_off_until_they_weigh_something():
    assert LossSettings().borders is None
    assert LossSettings(border_weight=10.0, border_sigma=3.0).borders == BorderWeights(10.0, 3.0)


def test_float16_trains_with_a_scaled_loss_and_leaves_the_network_uncompiled():
    with dtype_policy("mixed_float16"):
        model = Unet((32, 32, 3), 3, width=8)
    trainer = compile_trainer(
        model,
        make_optimizer(OptimizerSettings("adam", 1e-3, 0.9, 0.0)),
        make_loss(LossSettings(True, False)),
    )
    assert isinstance(trainer.optimizer, keras.optimizers.LossScaleOptimizer)
    assert not model.compiled
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="counts TensorFlow's traces")
@pytest.mark.parametrize(
    "changes", [{}, {"precision": "mixed_float16", "ema_momentum": 0.9, "border_weight": 10.0}]
)
def test_a_train_step_is_traced_once(config, monkeypatch, changes):
    traces, step = [], keras.Model.train_step
    monkeypatch.setattr(keras.Model, "train_step", lambda *given: traces.append(0) or step(*given))
    train.main(config(unfreeze_epoch=1, eval_flag=False, **changes))
    assert len(traces) == 1
