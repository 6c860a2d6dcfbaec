"""Writes a corrected copy of a dataset; the original is never touched.

Everything goes into a hidden folder first, which gets its final name at the very end, so an
interruption leaves nothing half-written under that name.
"""

import os
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from errors import UserError
from utils.checking.content import decode, read_content
from utils.checking.correction import FixedPair, correct
from utils.checking.meaning import Meaning, find_meaning
from utils.checking.preview import SHOWN, show_mask
from utils.checking.problems import PROBLEMS
from utils.data.masks import mask_to_image
from utils.data.split import split_names
from utils.data.voc import write_lists
from utils.files import naming, temporary_path, write_json
from utils.images.channels import to_array
from utils.images.reading import read_to_show
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


@dataclass(frozen=True)
class Plan:
    """What a corrected copy makes of a set.

    Attributes:
        samples: list of `utils.data.voc.Sample`, those that pair or nearly do.
        outcomes: list of FixedPair, of these and of the files that pair with none.
        meaning: `utils.checking.meaning.Meaning` of the masks.
        renamed: set of the names of pairs whose masks are named as their images in the copy.
    """

    samples: list
    outcomes: list[FixedPair]
    meaning: Meaning
    renamed: set[str]

    @property
    def kept(self):
        """Names of the pairs that the copy holds."""
        return [one.name for one in self.outcomes if not one.left_out]

    @property
    def is_needless(self):
        """Whether all is as it should be."""
        return not self.renamed and not any(
            one.mask_changed or one.image_changed or one.left_out for one in self.outcomes
        )


def plan_fix(pairs, *, workers=0, border=False, **rules):
    """What `fix_dataset` makes of a set; nothing is written.

    Args:
        pairs, workers, border, rules: as for `fix_dataset`.

    Returns:
        Plan.

    Raises:
        UserError: as `fix_dataset`, but for the target.
    """

    def work(sample, meaning):
        return correct(sample, meaning, border)[0]

    return _go_through(pairs, workers, rules, work, "Trying the corrections")


def fixed_folder(folder):
    """Path of the corrected copy of a VOC folder."""
    folder = Path(os.path.abspath(folder))  # "." has no name
    return folder.with_name(f"{folder.name}_fixed")


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
    target = fixed_folder(folder)
    if target.exists():
        raise UserError(f"{target} exists already. Remove or rename it, then run this again.")
    temporary = temporary_path(target.parent)
    try:
        _make_folders(temporary, folder, target)
        work = partial(_fix_sample, folder=temporary, border=border)
        with naming(target, temporary):
            plan = _go_through(pairs, workers, rules, work, "Writing the copy")
        if plan.is_needless:
            say(f"Nothing to fix: all {len(plan.samples)} pairs are as they should be.")
            return 0
        if plan.kept:
            _finish(temporary, plan)
            os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    say(describe(plan))
    if plan.kept:
        say(f"The corrected copy is {target}; train with --VOCdevkit_path {target}.")
    else:
        say("Nothing could be kept, so nothing was written.")
    return 0 if plan.kept else 2


def _go_through(pairs, workers, rules, work, title):
    """The Plan of a set; `work` is called with each sample and `meaning`, for its FixedPair."""
    samples, almost, problems = pairs
    samples = sorted(_without_duplicates([*samples, *almost], problems))
    paths = [sample.mask_path for sample in samples]
    meaning = _decide(ordered_map(read_content, paths, workers, "Reading the masks"), rules)
    work = partial(work, meaning=meaning)
    outcomes = list(ordered_map(work, samples, workers, title))
    kept = {one.name for one in outcomes if not one.left_out}
    outcomes += [
        FixedPair(text, left_out=_ALONE[kind]) for kind, text in problems if kind in _ALONE
    ]
    return Plan(samples, outcomes, meaning, {sample.name for sample in almost} & kept)


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
    outcome, ids, turned = correct(sample, meaning, border)
    if ids is not None:
        _write_image(sample, turned, folder / "JPEGImages")
        _write_mask(sample, ids if outcome.mask_changed else None, folder / "SegmentationClass")
    return outcome


def _write_image(sample, changed, folder):
    if changed is None:
        shutil.copyfile(sample.image_path, folder / f"{sample.name}{sample.image_path.suffix}")
        return
    # Without loss, and without the EXIF that would turn it again.
    bare = Image.fromarray(to_array(changed))
    bare.save(folder / f"{sample.name}.png")


def _write_mask(sample, changed, folder):
    path = folder / f"{sample.name}.png"
    if changed is None:
        shutil.copyfile(sample.mask_path, path)
    else:
        mask_to_image(changed).save(path)


def _finish(folder, plan):
    """Adds lists, class names, the report and the contact sheet."""
    outcomes, meaning = plan.outcomes, plan.meaning
    write_lists(folder, split_names(plan.kept))
    if meaning.names:
        (folder / "classes.txt").write_text("\n".join(meaning.names) + "\n", encoding="utf-8")
    report = {
        "kept": len(plan.kept),
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
    by_name = {sample.name: sample for sample in plan.samples}
    shown = report["masks_changed"][:SHOWN]
    if shown:
        rows = [_row(by_name[name], folder / "SegmentationClass" / f"{name}.png") for name in shown]
        before_after_sheet(rows, folder / "before_after.png")


def _row(sample, fixed):
    with Image.open(fixed) as after:
        ids = np.array(after)
    return sample.name, read_to_show(sample.image_path), show_mask(sample), ids


def describe(plan):
    """What a copy changes and leaves out, and how it reads the masks, as text."""
    outcomes, meaning = plan.outcomes, plan.meaning
    left_out = [one for one in outcomes if one.left_out]
    masks = sum(one.mask_changed for one in outcomes)
    images = sum(one.image_changed for one in outcomes)
    lines = [
        f"{len(plan.kept):,} pairs kept: {masks:,} masks and {images:,} images changed; "
        f"{len(left_out):,} left out."
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
    if plan.renamed:
        lines.append(f"The masks of {len(plan.renamed):,} pairs are named as their images.")
    return "\n".join(lines)
