"""Writes a corrected copy of a dataset; the original is never touched.

Everything goes into a hidden folder first, which gets its final name at the very end, so an
interruption leaves nothing half-written under that name.
"""

import os
import re
import shutil
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from PIL.ExifTags import Base

from errors import UserError
from utils.checking.content import decode, read_content
from utils.checking.meaning import find_meaning
from utils.checking.preview import SHOWN, show_mask
from utils.checking.problems import PROBLEMS
from utils.checking.relabel import to_ids
from utils.data.masks import mask_to_image
from utils.data.split import split_names
from utils.data.voc import write_lists
from utils.files import naming, temporary_path, write_json
from utils.images.channels import to_array
from utils.images.header import read_header
from utils.images.opening import open_image
from utils.images.reading import read_image, read_to_show
from utils.messages import say
from utils.parallel import ordered_map
from utils.plots import before_after_sheet

_LISTED = 20  # colours and files that are listed
_ALONE = {
    "picture_without_mask": "it has no mask",
    "mask_without_picture": "it has no image",
    "duplicate_names": "one name stands for two files",
    "names_unlistable": "a list can't hold the name",
}


@dataclass
class FixedPair:
    """What became of a sample.

    Attributes:
        name: str.
        left_out: str, why it is not in the copy; "" if it is.
        mask_changed, image_changed: bool.
        unknown: Counter of colours or values that stand for no class.
    """

    name: str
    left_out: str = ""
    mask_changed: bool = False
    image_changed: bool = False
    unknown: Counter = field(default_factory=Counter)


def fix_dataset(folder, pairs, *, workers=0, border=False, **rules):
    """Writes `<folder>_fixed` beside a VOC folder, with lists, a contact sheet and a report.

    Args:
        folder: Path of the VOC folder (the one that holds JPEGImages).
        pairs: (samples, almost, problems), as `utils.checking.pairs.find_pairs` gives them.
        workers: int, threads; 0: automatic.
        border: bool, whether background parts instances that touch.
        rules: color_map, num_classes, ignore_labels, palette and instances, as in
            `utils.checking.meaning.judge`.

    Returns:
        int: 0 if anything could be kept, else 2.

    Raises:
        UserError: if the target exists, the colour map can't be used, or the masks may mean two
            things and no setting says which.
    """
    folder = Path(os.path.abspath(folder))  # "." has no name
    target = folder.with_name(f"{folder.name}_fixed")
    if target.exists():
        raise UserError(f"{target} exists already. Remove or rename it, then run this again.")
    samples, almost, problems = pairs
    samples = sorted(_without_duplicates([*samples, *almost], problems))
    temporary = temporary_path(folder.parent)
    try:
        _make_folders(temporary, folder, target)
        paths = [sample.mask_path for sample in samples]
        contents = ordered_map(read_content, paths, workers, "Reading the masks")
        meaning = _decide(contents, rules)
        work = partial(_fix_sample, folder=temporary, meaning=meaning, border=border)
        with naming(target, temporary):
            outcomes = list(ordered_map(work, samples, workers, "Writing the copy"))
        outcomes += [
            FixedPair(text, left_out=_ALONE[kind]) for kind, text in problems if kind in _ALONE
        ]
        changed = [one for one in outcomes if one.mask_changed or one.image_changed or one.left_out]
        if not changed and not almost:
            say(f"Nothing to fix: all {len(samples)} pairs are as they should be.")
            return 0
        kept = [one.name for one in outcomes if not one.left_out]
        if kept:
            _finish(temporary, samples, outcomes, meaning)
            os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    say(_summary(outcomes, meaning, target if kept else None))
    renamed = {sample.name for sample in almost}.intersection(kept)
    if renamed:
        say(f"The masks of {len(renamed):,} pairs are named as their images.")
    return 0 if kept else 2


def _decide(contents, rules):
    """The Meaning of masks; UserError where a setting must decide."""
    meaning = find_meaning(contents, **rules)
    if meaning.undecided:
        doubt = meaning.undecided
        raise UserError(
            f"The masks may mean two things, so nothing was written. {PROBLEMS[doubt.kind].title}: "
            f"{doubt.detail}\n  do: {PROBLEMS[doubt.kind].remedy}"
        )
    return meaning


def _make_folders(temporary, folder, target):
    try:
        for name in ("JPEGImages", "SegmentationClass"):
            (temporary / name).mkdir(parents=True)
    except OSError as error:
        raise UserError(
            f"{target} can't be written: {error.strerror}. The copy goes beside the dataset: copy "
            f"{folder} to a place where you may write, and give that as VOCdevkit_path."
        ) from error


def _without_duplicates(samples, problems):
    """Drops pairs of which a file's name stands twice: which one is meant can't be known."""
    texts = [text for kind, text in problems if kind == "duplicate_names"]
    # A text is "NAME and OTHER", and names may hold " and " too.
    first = {text[: match.start()] for text in texts for match in re.finditer(" and ", text)}
    return [one for one in samples if not {one.image_path.name, one.mask_path.name} & first]


def _fix_sample(sample, folder, meaning, border):
    """Writes the corrected image and mask of a sample, or says why not."""
    outcome = FixedPair(sample.name)
    content = read_content(sample.mask_path)
    ids, outcome.left_out, outcome.unknown = to_ids(content, meaning, border)
    if ids is None:
        return outcome
    try:
        changed = _fit_image(sample.image_path, ids.shape)
    except UserError as error:
        outcome.left_out = str(error)
        return outcome
    outcome.image_changed = changed is not None
    _write_image(sample, changed, folder / "JPEGImages")
    outcome.mask_changed = _write_mask(sample, ids, folder / "SegmentationClass")
    return outcome


def _fit_image(path, size):
    """The image turned to fit its mask, or None if it needs no change.

    One with more than three channels, or more than 8 bits, is never changed: what is written
    anew has three of 8 bits.

    Raises:
        UserError: if it is broken, or fits no way.
    """
    header = read_header(path)
    if header.is_deep or not header.by_pillow:
        channels = 3 if 3 in header.channels else header.channels[0]
        found = read_image(path, in_channels=channels).shape[:2]
        fits, turned = found == size, None
    else:
        image = open_image(path)
        turned, found = _turn_to_fit(image, size), image.size[::-1]
        fits, turned = turned is not None, turned if turned is not image else None
        if header.channels[-1] > 3 and turned is not None:
            fits, turned = header.size == size, None
    if not fits:
        raise UserError(f"image {found} and mask {size} differ in size")
    return turned


def _turn_to_fit(image, size):
    """The image as its mask was drawn on it: itself, upright, or as stored without EXIF.

    Returns:
        PIL.Image, the very same one if it needs no change; None if no way fits.
    """
    upright = ImageOps.exif_transpose(image)
    if image.getexif().get(Base.Orientation, 1) == 1:
        return image if image.size[::-1] == size else None
    if upright.size[::-1] == size:
        return upright
    if image.size[::-1] != size:
        return None
    stored = image.copy()
    stored.getexif().clear()
    stored.info.pop("exif", None)
    return stored


def _write_image(sample, changed, folder):
    if changed is None:
        shutil.copyfile(sample.image_path, folder / f"{sample.name}{sample.image_path.suffix}")
        return
    # Without loss, and without the EXIF that would turn it again.
    bare = Image.fromarray(to_array(changed))
    bare.save(folder / f"{sample.name}.png")


def _write_mask(sample, ids, folder):
    """Writes a mask; returns whether it differs from the original."""
    path = folder / f"{sample.name}.png"
    content = read_content(sample.mask_path)
    with Image.open(sample.mask_path) as image:
        plain = image.format == "PNG" and image.mode in ("P", "L", "1")
    if plain and content.values is not None and np.array_equal(content.values, ids):
        shutil.copyfile(sample.mask_path, path)
        return False
    mask_to_image(ids).save(path)
    return True


def _finish(folder, samples, outcomes, meaning):
    """Adds lists, class names, the report and the contact sheet."""
    kept = [one.name for one in outcomes if not one.left_out]
    write_lists(folder, split_names(kept))
    if meaning.names:
        (folder / "classes.txt").write_text("\n".join(meaning.names) + "\n", encoding="utf-8")
    report = {
        "kept": len(kept),
        "masks_changed": [one.name for one in outcomes if one.mask_changed],
        "pictures_changed": [one.name for one in outcomes if one.image_changed],
        "left_out": {one.name: one.left_out for one in outcomes if one.left_out},
        "values_to_ids": {str(value): index for value, index in meaning.ids.items()},
        "colors_to_ids": {
            decode(code): index for code, index in meaning.codes.items() if meaning.by_color
        },
        "readings": meaning.readings,
    }
    write_json(folder / "fix_report.json", report)
    by_name = {sample.name: sample for sample in samples}
    shown = [one.name for one in outcomes if one.mask_changed][:SHOWN]
    if shown:
        rows = [_row(by_name[name], folder / "SegmentationClass" / f"{name}.png") for name in shown]
        before_after_sheet(rows, folder / "before_after.png")


def _row(sample, fixed):
    with Image.open(fixed) as after:
        ids = np.array(after)
    return sample.name, read_to_show(sample.image_path), show_mask(sample), ids


def _summary(outcomes, meaning, target):
    left_out = [one for one in outcomes if one.left_out]
    masks = sum(one.mask_changed for one in outcomes)
    images = sum(one.image_changed for one in outcomes)
    lines = [
        f"{len(outcomes) - len(left_out):,} pairs kept: {masks:,} masks and {images:,} images "
        f"changed; {len(left_out):,} left out."
    ]
    lines += meaning.readings
    moved = {value: index for value, index in meaning.ids.items() if value != index}
    if masks and moved:
        lines.append("values to ids: " + ", ".join(f"{v} -> {i}" for v, i in meaning.ids.items()))
    lines += [f"  left out: {one.name}: {one.left_out}" for one in left_out[:_LISTED]]
    if len(left_out) > _LISTED:
        lines.append(f"  and {len(left_out) - _LISTED:,} more, all in fix_report.json")
    unknown = sum((one.unknown for one in outcomes), Counter())
    if unknown:
        lines.append("without a class (name colours in a file for --color_map):")
        lines += [f"  {key}: {count:,} pixels" for key, count in unknown.most_common(_LISTED)]
    if target:
        lines.append(f"The corrected copy is {target}; train with --VOCdevkit_path {target}.")
    else:
        lines.append("Nothing could be kept, so nothing was written.")
    return "\n".join(lines)
