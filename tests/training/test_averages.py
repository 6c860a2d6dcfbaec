"""The weights' moving average: kept by the optimizer, scored and saved, never trained on."""

import keras
import numpy as np
import pytest

import train
from errors import UserError
from nets.unet import Unet
from nets.weights.storage import load_weights
from training.optimization import make_optimizer
from training.settings import OptimizerSettings
from utils.runs.callbacks import AveragedWeights
from utils.runs.state import read_state


def one_weight():
    """y = w x, with w = 1; the loss is y itself, so that at x = 1 the gradient is 1."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.layers[0].kernel.assign([[1.0]])
    return model


def averages_of(optimizer):
    return [float(np.squeeze(average)) for average in optimizer._model_variables_moving_average]


@pytest.mark.parametrize(
    ("accumulate_steps", "momentum", "weights", "averages"),
    [
        # The first average is the weight; then half of the old one stays.
        (1, 0.5, [0.9, 0.8, 0.7], [0.9, 0.85, 0.775]),
        # Each second step changes the weight; a new one counts from that step on. Of two
        # steps, 0.25 of the old average stays.
        (2, 0.25, [1, 0.9, 0.9, 0.8, 0.8], [1, 0.9, 0.9, 0.85, 0.825]),
    ],
)
def test_averages_by_hand(accumulate_steps, momentum, weights, averages):
    model = one_weight()
    optimizer = make_optimizer(OptimizerSettings("sgd", 0.1, 0.0, 0.0, accumulate_steps, momentum))
    model.compile(optimizer, lambda _, y: keras.ops.mean(y))
    for weight, average in zip(weights, averages, strict=True):
        model.train_on_batch(np.ones((1, 1)), np.zeros((1, 1)))
        assert float(np.squeeze(model.get_weights()[0])) == pytest.approx(weight)
        assert averages_of(optimizer) == pytest.approx([average])


def test_validation_has_the_average_and_training_goes_on_without_it():
    model = one_weight()
    optimizer = make_optimizer(OptimizerSettings("sgd", 0.1, 0.0, 0.0, 1, 0.5))
    model.compile(optimizer, lambda _, y: keras.ops.mean(y))
    history = model.fit(
        np.ones((3, 1)), np.zeros((3, 1)), batch_size=1, epochs=2, verbose=0,
        validation_data=(np.ones((1, 1)), np.zeros((1, 1))), callbacks=[AveragedWeights()],
    ).history  # fmt: skip
    # Weights 0.9, 0.8, 0.7 | 0.6, 0.5, 0.4; averages end at 0.775 | 0.496875.
    assert history["val_loss"] == pytest.approx([0.775, 0.496875])
    assert float(np.squeeze(model.get_weights()[0])) == pytest.approx(0.4)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_files_hold_the_average_and_the_state_the_weights(train_config, tmp_path, policy):
    plain = train_config(precision=policy, unfreeze_epoch=2, save_dir=str(tmp_path / "plain"))
    train.main(plain)
    settings = train_config(precision=policy, unfreeze_epoch=2, ema_momentum=0.8)
    train.main(settings)
    states = []
    for config in (plain, settings):
        (folder,) = (path for path in (tmp_path / config.save_dir).glob("loss_*"))
        states.append(read_state(folder))
    # What is trained is as it would be without averaging.
    for one, other in zip(*(state.arrays["weights"] for state in states), strict=True):
        np.testing.assert_array_equal(one, other)
    model = Unet((32, 32, 3), 3, width=8)
    load_weights(model, folder / "last_epoch_weights.weights.h5")
    slots = states[1].arrays["optimizer"]
    for weight in model.get_weights():
        assert any(np.array_equal(weight, slot) for slot in slots)
    for weight, trained in zip(model.get_weights(), states[1].arrays["weights"], strict=True):
        assert (weight != trained).any()


@pytest.mark.parametrize("momentum", [1.0, 1.5])
def test_momentum_from_1_on_is_refused(train_config, momentum):
    with pytest.raises(UserError, match=rf"ema_momentum must be below 1; got {momentum}\."):
        train_config(ema_momentum=momentum)
