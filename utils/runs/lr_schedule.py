"""The learning rate by epoch: upstream's cosine with warm-up, and its steps."""

import math

SCHEDULES = ("cos", "step")


def scaled_rate(init_lr, batch_size, nominal=16):
    """A rate that is meant for batches of `nominal` images, for another batch size.

    init_lr batch_size / nominal: twice the images per step, twice the rate.

    Differs from upstream: the result is not clamped.

    Args:
        init_lr: float.
        batch_size: int, images per step.
        nominal: int, images per step for which `init_lr` is meant.

    Returns:
        float.

    Source: unet-keras, `nbs` in its training script.
    """
    return init_lr * batch_size / nominal


def learning_rate(epoch, total_epochs, init_lr, min_lr, decay_type="cos"):
    """The learning rate of an epoch.

    cos, for T epochs in all: the first w = min(max(0.05 T, 1), 3) epochs warm up as
    s + (init_lr - s) (epoch / w)^2 from s = min(max(0.1 init_lr, 1e-6), init_lr); the last
    n = min(max(0.05 T, 1), 15) stay at min_lr; a half cosine joins them.
    step: times (min_lr / init_lr)^(1/9) after every T / 10 epochs.

    Args:
        epoch: int or, amid an epoch, float; from 0.
        total_epochs: int, T, over both phases.
        init_lr: float, the highest rate.
        min_lr: float, the last rate.
        decay_type: "cos" or "step".

    Returns:
        float.

    Source: unet-keras, `get_lr_scheduler`.
    """
    if decay_type not in SCHEDULES:
        raise ValueError(f"decay_type must be one of {SCHEDULES}; got {decay_type!r}.")
    if decay_type == "step":
        return init_lr * (min_lr / init_lr) ** (epoch * 10 // total_epochs / 9)
    warmup = min(max(0.05 * total_epochs, 1), 3)
    tail = min(max(0.05 * total_epochs, 1), 15)
    # Differs from upstream, which starts at 1e-6 above a rate that is below.
    start = min(max(0.1 * init_lr, 1e-6), init_lr)
    if epoch <= warmup:
        return start + (init_lr - start) * (epoch / warmup) ** 2
    if epoch >= total_epochs - tail:
        return min_lr
    progress = (epoch - warmup) / (total_epochs - warmup - tail)
    return min_lr + 0.5 * (init_lr - min_lr) * (1 + math.cos(math.pi * progress))


def rate_of_share(share, init_lr, min_lr, decay_type="cos"):
    """The learning rate after a share of the training, 0 to 1: that of 100 epochs' schedule."""
    return learning_rate(100 * share, 100, init_lr, min_lr, decay_type)
