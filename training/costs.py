"""What networks cost on this machine, and the table that compares them."""

import statistics
import time
from functools import partial
from typing import NamedTuple

import numpy as np

from nets.unet import set_encoder_trainable
from training.optimization import compile_trainer, make_loss, make_optimizer
from training.settings import LossSettings, OptimizerSettings
from utils.quiet import quiet


class Cost(NamedTuple):
    """What a network costs: parameters, multiply-adds and seconds of an image, bytes of training.

    `decoder_width` is the filters of the decoder's last stage; `frozen` and `trained` are seconds
    of training with the encoder frozen and with all layers.
    """

    backbone: str
    decoder_width: int
    parameters: int
    products: int
    memory: int
    predicted: float | None = None
    frozen: float | None = None
    trained: float | None = None


def format_costs(costs):
    """A table, one line a `Cost`; only the columns that were measured."""
    columns = [
        ("decoder width", "decoder_width", 1, 0),
        ("parameters, M", "parameters", 1e-6, 1),
        ("G multiply-adds", "products", 1e-9, 2),
        ("GB of training", "memory", 1e-9, 2),
        ("ms to predict", "predicted", 1e3, 1),
        ("ms to train frozen", "frozen", 1e3, 1),
        ("ms to train", "trained", 1e3, 1),
    ]
    shown = [one for one in columns if getattr(costs[0], one[1]) is not None]
    names = max(len(cost.backbone) for cost in costs)
    lines = [f"{'backbone':<{names}}  " + "  ".join(title for title, *_ in shown)]
    for cost in costs:
        cells = [
            f"{getattr(cost, name) * unit:{len(title)},.{digits}f}"
            for title, name, unit, digits in shown
        ]
        lines.append(f"{cost.backbone:<{names}}  " + "  ".join(cells))
    return "\n".join(lines)


def time_network(model, described, batch_size, steps, training=False):
    """Times steps with noise.

    Args:
        model: keras.Model.
        described: its `nets.weights.description.Description`.
        batch_size: int, images per step.
        steps: int, of which the median counts.
        training: bool, whether to time training too. The weights then change.

    Returns:
        dict from "predicted", and "frozen" (the encoder) and "trained" (all), to seconds per image.
    """
    rng = np.random.default_rng(0)
    size = (batch_size, *described.input_shape)
    images = rng.uniform(-1, 1, (*size, described.in_channels)).astype(np.float32)
    step = partial(model.predict_on_batch, images)
    seconds = {"predicted": time_calls(step, steps) / batch_size}
    if training:
        masks = rng.integers(0, described.num_classes, size).astype(np.uint8)
        for title, train_encoder in (("frozen", False), ("trained", True)):
            set_encoder_trainable(model, train_encoder, described.backbone)
            optimizer = make_optimizer(OptimizerSettings())
            trainer = compile_trainer(model, optimizer, make_loss(LossSettings()))
            step = partial(trainer.train_on_batch, images, masks)
            seconds[title] = time_calls(step, steps) / batch_size
    return seconds


def time_calls(call, repeats):
    """Median seconds of `call()`, after a first one that compiles."""
    with quiet():
        call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)
