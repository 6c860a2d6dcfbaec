"""Settings that fit by themselves: rules from a set, a machine and a time to a training.

Needs no Keras. The time decides how many pixels can be trained on. They are spent first on the
size at which images are seen, so that thin structures stay visible, then on the network's width,
then on enough steps.

    pixels     = time / seconds per pixel, which grows with the width
    passes     = pixels / (images x pixels of an image at its size in training)
    steps      = pixels / (batch size x pixels of a crop)

Source of the idea: Isensee et al. 2021, nnU-Net, https://doi.org/10.1038/s41592-020-01008-z
"""

import math
from dataclasses import dataclass, field

from errors import UserError, check_choice

PLANS = ("auto", "off")
HOURS = 8  # planned for where no time limit is set: a night
WIDTHS = (64, 32, 16)
_ASIDE = 40.0, 0.8  # seconds of setup; share of the rest that is training, not validation
_PASSES, _PASSES_PRETRAINED = 40, 12  # over the set that a network should have
_STEPS, _STEPS_SCRATCH = 1500, 4000  # that an optimizer should have; from scratch, if batches allow
_HOPELESS = 150  # steps below which a user is warned
_THINNEST = 4.0  # pixels across a structure that should stay
_SMALLEST, _ENOUGH = 0.35, 0.6  # shares of an image's size: never wanted less, enough if thin
_SIDES = (512, 384, 256, 192, 160, 128, 96)  # of a crop
_ON_CPU = 256  # the largest of them there: beyond it steps become few
_BATCHES = (16, 8, 4, 2)
_ALIKE = 0.85  # likeness from which an image may be turned or mirrored
_OFTEN = 200  # times an image is seen from which it should not look the same
_RARE = 0.03  # share of a class that is rare
_WHOLE = 1_500_000  # pixels that are predicted at once
_WINDOW = 512
_BYTES = 5000 / 64  # of memory per pixel and filter of the first block
_CACHE = 0.25  # share of the free memory that a decoded set may take
_EPOCH = 20.0  # seconds of training in an epoch, at least: each ends with files


@dataclass(frozen=True)
class Machine:
    """What a machine can do.

    Attributes:
        per_pixel: float, seconds of training for a pixel, at `width`.
        per_step: float, seconds of a step beside.
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


def make_plan(fingerprint, machine, settings, *, has_imagenet, stride=16):
    """Chooses the settings of a training.

    Args:
        fingerprint: `utils.data.fingerprint.Fingerprint` of the training images.
        machine: Machine.
        settings: dict of what is set already and stays, with `time_limit` (minutes, 0: none).
        has_imagenet: bool, whether the network can start from ImageNet weights.
        stride: int, of which sizes are multiples.

    Returns:
        Plan.

    Raises:
        UserError: for a set of one image, and for settings that contradict each other.
    """
    _check(fingerprint, settings)
    return _Planner(fingerprint, machine, settings, has_imagenet, stride).plan


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


class _Planner:
    """Makes the choices one after the other; later ones use earlier ones."""

    def __init__(self, fingerprint, machine, settings, has_imagenet, stride):
        self.set, self.machine, self.settings = fingerprint, machine, settings
        self.has_imagenet, self.stride = has_imagenet, stride
        minutes = settings.get("time_limit") or 60 * HOURS
        aside, share = _ASIDE
        self.seconds = max(60 * minutes - aside, 30 * minutes) * share
        self.plan = Plan(self._basis(minutes))
        self._start()
        self._size()
        self._steps()
        self._prediction()
        self._augmentation()
        self._loss()
        if self.steps < _HOPELESS:
            self.plan.basis += (
                f"\nWarning: that is time for {self.steps:,.0f} steps, too few to learn much. More "
                "time or a faster machine would help."
            )

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

    def _choose(self, name, value, reason):
        """Adds a choice, unless the user made it; returns what holds."""
        if name in self.settings:
            value, reason = self.settings[name], "as set"
        self.plan.choices.append(Choice(name, value, reason))
        return value

    def _passes(self, width):
        """Passes over the whole set at its own size, in the time there is."""
        pixels = self.seconds / self.machine.pixel_seconds(width)
        return pixels / (self.set.count * math.prod(self.set.size))

    def _start(self):
        """What to start from, and how wide the network is."""
        known = [
            width
            for width, share in zip(self.set.widths, self.set.shares, strict=True)
            if share > 0 and width == width
        ]
        self.thinnest = min(known, default=_THINNEST / _ENOUGH)
        self.wanted = min(max(_THINNEST / self.thinnest, _SMALLEST), _ENOUGH)
        asked = self.settings.get("model_path")
        affordable = math.sqrt(self._passes(64) / _PASSES_PRETRAINED)
        if asked is None:
            fits = self.settings.get("width", 64) == 64 and affordable >= self.wanted
            if self.has_imagenet and fits:
                self._choose("model_path", "imagenet", "pretrained features need fewer passes")
            elif self.has_imagenet:
                self._choose(
                    "model_path", "",
                    "from scratch: in this time a narrower network learns more than ImageNet's, "
                    "of width 64",
                )  # fmt: skip
            else:
                self._choose("model_path", "", "from scratch: there are no ImageNet weights")
        else:
            self._choose("model_path", asked, "as set")
        self.pretrained = bool(self.plan.values["model_path"])
        if self.pretrained:
            width = self._choose("width", 64, "that of the weights")
        else:
            sizes = {width: math.sqrt(self._passes(width) / _PASSES) for width in WIDTHS}
            width = next((w for w in WIDTHS if sizes[w] >= self.wanted), WIDTHS[-1])
            width = self._choose(
                "width", width,
                f"{self._passes(width):.3g} passes over the set at full size fit the time",
            )  # fmt: skip
        self.width = width

    def _size(self):
        """The size at which images are seen."""
        passes = _PASSES_PRETRAINED if self.pretrained else _PASSES
        factor = math.sqrt(self._passes(self.width) / passes)
        least = max(_SMALLEST, 64 / min(self.set.size))
        self.factor = min(max(factor, least), 1.0)
        self.canvas = tuple(self._round(self.factor * side) for side in self.set.size)
        if "val_input_shape" in self.settings:
            self.canvas = tuple(self.settings["val_input_shape"])
            self.factor = min(
                side / full for side, full in zip(self.canvas, self.set.size, strict=True)
            )
        thin = f"{self.thinnest:.0f} pixels, {self.thinnest * self.factor:.1f} then"
        self.shown = f"{self.factor:.0%} of the images' size; thinnest structures {thin}"

    def _round(self, side):
        return max(round(side / self.stride), 2) * self.stride

    def _room(self):
        """Pixels of a batch that fit the memory."""
        if self.machine.memory is None:
            return math.inf
        return max(0.7 * self.machine.memory - 1e9, 2e8) / (_BYTES * self.width)

    def _steps(self):
        """Crops, batch size, epochs, rate."""
        per_pixel = self.machine.pixel_seconds(self.width)

        def step_seconds(batch, crop):
            return self.machine.per_step + batch * math.prod(crop) * per_pixel

        def steps(batch, crop):
            return self.seconds / step_seconds(batch, crop)

        sides = [side for side in _SIDES if self.machine.accelerated or side <= _ON_CPU]
        crops = [tuple(min(side, full) for full in self.canvas) for side in sides]
        fitting = [crop for crop in crops if 2 * math.prod(crop) <= self._room()] or crops[-1:]
        crop = next((crop for crop in fitting if steps(2, crop) >= _STEPS), fitting[-1])
        crop = self._choose(
            "input_shape", crop, f"the largest crop with {_STEPS} steps, or the smallest"
        )
        least = _STEPS if self.pretrained else _STEPS_SCRATCH
        batch = next(
            (
                size
                for size in _BATCHES
                if steps(size, crop) >= least and size * math.prod(crop) <= self._room()
            ),
            _BATCHES[-1],
        )
        batch = self._choose("unfreeze_batch_size", batch, f"{steps(batch, crop):,.0f} steps")
        self._choose("freeze_batch_size", batch, "the same")
        seen = self.seconds / step_seconds(batch, crop) * batch  # crops in all
        per_second = seen / self.seconds
        crops_per_image = self._choose(
            "crops_per_image",
            max(min(round(_EPOCH * per_second / self.set.count), 100), 1),
            f"an epoch takes some {_EPOCH:.0f} seconds or sees each image once",
        )
        size = self.set.count * math.prod(self.set.size) * (self.set.channels + 1) / 2**30
        fits = self.machine.memory is not None and size * 2**30 < _CACHE * self.machine.memory
        self._choose(
            "cache_gb",
            math.ceil(11 * size) / 10 if fits else 0.0,  # a tenth more: sizes differ
            f"decoded, the set takes {size:.2g} GB" + (", which stays in memory" if fits else ""),
        )
        if not self.settings.get("time_limit"):
            epochs = max(round(seen / (self.set.count * crops_per_image)), 1)
            self._choose("unfreeze_epoch", epochs, f"what fits {HOURS} hours here")
        self._choose("freeze_train", False, "at the same number of steps it was no better")
        rate = 3e-4 if self.pretrained else 5e-4 if self.width > 32 else 1e-3
        kind = "pretrained" if self.pretrained else f"of width {self.width} from scratch"
        self._choose("init_lr", rate, f"for a network {kind}")
        self.crop, self.seen, self.steps = crop, seen, steps(batch, crop)

    def _prediction(self):
        """Scale of training, size of prediction."""
        aspect = self.set.size[1] / self.set.size[0]
        by_height = aspect < self.crop[1] / self.crop[0]
        middle = self.canvas[0] / self.crop[0] if by_height else self.canvas[1] / self.crop[1]
        fixed = self.set.turned >= _ALIKE and self.set.upside_down >= _ALIKE
        low, high = (0.85, 1.2) if fixed else (0.7, 1.4)
        self._choose(
            "scale",
            (round(low * middle, 2), round(high * middle, 2)),
            f"{self.shown}; "
            + ("no up or down: as through a microscope" if fixed else "near and far"),
        )
        self._choose("jitter", 0.1 if fixed else 0.3, "change of the aspect ratio")
        self._choose("val_input_shape", self.canvas, "the middle of the scale")
        pixels = math.prod(self.canvas)
        if pixels > min(_WHOLE, self._room()):
            window = tuple(min(_WINDOW, side) for side in self.canvas)
            self._choose(
                "val_window", window, f"{pixels / 1e6:.1f} megapixels are too many at once"
            )

    def _augmentation(self):
        alike = {
            "flip": (self.set.mirrored, "mirrored"),
            "flip_vertical": (self.set.upside_down, "upside down"),
            "quarter_turn": (self.set.turned, "turned by 90 degrees"),
        }
        for name, (likeness, how) in alike.items():
            reason = f"{how}, images are {likeness:.0%} alike"
            self._choose(name, 0.5 if likeness >= _ALIKE else 0.0, reason)
        free = min(self.set.turned, self.set.upside_down, self.set.mirrored) >= _ALIKE
        times = self.seen / self.set.count
        often = times >= _OFTEN
        reason = f"each image is seen {times:,.0f} times" + ("" if often else ": rarely")
        turned = reason if free else "directions matter"
        self._choose("rotation", 30.0 if free and often else 0.0, turned)
        self._choose("elastic", 0.02 if free and often else 0.0, turned)
        for name, strength in (("gamma", 0.3), ("noise", 5.0), ("blur", 1.0)):
            self._choose(name, strength if often else 0.0, reason)
        small = math.prod(self.crop) < math.prod(self.canvas) / 2
        rare = [share for share in self.set.shares if 0 < share < _RARE]
        if small and rare:
            self._choose(
                "rare_crops", 0.3, f"crops of a part; classes below {_RARE:.0%}: {len(rare)}"
            )
        else:
            self._choose("rare_crops", 0.0, "no class below 3%" if not rare else "crops hold most")

    def _loss(self):
        shares = [share for share in self.set.shares if share > 0]
        if len(shares) > 1 and max(shares) / min(shares) > 10:
            middle = sorted(shares)[len(shares) // 2]
            weights = tuple(
                round(min(max(math.sqrt(middle / share), 0.5), 3.0), 2) if share else 1.0
                for share in self.set.shares
            )
            reason = "root of (median share / share), 0.5 to 3: " + (
                f"shares from {min(shares):.1%} to {max(shares):.0%}"
            )
            self._choose("cls_weights", weights, reason)
        else:
            self._choose("cls_weights", (), "no class is a tenth of another")
        many = len(self.set.shares) > 3
        self._choose(
            "dice_present_only",
            many,
            "a crop holds some classes" if many else "crops hold all classes",
        )


def _format(value):
    if isinstance(value, tuple):
        return (
            ",".join(f"{part:g}" if isinstance(part, float) else str(part) for part in value)
            or "()"
        )
    return (
        repr(value)
        if isinstance(value, str)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
