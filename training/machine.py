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
    trainer = make_trainer(network.resized(width, _SIZES[0][1:] * 2), policy)
    noise = [draw_noise(network, batch, (side, side)) for batch, side in _SIZES]
    seconds = [_time_steps(trainer, *batch) for batch in noise]
    pixels = [batch * side**2 for batch, side in _SIZES]
    per_pixel = max((seconds[1] - seconds[0]) / (pixels[1] - pixels[0]), 1e-12)
    per_step = max(seconds[0] - per_pixel * pixels[0], 0.0)
    return Machine(per_pixel, per_step, width, available_memory(), has_gpu())


def make_trainer(network, policy, fused=True):
    """A network from scratch, compiled with the usual optimizer and loss, for its times.

    Args:
        network: `training.settings.NetworkSettings`.
        policy: str, a Keras dtype policy.
        fused: bool, as for `nets.unet.Unet`.
    """
    names = class_names(network.num_classes)
    described = Description(
        network.num_classes, network.backbone, network.input_shape, names, network.width,
        in_channels=network.in_channels, decoder_norm=network.decoder_norm,
        decoder_width=network.decoder_width,
    )  # fmt: skip
    with dtype_policy(policy):
        model = build(
            described, encoder_initializer="he_normal", fused=fused, any_size=network.any_size
        )
    optimizer, loss = make_optimizer(OptimizerSettings()), make_loss(LossSettings())
    return compile_trainer(model, optimizer, loss, network.recompute)


def draw_noise(network, batch_size, size):
    """(images, masks) of noise, as a step takes them: float32 (B, H, W, C), uint8 (B, H, W)."""
    rng = np.random.default_rng(0)
    shape = (batch_size, *size)
    images = rng.uniform(-1, 1, (*shape, network.in_channels)).astype(np.float32)
    return images, rng.integers(0, network.num_classes, shape).astype(np.uint8)


def _time_steps(trainer, images, masks):
    """Median seconds of a training step."""
    seconds = []
    for _ in range(_STEPS + 1):
        start = time.perf_counter()
        trainer.train_on_batch(images, masks)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def has_gpu():
    """Whether Keras computes on a GPU."""
    try:
        names = keras.distribution.list_devices()
    except AttributeError:  # Keras has no distribution for this backend
        return False
    return any(name.startswith(("gpu", "GPU")) for name in names)
