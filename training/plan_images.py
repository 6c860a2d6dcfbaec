"""The plan's rules of images: their scale, prediction, augmentation, and the loss."""

import math

_ALIKE = 0.85  # likeness from which an image may be turned or mirrored
_BESIDE = 0.5  # pixels by which masks lie beside the images from which they may not
_OFTEN = 100  # times all of an image is seen from which it should not look the same
_RARE = 0.03  # share of a class that is rare
_WHOLE = 1_500_000  # pixels that are predicted at once
_WINDOW = 512


def choose_prediction(draft):
    """Chooses the scale of training and the size of prediction.

    Args:
        draft: `training.plan.Draft`.
    """
    aspect = draft.set.size[1] / draft.set.size[0]
    by_height = aspect < draft.crop[1] / draft.crop[0]
    middle = draft.canvas[0] / draft.crop[0] if by_height else draft.canvas[1] / draft.crop[1]
    fixed = draft.set.turned >= _ALIKE and draft.set.upside_down >= _ALIKE
    low, high = (0.85, 1.2) if fixed else (0.7, 1.4)
    thin = f"{draft.thinnest:.0f} pixels, {draft.thinnest * draft.factor:.1f} then"
    draft.choose(
        "scale",
        (round(low * middle, 2), round(high * middle, 2)),
        f"{draft.factor:.0%} of the images' size; thinnest structures {thin}; "
        + ("no up or down: as through a microscope" if fixed else "near and far"),
    )
    draft.choose("jitter", 0.1 if fixed else 0.3, "change of the aspect ratio")
    draft.choose("val_input_shape", draft.canvas, "the middle of the scale")
    pixels = math.prod(draft.canvas)
    if pixels > min(_WHOLE, draft.room):
        window = tuple(min(_WINDOW, side) for side in draft.canvas)
        draft.choose("val_window", window, f"{pixels / 1e6:.1f} megapixels are too many at once")


def choose_augmentation(draft):
    """Chooses flips, turns, and what else changes images that are seen again and again.

    Args:
        draft: `training.plan.Draft`.
    """
    down, right = map(abs, draft.set.offset)
    alike = {
        "flip": (draft.set.mirrored, "mirrored", right),
        "flip_vertical": (draft.set.upside_down, "upside down", down),
        "quarter_turn": (draft.set.turned, "turned by 90 degrees", max(down, right)),
    }
    for name, (likeness, how, beside) in alike.items():
        fits = beside < _BESIDE
        reason = f"{how}, images are {likeness:.0%} alike"
        if likeness >= _ALIKE and not fits:
            # Mirrored, they would lie as far on the other side, and no network could do both.
            reason += f"; but masks lie {beside:.1f} pixels beside what they show"
        draft.choose(name, 0.5 if likeness >= _ALIKE and fits else 0.0, reason)
    free = min(draft.set.turned, draft.set.upside_down, draft.set.mirrored) >= _ALIKE
    # A crop is a part of an image: ten crops of a tenth show it once.
    shown = draft.seen * min(math.prod(draft.crop) / math.prod(draft.canvas), 1)
    times = shown / draft.set.count
    often = times >= _OFTEN
    reason = f"each pixel is seen {times:,.0f} times" + ("" if often else ": rarely")
    turned = reason if free else "directions matter"
    draft.choose("rotation", 30.0 if free and often else 0.0, turned)
    draft.choose("elastic", 0.02 if free and often else 0.0, turned)
    for name, strength in (("gamma", 0.3), ("noise", 5.0), ("blur", 1.0)):
        draft.choose(name, strength if often else 0.0, reason)
    small = math.prod(draft.crop) < math.prod(draft.canvas) / 2
    rare = [share for share in draft.set.shares if 0 < share < _RARE]
    if small and rare:
        draft.choose("rare_crops", 0.3, f"crops of a part; classes below {_RARE:.0%}: {len(rare)}")
    else:
        draft.choose("rare_crops", 0.0, "no class below 3%" if not rare else "crops hold most")


def choose_loss(draft):
    """Chooses class weights, and which classes Dice loss averages.

    Args:
        draft: `training.plan.Draft`.
    """
    shares = [share for share in draft.set.shares if share > 0]
    if len(shares) > 1 and max(shares) / min(shares) > 10:
        middle = sorted(shares)[len(shares) // 2]
        weights = tuple(
            round(min(max(math.sqrt(middle / share), 0.5), 3.0), 2) if share else 1.0
            for share in draft.set.shares
        )
        reason = "root of (median share / share), 0.5 to 3: " + (
            f"shares from {min(shares):.1%} to {max(shares):.0%}"
        )
        draft.choose("cls_weights", weights, reason)
    else:
        draft.choose("cls_weights", (), "no class is a tenth of another")
    many = len(draft.set.shares) > 3
    reason = "a crop holds some classes" if many else "crops hold all classes"
    draft.choose("dice_present_only", many, reason)
