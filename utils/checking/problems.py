"""The problems that a dataset can have, in words: what it is, and what to do."""

from typing import NamedTuple

import numpy as np

from utils.data.class_weights import median_frequency
from utils.labels import VOID

_FIX = "python voc_annotation.py --fix writes a corrected copy"


class Problem(NamedTuple):
    """A kind of problem.

    Attributes:
        fatal: bool, whether it makes a training or its scores wrong.
        title: what is wrong, in the plural; the count stands after it.
        remedy: what to do.
    """

    fatal: bool
    title: str
    remedy: str


PROBLEMS = {
    "picture_without_mask": Problem(
        False, "images without a mask", "Left out of the lists. Add the masks, if there are any."
    ),
    "mask_without_picture": Problem(
        False, "masks without an image", "Left out of the lists. Add the images."
    ),
    "names_almost_pair": Problem(
        True,
        "images and masks that would pair but for case, spaces or extension",
        f"{_FIX} where they pair, masks as PNG. (Masks compressed with loss, such as JPEG, are "
        "left out: export those again as PNG.)",
    ),
    "names_pair_by_rule": Problem(
        True,
        "rules by which images and masks belong together, though their names differ",
        f"{_FIX} where masks are named as their images.",
    ),
    "listed_without_image": Problem(
        True,
        "lines of lists that name no image",
        "Correct the lists: one name a line, as the files have it, without folder and extension. "
        "Without --check_only the lists are written anew.",
    ),
    "listed_without_mask": Problem(
        True,
        "lines of lists that name an image without a mask",
        "Add the masks, or take the lines out. Without --check_only the lists are written anew.",
    ),
    "other_list_without_image": Problem(
        False,
        "lines of lists that name no image, in lists that are not for training",
        "Correct them if you use these lists.",
    ),
    "duplicate_names": Problem(
        True, "names that stand for two files", "Rename or remove one of each two."
    ),
    "names_unlistable": Problem(
        True,
        "names that a list can't hold: blank, with a line end, or no UTF-8",
        f"Rename the files; {_FIX} without them.",
    ),
    "picture_broken": Problem(
        True, "unreadable images", f"Replace or remove them; {_FIX} without them."
    ),
    "picture_bands": Problem(
        True,
        "images with other channels than the network takes",
        "Set in_channels to their number of channels, or replace them.",
    ),
    "picture_foreign": Problem(
        False,
        "types of files in JPEGImages that can't be read as they are",
        "Left out. Do what is said above, and run this again.",
    ),
    "picture_pages": Problem(
        False, "TIFF files whose pages are read as the channels of one image", "Fine if they are."
    ),
    "picture_more": Problem(
        False,
        "files that hold several images, of which only the first is used",
        "Fine if it is the one that the mask was drawn on; else write each to a file of its own.",
    ),
    "picture_inverted": Problem(
        False,
        "TIFF files whose tag says that 0 is white, read so",
        "Fine if they look right in a viewer.",
    ),
    "values_mixed": Problem(
        True,
        "sets of images with numbers in different ranges, so that one kind would be black",
        "Save all as the same kind of numbers, or set value_range in train.py.",
    ),
    "values_dim": Problem(
        False,
        "images that use under a tenth of the range that all are read in",
        "Fine if they are so dark; else bring them to the range of the others, or set value_range "
        "to percentiles.",
    ),
    "values_beyond": Problem(
        False,
        "images with more than one value in 100 beyond the range, which become black or white",
        "Bring them to the range of the others, or set value_range.",
    ),
    "values_not_finite": Problem(
        False, "images with values that are no numbers or infinite, read as black", "Check them."
    ),
    "mask_broken": Problem(
        True, "unreadable masks", f"Replace or remove them; {_FIX} without them."
    ),
    "sizes_differ": Problem(
        True,
        "masks that differ from their image in size",
        "Check that they belong together and export the masks at the images' size.",
    ),
    "mask_lossy": Problem(
        True,
        "masks compressed with loss, which smears class ids",
        "Export them again as PNG; what is lost can't be brought back.",
    ),
    "mask_format": Problem(True, "masks that are not PNG files", f"{_FIX} as PNG."),
    "mask_several": Problem(
        True,
        "masks that hold several images, of which only the first would count",
        "Write all class ids of an image into a single PNG.",
    ),
    "mask_16-bit": Problem(True, "masks with 16-bit values", f"{_FIX} in 8 bits."),
    "mask_alpha": Problem(
        True,
        "masks with an alpha channel",
        f"{_FIX} without it: what is transparent becomes background, the rest class 1, or classes "
        "by their colours: --color_map FILE.",
    ),
    "mask_colour": Problem(
        True,
        "masks that are colour images",
        f"{_FIX} with the VOC colours, or with yours: --color_map FILE, lines of 'r g b name'.",
    ),
    "mask_smooth": Problem(
        True,
        "grey masks with anti-aliased edges, whose values are not classes",
        f"{_FIX} with void along the edges.",
    ),
    "instances": Problem(
        True,
        "masks whose values number single objects instead of classes",
        "python voc_annotation.py --fix --instances binary makes each object class 1, --instances "
        "class takes value // 1000. If they are classes, give num_classes.",
    ),
    "palettes_differ": Problem(
        True,
        "masks with palettes that differ: one index has several colours, so ids may differ too",
        f"{_FIX}: with VOC's colours or those of most masks, or with yours: --color_map FILE. If "
        "the numbers are the ids, whatever their colours: --palette ids.",
    ),
    "palette_renumbered": Problem(
        True,
        "masks with VOC's colours under other indices than VOC's",
        "If the colours are right: --fix --palette colours. If the numbers are: --palette ids.",
    ),
    "mixed_conventions": Problem(
        True,
        "masks of 0 and 255 among masks with class ids",
        f"{_FIX} with 255 as class 1 in them, if the others hold class 1 alone. If 255 is void "
        "in them: --ignore_labels 255.",
    ),
    "stray_values": Problem(
        True,
        "masks with values of so few pixels that they are no classes",
        f"{_FIX} with void in their place; or correct the masks.",
    ),
    "void_is_class": Problem(
        True,
        "masks in which 255 is one of evenly spaced values, so a class",
        f"{_FIX} with ids 0, 1, 2, ... If 255 is void: --ignore_labels 255.",
    ),
    "void_or_class": Problem(
        True,
        "masks in which 255 may be void or a class",
        'Decide: --ignore_labels 255 says that it is void, --ignore_labels "" with --fix that it '
        "is a class.",
    ),
    "ids_0_255": Problem(
        True,
        "masks that hold only 0 and 255, and 255 is void: nothing can be learnt",
        f"Change 255 to 1; {_FIX}.",
    ),
    "only_one_class": Problem(
        True, "sets of fewer than two classes, from which nothing can be learnt", "Check the masks."
    ),
    "ids_with_gaps": Problem(
        True,
        "values that stand for class ids, with gaps between them",
        f"{_FIX} with ids 0, 1, 2, ... If other classes just don't occur here, give num_classes.",
    ),
    "ids_off_by_one": Problem(
        True,
        "masks that count from 1 instead of 0: the largest id equals num_classes",
        "Raise num_classes by 1 (class 0 is then never seen), or take 1 off every id.",
    ),
    "ids_out_of_range": Problem(
        True,
        "masks with ids that num_classes does not cover",
        "Raise num_classes (largest id + 1), name the values in ignore_labels, or correct them.",
    ),
    "no_background": Problem(False, "sets without the id 0", "Fine if there is no background."),
    "class_absent": Problem(
        False, "classes that occur in no mask", "They can't be learnt; check num_classes."
    ),
    "class_only_in_val": Problem(
        False,
        "classes that are in val but not in train, so they are never learnt",
        "Add images of classes that one image alone holds: it can't be in both. Where several do, "
        "--stratify puts some in train.",
    ),
    "in_both_lists": Problem(
        True,
        "images that are in both train and val, so scores would flatter",
        "Remove the copies, or keep them on one side with group_by.",
    ),
}

# Problems whose details speak for many files or lines, not one each.
_COUNTED_TOGETHER = (
    "listed_without_image", "listed_without_mask", "other_list_without_image",
    "ids_0_255", "ids_off_by_one", "ids_out_of_range", "instances", "palettes_differ",
    "palette_renumbered", "mixed_conventions", "stray_values", "void_is_class", "void_or_class",
)  # fmt: skip


def format_problems(report, only_fatal=False):
    """The problems of a `utils.checking.report.Report` as text, the fatal ones first."""
    kinds = (kind for kind in sort_kinds(report) if report.is_fatal(kind) or not only_fatal)
    return "\n".join(_format_problem(report, kind) for kind in kinds)


def sort_kinds(report):
    """The kinds of problems that a report holds, the fatal ones first."""
    return sorted(
        report.problems, key=lambda kind: (not report.is_fatal(kind), list(PROBLEMS).index(kind))
    )


def list_details(report, kind):
    """The first files, or other details, of a problem: a list of lines, the last for the rest."""
    found = report.problems[kind]
    more = found.count - len(found.first)
    if more > 0 and kind not in _COUNTED_TOGETHER:
        return [*found.first, f"and {more:,} more"]
    return list(found.first)


def _format_problem(report, kind):
    problem, count = PROBLEMS[kind], report.problems[kind].count
    lines = [f"{'problem' if report.is_fatal(kind) else 'note'}: {problem.title}: {count:,}"]
    lines += [f"    {detail}" for detail in list_details(report, kind)]
    return "\n".join([*lines, f"  do: {problem.remedy}"])


def format_brightness(report):
    """What images of more than 8 bits are read in, and what is odd about it, as text; or ""."""
    kinds = [kind for kind in report.problems if kind.startswith(("values_", "picture_more"))]
    lines = [report.brightness.text] if report.brightness.text else []
    return "\n".join([*lines, *(_format_problem(report, kind) for kind in kinds)])


def format_report(report):
    """The whole report as text: what the set holds, then its problems, then class weights."""
    sizes = ", ".join(f"{w}x{h} ({n:,})" for (h, w), n in report.sizes.most_common(3))
    more = len(report.sizes) - 3
    modes = ", ".join(f"{mode} ({n:,})" for mode, n in report.modes.most_common())
    lines = [
        f"{report.pairs:,} pairs of image and mask",
        f"sizes (width x height): {sizes}{f' and {more:,} more' if more > 0 else ''}",
        f"image modes: {modes}",
        *([report.brightness.text] if report.brightness.text else []),
        "",
        "value        pixels    share   in images",
    ]
    total = max(int(report.pixels.sum()), 1)
    lines += [
        f"{value:>5}  {report.pixels[value]:>12,}  {report.pixels[value] / total:7.2%}"
        f"  {report.images[value]:>12,}{'  void' if int(value) in report.ignored else ''}"
        for value in np.flatnonzero(report.pixels)
    ]
    if report.problems:
        lines += ["", format_problems(report)]
    if report.meaning.readings:
        lines += ["", "how --fix reads the masks:"]
        lines += [f"    {reading}" for reading in report.meaning.readings]
    if len(report.classes) > 1 and not report.fatal:
        weights = ", ".join(f"{weight:g}" for weight in class_weights(report))
        lines += [
            "",
            f"for train.py: num_classes: int = {len(class_weights(report))}",
            f"              cls_weights: tuple[float, ...] = ({weights})  # against rare classes",
        ]
    return "\n".join(lines)


def class_weights(report):
    """What `cls_weights` "balanced" would be, with four digits, as a list of float."""
    count = report.num_classes or max(report.classes) + 1
    pixels = np.where(np.isin(np.arange(256), report.classes), report.pixels, 0)[:count]
    weights = median_frequency(pixels, report.frequency_base[:count])
    return [float(f"{weight:.4g}") for weight in weights]


def report_to_dict(report):
    """The report for a JSON file."""
    present = [int(value) for value in np.flatnonzero(report.pixels)]
    return {
        "pairs": report.pairs,
        "num_classes": report.num_classes,
        "ignore_labels": sorted(report.ignored),
        "sizes": {f"{w}x{h}": n for (h, w), n in report.sizes.most_common()},
        "modes": dict(report.modes),
        "value_range": report.brightness.value_range,
        "values": {
            str(value): {
                "pixels": int(report.pixels[value]),
                "pictures": int(report.images[value]),
                "void": value in report.ignored,
            }
            for value in present
        },
        "void_255": int(report.pixels[VOID]),
        "cls_weights": class_weights(report)
        if len(report.classes) > 1 and not report.fatal
        else None,
        "readings": report.meaning.readings,
        "faults": {
            kind: {
                "fatal": report.is_fatal(kind),
                "count": found.count,
                "first": found.first,
                "remedy": PROBLEMS[kind].remedy,
            }
            for kind, found in report.problems.items()
        },
    }
