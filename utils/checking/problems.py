"""The faults that a dataset can have, in words: what it is, and what to do."""

from typing import NamedTuple

import numpy as np

from utils.data.masks import REFUSED_MASKS
from utils.labels import VOID

_FIX = "python voc_annotation.py --fix writes a corrected copy"


class Fault(NamedTuple):
    """A kind of fault.

    Attributes:
        fatal: bool, whether it makes a training or its scores wrong.
        title: what is wrong; the count stands before it.
        remedy: what to do.
    """

    fatal: bool
    title: str
    remedy: str


FAULTS = {
    "picture_without_mask": Fault(
        False, "pictures have no mask", "Left out of the lists. Add the masks, if there are any."
    ),
    "mask_without_picture": Fault(
        False, "masks have no picture", "Left out of the lists. Add the pictures."
    ),
    "names_almost_pair": Fault(
        True,
        "pictures and masks would pair but for case, spaces or extension",
        "Rename one of each: names must be equal to the letter, masks must be .png.",
    ),
    "duplicate_names": Fault(
        True, "names stand for two files", "Rename or remove one of each two."
    ),
    "picture_broken": Fault(
        True, "pictures can't be read", f"Replace or remove them; {_FIX} without them."
    ),
    "picture_bands": Fault(
        True,
        "pictures have other bands than the network takes",
        "Set in_channels to their number of bands, or replace them.",
    ),
    "mask_broken": Fault(
        True, "masks can't be read", f"Replace or remove them; {_FIX} without them."
    ),
    "sizes_differ": Fault(
        True,
        "masks differ from their picture in size",
        "Check that they belong together and export the masks at the pictures' size.",
    ),
    "mask_lossy": Fault(
        True,
        f"masks hold no class ids: {REFUSED_MASKS['lossy']}",
        "Export them again as PNG; what is lost can't be brought back.",
    ),
    "mask_format": Fault(
        True, f"masks hold no class ids: {REFUSED_MASKS['format']}", "Export them again as PNG."
    ),
    "mask_16-bit": Fault(
        True, f"masks hold no class ids: {REFUSED_MASKS['16-bit']}", f"{_FIX} in 8 bits."
    ),
    "mask_alpha": Fault(
        True, f"masks hold no class ids: {REFUSED_MASKS['alpha']}", f"{_FIX} without it."
    ),
    "mask_colour": Fault(
        True,
        f"masks hold no class ids: {REFUSED_MASKS['colour']}",
        f"{_FIX} with the VOC colours, or with yours: --color_map FILE, lines of 'r g b name'.",
    ),
    "mask_smooth": Fault(
        True,
        "grey masks have anti-aliased edges, whose values are no classes",
        f"{_FIX} with void along the edges.",
    ),
    "ids_0_255": Fault(
        True,
        "masks hold only 0 and 255, and 255 is void: nothing can be learnt",
        f"Change 255 to 1; {_FIX}.",
    ),
    "only_one_class": Fault(
        True, "set holds fewer than two classes: nothing can be learnt", "Check the masks."
    ),
    "ids_with_gaps": Fault(
        True,
        "values stand for class ids, with gaps between",
        f"{_FIX} with ids 0, 1, 2, ... If other classes just don't occur here, give num_classes.",
    ),
    "ids_off_by_one": Fault(
        True,
        "masks count from 1 instead of 0: the largest id equals num_classes",
        "Raise num_classes by 1 (class 0 is then never seen), or take 1 off every id.",
    ),
    "ids_out_of_range": Fault(
        True,
        "masks hold ids that num_classes does not cover",
        "Raise num_classes (largest id + 1), name the values in ignore_labels, or correct them.",
    ),
    "no_background": Fault(False, "set has no id 0", "Fine if there is no background."),
    "class_absent": Fault(
        False, "classes occur in no mask", "They can't be learnt; check num_classes."
    ),
    "class_only_in_val": Fault(
        False,
        "classes are in val but not in train, so they are never learnt",
        "Split anew with --stratify, or add pictures.",
    ),
    "in_both_lists": Fault(
        True,
        "pictures are in both train and val, so scores would flatter",
        "Remove the copies, or keep them on one side with group_by.",
    ),
}


def format_faults(report, only_fatal=False):
    """The faults of a `utils.checking.report.Report` as text, the fatal ones first."""
    lines = []
    kinds = sorted(
        report.faults, key=lambda kind: (not FAULTS[kind].fatal, list(FAULTS).index(kind))
    )
    for kind in kinds:
        fault, found = FAULTS[kind], report.faults[kind]
        if only_fatal and not fault.fatal:
            continue
        lines.append(f"{'fault' if fault.fatal else 'note'}: {found.count:,} {fault.title}")
        lines += [f"    {detail}" for detail in found.first]
        more = found.count - len(found.first)
        if more > 0 and kind not in ("ids_0_255", "ids_off_by_one", "ids_out_of_range"):
            lines.append(f"    and {more:,} more")
        lines.append(f"  do: {fault.remedy}")
    return "\n".join(lines)


def format_report(report):
    """The whole report as text: what the set holds, then its faults, then class weights."""
    sizes = ", ".join(f"{w}x{h} ({n:,})" for (h, w), n in report.sizes.most_common(3))
    more = len(report.sizes) - 3
    modes = ", ".join(f"{mode} ({n:,})" for mode, n in report.modes.most_common())
    lines = [
        f"{report.pairs:,} pairs of picture and mask",
        f"sizes (width x height): {sizes}{f' and {more:,} more' if more > 0 else ''}",
        f"picture modes: {modes}",
        "",
        "value        pixels    share   in pictures",
    ]
    total = max(int(report.pixels.sum()), 1)
    lines += [
        f"{value:>5}  {report.pixels[value]:>12,}  {report.pixels[value] / total:7.2%}"
        f"  {report.pictures[value]:>12,}{'  void' if int(value) in report.ignored else ''}"
        for value in np.flatnonzero(report.pixels)
    ]
    if report.faults:
        lines += ["", format_faults(report)]
    if len(report.classes) > 1 and not report.fatal:
        weights = ", ".join(f"{weight:g}" for weight in class_weights(report))
        lines += [
            "",
            f"for train.py: num_classes: int = {len(class_weights(report))}",
            f"              cls_weights: tuple[float, ...] = ({weights})  # against rare classes",
        ]
    return "\n".join(lines)


def class_weights(report):
    """Median-frequency balancing: the median of the classes' frequencies over each's own.

    The frequency of a class is its share of the pixels of the pictures that hold it. A
    class that never occurs gets weight 1.

    Returns:
        list of float, one a class.

    Source: Eigen and Fergus 2015, arXiv:1411.4734.
    """
    classes = np.array(report.classes)
    frequency = report.pixels[classes] / report.frequency_base[classes]
    weights = [1.0] * (report.num_classes or int(classes.max()) + 1)
    for value, weight in zip(classes, np.median(frequency) / frequency, strict=True):
        weights[value] = float(f"{weight:.4g}")
    return weights


def report_to_dict(report):
    """The report for a JSON file."""
    present = [int(value) for value in np.flatnonzero(report.pixels)]
    return {
        "pairs": report.pairs,
        "num_classes": report.num_classes,
        "ignore_labels": sorted(report.ignored),
        "sizes": {f"{w}x{h}": n for (h, w), n in report.sizes.most_common()},
        "modes": dict(report.modes),
        "values": {
            str(value): {
                "pixels": int(report.pixels[value]),
                "pictures": int(report.pictures[value]),
                "void": value in report.ignored,
            }
            for value in present
        },
        "void_255": int(report.pixels[VOID]),
        "cls_weights": class_weights(report)
        if len(report.classes) > 1 and not report.fatal
        else None,
        "faults": {
            kind: {
                "fatal": FAULTS[kind].fatal,
                "count": found.count,
                "first": found.first,
                "remedy": FAULTS[kind].remedy,
            }
            for kind, found in report.faults.items()
        },
    }
