"""The plan's rules of sizes and steps: how large images are seen, crops, batches, epochs, rate."""

import math

from training.plan_start import PASSES, PASSES_PRETRAINED, SMALLEST

HOURS = 8  # planned for where no time limit is set: a night
_STEPS, _STEPS_SCRATCH = 1500, 4000  # that an optimizer should have; from scratch, if batches allow
_SIDES = (512, 384, 256, 192, 160, 128, 96)  # of a crop
_ON_CPU = 256  # the largest of them there: beyond it steps become few
_BATCHES = (16, 8, 4, 2)
_CACHE = 0.25  # share of the free memory that a decoded set may take
_EPOCH = 20.0  # seconds of training in an epoch, at least: each ends with files


def choose_size(draft):
    """Finds the size at which images are seen; it is chosen with the prediction.

    Args:
        draft: `training.plan.Draft`.
    """
    passes = PASSES_PRETRAINED if draft.pretrained else PASSES
    factor = math.sqrt(draft.passes(draft.width) / passes)
    least = max(SMALLEST, 64 / min(draft.set.size))
    draft.factor = min(max(factor, least), 1.0)
    draft.canvas = tuple(_round(draft.factor * side, draft.stride) for side in draft.set.size)
    if "val_input_shape" in draft.settings:
        draft.canvas = tuple(draft.settings["val_input_shape"])
        draft.factor = min(
            side / full for side, full in zip(draft.canvas, draft.set.size, strict=True)
        )


def _round(side, stride):
    return max(round(side / stride), 2) * stride


def choose_steps(draft):
    """Chooses crops, batch size, epochs and rate.

    Args:
        draft: `training.plan.Draft`.
    """
    crop = _choose_crop(draft)
    batch = _choose_batch(draft, crop)
    draft.crop, draft.steps = crop, _steps(draft, batch, crop)
    draft.seen = draft.steps * batch
    crops_per_image = draft.choose(
        "crops_per_image",
        max(min(round(_EPOCH * draft.seen / draft.seconds / draft.set.count), 100), 1),
        f"an epoch takes some {_EPOCH:.0f} seconds or sees each image once",
    )
    _choose_cache(draft)
    if not draft.settings.get("time_limit"):
        epochs = max(round(draft.seen / (draft.set.count * crops_per_image)), 1)
        draft.choose("unfreeze_epoch", epochs, f"what fits {HOURS} hours here")
    draft.choose("freeze_train", False, "at the same number of steps it was no better")
    rate = 3e-4 if draft.pretrained else 5e-4 if draft.width > 16 else 1e-3
    kind = "pretrained" if draft.pretrained else f"of width {draft.width} from scratch"
    draft.choose("init_lr", rate, f"for a network {kind}")


def _steps(draft, batch, crop):
    """Steps in all, with `batch` crops each."""
    per_pixel = draft.machine.pixel_seconds(draft.width)
    per_step = draft.machine.step_seconds(draft.width)
    return draft.seconds / (per_step + batch * math.prod(crop) * per_pixel)


def _choose_crop(draft):
    sides = [side for side in _SIDES if draft.machine.accelerated or side <= _ON_CPU]
    crops = [tuple(min(side, full) for full in draft.canvas) for side in sides]
    fitting = [crop for crop in crops if 2 * math.prod(crop) <= draft.room] or crops[-1:]
    crop = next((crop for crop in fitting if _steps(draft, 2, crop) >= _STEPS), fitting[-1])
    reason = f"the largest crop with {_STEPS} steps, or the smallest"
    return draft.choose("input_shape", crop, reason)


def _choose_batch(draft, crop):
    least = _STEPS if draft.pretrained else _STEPS_SCRATCH
    fitting = [size for size in _BATCHES if size * math.prod(crop) <= draft.room]
    enough = (size for size in fitting if _steps(draft, size, crop) >= least)
    batch = next(enough, _BATCHES[-1])
    batch = draft.choose("unfreeze_batch_size", batch, f"{_steps(draft, batch, crop):,.0f} steps")
    draft.choose("freeze_batch_size", batch, "the same")
    return batch


def _choose_cache(draft):
    size = draft.set.count * math.prod(draft.set.size) * (draft.set.channels + 1) / 2**30
    fits = draft.machine.memory is not None and size * 2**30 < _CACHE * draft.machine.memory
    draft.choose(
        "cache_gb",
        math.ceil(11 * size) / 10 if fits else 0.0,  # a tenth more: sizes differ
        f"decoded, the set takes {size:.2g} GB" + (", which stays in memory" if fits else ""),
    )
