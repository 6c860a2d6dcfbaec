"""What this machine can do: the time of training steps, measured before anything is chosen."""

import statistics
import time

import keras
import numpy as np

from nets.precision import dtype_policy
from nets.unet import build
from nets.weights.description import Description
from training.optimization import compile_trainer, make_loss, make_optimizer
from training.plan import Machine
from training.settings import LossSettings, OptimizerSettings
from utils.labels import class_names
from utils.runs.memory import available_memory

_SIZES = ((2, 64), (2, 128))  # batch size, height and width
_STEPS = 3  # of which the median counts, after one that compiles


def measure_machine(network, policy, width=32):
    """Times training steps of a network of a given width at two sizes.

    Args:
        network: `training.settings.NetworkSettings`; classes, backbone and channels count.
        policy: str, a Keras dtype policy.
        width: int, filters of the first block.

    Returns:
        `training.plan.Machine`.
    """
    names = class_names(network.num_classes)
    described = Description(
        network.num_classes, network.backbone, (64, 64), names, width,
        in_channels=network.in_channels, decoder_norm=network.decoder_norm,
        decoder_width=network.decoder_width,
    )  # fmt: skip
    with dtype_policy(policy):
        model = build(described, encoder_initializer="he_normal")
    trainer = compile_trainer(model, make_optimizer(OptimizerSettings()), make_loss(LossSettings()))
    seconds = [_time_steps(trainer, batch, side, network) for batch, side in _SIZES]
    pixels = [batch * side**2 for batch, side in _SIZES]
    per_pixel = max((seconds[1] - seconds[0]) / (pixels[1] - pixels[0]), 1e-12)
    per_step = max(seconds[0] - per_pixel * pixels[0], 0.0)
    accelerated = any(name.startswith(("gpu", "GPU")) for name in _devices())
    return Machine(per_pixel, per_step, width, available_memory(), accelerated)


def _time_steps(trainer, batch, side, network):
    """Median seconds of a training step with images of side x side."""
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (batch, side, side, network.in_channels)).astype(np.float32)
    masks = rng.integers(0, network.num_classes, (batch, side, side)).astype(np.uint8)
    seconds = []
    for _ in range(_STEPS + 1):
        start = time.perf_counter()
        trainer.train_on_batch(images, masks)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def _devices():
    try:
        return keras.distribution.list_devices()
    except AttributeError:  # Keras has no distribution for this backend
        return ()
