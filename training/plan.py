"""Settings that fit by themselves: rules from a set, a machine and a time to a training.

Needs no Keras. The time decides how many pixels can be trained on. They are spent first on the
size at which images are seen, so that thin structures stay visible, then on the network's width,
then on enough steps. The rules stand beside this: what to start from, sizes and steps, images.

    pixels     = time / seconds per pixel, which grows with the width
    passes     = pixels / (images x pixels of an image at its size in training)
    steps      = pixels / (batch size x pixels of a crop)

Source of the idea: Isensee et al. 2021, nnU-Net, https://doi.org/10.1038/s41592-020-01008-z
"""

import math
from dataclasses import dataclass, field

from errors import UserError, check_choice
from nets.backbones import BACKBONES
from training.plan_images import choose_augmentation, choose_loss, choose_prediction
from training.plan_start import choose_start
from training.plan_steps import HOURS, choose_size, choose_steps

PLANS = ("auto", "off")
_ASIDE = 40.0, 0.8  # seconds of setup; share of the rest that is training, not validation
_BYTES = 5000 / 64  # of memory per pixel and filter of the first block
_HOPELESS = 150  # steps below which a user is warned


@dataclass(frozen=True)
class Machine:
    """What a machine can do.

    Attributes:
        per_pixel: float, seconds of training for a pixel, at `width`.
        per_step: float, seconds of a step beside, at `width`.
        width: int, filters of the first block of the network that was timed.
        memory: int, free bytes; None: not known.
        accelerated: bool, whether it has a GPU.
    """

    per_pixel: float
    per_step: float
    width: int
    memory: int | None = None
    accelerated: bool = False

    def pixel_seconds(self, width):
        """Seconds of training for a pixel at another width: work grows with its square.

        Narrow networks are less than that faster: of 32 and 16 filters 3.3 times was measured.
        """
        exponent = 2 if width > self.width else 1.75
        return self.per_pixel * (width / self.width) ** exponent

    def step_seconds(self, width):
        """Seconds of a step beside its pixels: weights to change, whose number grows so too."""
        return self.per_step * (width / self.width) ** 2


@dataclass(frozen=True)
class Choice:
    """A setting, its value and why."""

    name: str
    value: object
    reason: str


@dataclass
class Plan:
    """Choices, and a line on what they were made from."""

    basis: str
    choices: list[Choice] = field(default_factory=list)

    @property
    def values(self):
        """{setting: value}."""
        return {choice.name: choice.value for choice in self.choices}

    def __str__(self):
        names = max(len(choice.name) for choice in self.choices)
        shown = [_format(choice.value) for choice in self.choices]
        values = min(max(map(len, shown)), 24)
        lines = [
            f"  {choice.name:<{names}}  {value:<{values}}  {choice.reason}"
            for choice, value in zip(self.choices, shown, strict=True)
        ]
        return "\n".join([self.basis, *lines])


def _format(value):
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return ",".join(f"{one:g}" if isinstance(one, float) else str(one) for one in value) or "()"
    return str(value)


class Draft:
    """A plan in the making: later choices use what earlier ones leave here.

    Attributes:
        set: `utils.data.fingerprint.Fingerprint`.
        machine: Machine, timed with the backbone that is taken.
        settings: dict of what is set already.
        stride: int, of that backbone.
        seconds: float, that the training may take.
        plan: Plan.
        thinnest, wanted: pixels across the thinnest structure; share of the images' size at which
            it stays visible. Of `choose_start`.
        pretrained, width: bool, int: what the network is. Of `choose_start`.
        factor, canvas: share of the images' size, (height, width). Of `choose_size`.
        crop, steps, seen: (height, width); steps and crops in all. Of `choose_steps`.
    """

    def __init__(self, fingerprint, machine, settings, stride):
        self.set, self.machine, self.settings = fingerprint, machine, settings
        self.stride = stride
        minutes = settings.get("time_limit") or 60 * HOURS
        aside, share = _ASIDE
        self.seconds = max(60 * minutes - aside, 30 * minutes) * share
        self.plan = Plan(self._basis(minutes))

    def _basis(self, minutes):
        """What the plan is made from."""
        height, width = self.set.size
        per_image = self.machine.per_pixel * 128 * 128
        limit = self.settings.get("time_limit")
        time = f"{minutes:g} minutes" if limit else f"{HOURS} hours (no time_limit is set)"
        return (
            f"Plan for {self.set.count} images of about {height}x{width} with "
            f"{len(self.set.shares)} classes, in {time}.\n"
            f"At width {self.machine.width}, training takes {per_image:.3f} s per image of 128x128."
        )

    def choose(self, name, value, reason):
        """Adds a choice, unless the user made it; returns what holds."""
        if name in self.settings:
            value, reason = self.settings[name], "as set"
        self.plan.choices.append(Choice(name, value, reason))
        return value

    def passes(self, width, machine=None):
        """Passes over the whole set at its own size, in the time there is."""
        pixels = self.seconds / (machine or self.machine).pixel_seconds(width)
        return pixels / (self.set.count * math.prod(self.set.size))

    @property
    def room(self):
        """float, pixels of a batch that fit the memory."""
        if self.machine.memory is None:
            return math.inf
        return max(0.7 * self.machine.memory - 1e9, 2e8) / (_BYTES * self.width)


def check_plan(plan, time_limit, processes=1):
    """Raises UserError unless a plan can be made, or is off.

    Args:
        plan: str, the setting.
        time_limit: float, minutes.
        processes: int, of the training.
    """
    check_choice("plan", plan, PLANS)
    if processes > 1 and (time_limit or plan != "off"):
        name = "time_limit" if time_limit else "plan"
        raise UserError(
            f"{name} works on one machine: the clocks and speeds of {processes} processes differ. "
            "Leave it out, and set the epochs instead."
        )


def make_plan(fingerprint, machine, settings, *, has_imagenet, backbone="vgg", lighter=None):
    """Chooses the settings of a training.

    Args:
        fingerprint: `utils.data.fingerprint.Fingerprint` of the training images.
        machine: Machine.
        settings: dict of what is set already and stays, with `time_limit` (minutes, 0: none).
        has_imagenet: bool, whether the network can start from ImageNet weights.
        backbone: str, the encoder that was timed, and is taken if the time allows it.
        lighter: `training.plan_start.Lighter`, the encoders that may be taken instead; None: none.

    Returns:
        Plan.

    Raises:
        UserError: for a set of one image, and for settings that contradict each other.
    """
    _check(fingerprint, settings)
    draft = Draft(fingerprint, machine, settings, BACKBONES[backbone].stride)
    choose_start(draft, has_imagenet, backbone, lighter)
    choose_size(draft)
    choose_steps(draft)
    choose_prediction(draft)
    choose_augmentation(draft)
    choose_loss(draft)
    if draft.steps < _HOPELESS:
        draft.plan.basis += (
            f"\nWarning: that is time for {draft.steps:,.0f} steps, too few to learn much. More "
            "time or a faster machine would help."
        )
    return draft.plan


def _check(fingerprint, settings):
    if fingerprint.count < 2:
        raise UserError(
            "plan=auto needs at least 2 training images: one doesn't show what a set is like. Add "
            "images to the training list, or set plan to off and choose the settings yourself."
        )
    if settings.get("time_limit") and "unfreeze_epoch" in settings:
        raise UserError(
            f"time_limit is {settings['time_limit']:g} minutes and unfreeze_epoch is "
            f"{settings['unfreeze_epoch']}: a run ends by the clock or after its epochs. Leave one "
            "of them out."
        )
    if settings.get("model_path") == "imagenet" and settings.get("width", 64) != 64:
        raise UserError(
            f"model_path is imagenet, whose weights are for width 64, and width is "
            f"{settings['width']}. Leave one of them out."
        )
