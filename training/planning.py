"""Draws up the plan of a training: looks at the images, times the machine, applies the rules."""

import dataclasses
from functools import partial

from nets.backbones import BACKBONES
from nets.encoders.widths import FULL
from nets.precision import choose_precision
from nets.weights.imagenet_files import find_local
from nets.weights.storage import IMAGENET, open_weights
from training.machine import measure_machine
from training.plan import make_plan
from training.plan_start import Lighter
from training.settings import set_by_user
from training.start import AUTO, choose_start
from utils.data.fingerprint import take_fingerprint
from utils.messages import say


def draw_up_plan(config, samples, given=(), value_range=None):
    """Makes the `training.plan.Plan` of a new run; looks and measures first.

    Args:
        config: the settings of train.py.
        samples: list of `utils.data.voc.Sample`, the training images.
        given: names of settings that were typed.
        value_range: what images of more than 8 bits are read in, as it was found.

    Raises:
        UserError: if there is nothing to plan by, or settings contradict each other.
    """
    settings, network = set_by_user(config, given), config.parts.network
    fingerprint = take_fingerprint(
        samples,
        config.num_classes,
        config.ignore_labels,
        config.in_channels,
        config.num_workers,
        value_range,
    )
    has_imagenet, note = settings.get("width", FULL) == FULL, ""
    if config.model_path == AUTO and has_imagenet:
        start, note = choose_start(AUTO, config.backbone, FULL, config.imagenet_url)
        has_imagenet = bool(start)
    if config.model_path not in (AUTO, IMAGENET, ""):  # a network of some width
        stored = open_weights(config.model_path, config.backbone)
        settings.setdefault("width", stored.infer().get("width", FULL))
    policy, _ = choose_precision(config.precision)
    machine = measure_machine(network, policy)
    plan = make_plan(
        fingerprint, machine, settings, has_imagenet=has_imagenet, backbone=config.backbone,
        lighter=Lighter(find_lighter(config.backbone), partial(_time_other, network, policy)),
    )  # fmt: skip
    if note and plan.values["model_path"] != IMAGENET:  # then another encoder's weights were there
        say(note)
    return plan


def find_lighter(backbone):
    """The encoders with less work than `backbone` whose ImageNet weights are on this machine.

    Returns:
        list of str, those with most work first.
    """
    less = [name for name, one in BACKBONES.items() if one.work < BACKBONES[backbone].work]
    there = [name for name in less if find_local(name)[0]]
    return sorted(there, key=lambda name: -BACKBONES[name].work)


def _time_other(network, policy, backbone):
    """The `training.plan.Machine` with another encoder, as its ImageNet weights need it."""
    return measure_machine(dataclasses.replace(network, backbone=backbone), policy, FULL)
