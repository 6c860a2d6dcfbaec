"""The plan's first rules: which encoder, from which weights, how wide.

VGG16 stays wherever the time allows it enough passes over the set. Where it doesn't, an encoder
with less work whose ImageNet weights lie on this machine comes before a network from scratch:
pretrained features need a third of the passes.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nets.backbones import BACKBONES
from nets.encoders.widths import FULL

WIDTHS = (64, 32, 16)
PASSES, PASSES_PRETRAINED = 40, 12  # over the set that a network should have
THINNEST = 4.0  # pixels across a structure that should stay
SMALLEST = 0.35  # share of an image's size: never less is wanted
_ENOUGH = 0.6  # share of it that is enough where structures are thin
_TRIED = 2  # lighter encoders that are timed: each takes up to half a minute


@dataclass(frozen=True)
class Lighter:
    """Encoders that may be taken instead.

    Attributes:
        names: str, those whose ImageNet weights lie on this machine, with most work first.
        time: callable from a name to the `training.plan.Machine` with it, at width 64.
    """

    names: Sequence[str]
    time: Callable


def choose_start(draft, has_imagenet, backbone, lighter=None):
    """Chooses encoder, weights and width.

    Args:
        draft: `training.plan.Draft`.
        has_imagenet: bool, whether `backbone` can start from ImageNet weights.
        backbone: str, the encoder that `draft.machine` was timed with.
        lighter: Lighter or None.
    """
    known = [
        width
        for width, share in zip(draft.set.widths, draft.set.shares, strict=True)
        if share > 0 and width == width
    ]
    draft.thinnest = min(known, default=THINNEST / _ENOUGH)
    draft.wanted = min(max(THINNEST / draft.thinnest, SMALLEST), _ENOUGH)
    _choose_weights(draft, has_imagenet, backbone, lighter)
    draft.pretrained = bool(draft.plan.values["model_path"])
    if draft.pretrained:
        draft.width = draft.choose("width", FULL, "that of the weights")
        return
    width = next((one for one in WIDTHS if _affords(draft, one, PASSES)), WIDTHS[-1])
    passes = f"{draft.passes(width):.3g} passes over the set at full size fit the time"
    draft.width = draft.choose("width", width, passes)


def _affords(draft, width, passes, machine=None):
    """Whether the time is enough for so many passes at the size that is wanted."""
    return math.sqrt(draft.passes(width, machine) / passes) >= draft.wanted


def _choose_weights(draft, has_imagenet, backbone, lighter):
    """Chooses the weights, and another encoder if the time asks for it."""
    needed = "pretrained features need fewer passes"
    if "model_path" in draft.settings:
        draft.choose("model_path", None, "")
    elif (
        has_imagenet
        and draft.settings.get("width", FULL) == FULL
        and _affords(draft, FULL, PASSES_PRETRAINED)
    ):
        draft.choose("model_path", "imagenet", needed)
    elif found := _find_lighter(draft, has_imagenet, backbone, lighter):
        name, machine = found
        usual, light = (
            f"{draft.passes(FULL, one) / draft.wanted**2:.2g}" for one in (draft.machine, machine)
        )
        draft.choose(
            "backbone", name,
            f"lighter: at {draft.wanted:.0%} of the images' size there is time for {light} passes "
            f"over the set, with {backbone} for {usual}; {PASSES_PRETRAINED} are wanted",
        )  # fmt: skip
        draft.choose("model_path", "imagenet", f"{needed}; these are on this machine")
        draft.machine, draft.stride = machine, BACKBONES[name].stride
    elif has_imagenet:
        draft.choose(
            "model_path", "",
            "from scratch: in this time a narrower network learns more than ImageNet's, of width "
            f"{FULL}",
        )  # fmt: skip
    else:
        draft.choose("model_path", "", "from scratch: there are no ImageNet weights")


def _find_lighter(draft, has_imagenet, backbone, lighter):
    """The encoder with most work that the time allows.

    Returns:
        (name, `training.plan.Machine` with it); None if the user chose a network, the time is
        enough for `backbone` from scratch, or no encoder is light enough.
    """
    if lighter is None or {"backbone", "width"} & set(draft.settings):
        return None
    if not has_imagenet and _affords(draft, FULL, PASSES):
        return None  # from scratch, at full width
    full = draft.machine.pixel_seconds(FULL)
    tried = 0
    for name in lighter.names:
        # Less work is less than that faster: depthwise convolutions hardly fill a processor.
        least = full * BACKBONES[name].work / BACKBONES[backbone].work
        hoped = dataclasses.replace(draft.machine, per_pixel=least, width=FULL)
        if tried == _TRIED or not _affords(draft, FULL, PASSES_PRETRAINED, hoped):
            continue
        tried += 1
        machine = lighter.time(name)
        if _affords(draft, FULL, PASSES_PRETRAINED, machine):
            return name, machine
    return None
