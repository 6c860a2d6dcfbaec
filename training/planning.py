"""Draws up the plan of a training: looks at the images, times the machine, applies the rules."""

from nets.backbones import BACKBONES
from nets.precision import choose_precision
from nets.weights.storage import IMAGENET, open_weights
from training.machine import measure_machine
from training.phases import PhaseSettings
from training.plan import make_plan
from training.settings import (
    DataSettings,
    LossSettings,
    NetworkSettings,
    OptimizerSettings,
    values_as_shipped,
)
from training.start import AUTO, choose_start
from utils.data.augment import Augment
from utils.data.fingerprint import take_fingerprint
from utils.messages import say

_NOT_PLANNED = {"time_limit"}


def set_by_user(config, given=()):
    """The settings that a plan leaves alone: those given, or different from what is shipped.

    Args:
        config: settings, a dataclass.
        given: names of settings that were typed, whatever their value.

    Returns:
        dict from names to values.
    """
    usual = values_as_shipped(
        NetworkSettings, DataSettings, PhaseSettings, OptimizerSettings, LossSettings, Augment,
    ) | {"model_path": AUTO, "val_input_shape": None}  # fmt: skip
    values = {name: getattr(config, name) for name in usual if hasattr(config, name)}
    return {
        name: value
        for name, value in values.items()
        if name in given or name in _NOT_PLANNED or value != usual[name]
    }


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
    has_imagenet = settings.get("width", 64) == 64
    if config.model_path == AUTO and has_imagenet:
        start, note = choose_start(AUTO, config.backbone, 64, config.imagenet_url)
        has_imagenet = bool(start)
        if note:
            say(note)
    if config.model_path not in (AUTO, IMAGENET, ""):  # a network of some width
        stored = open_weights(config.model_path, config.backbone)
        settings.setdefault("width", stored.infer().get("width", 64))
    policy, _ = choose_precision(config.precision)
    machine = measure_machine(network, policy)
    stride = BACKBONES[config.backbone].stride
    return make_plan(fingerprint, machine, settings, has_imagenet=has_imagenet, stride=stride)
