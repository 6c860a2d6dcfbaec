"""Splits a VOC folder into training and validation: python voc_annotation.py

Writes ImageSets/Segmentation/{train,val,trainval,test}.txt, and prints how many pixels
each value of the masks has, so that a wrong num_classes shows before the training.
"""

import random
from fractions import Fraction

import numpy as np

from errors import UserError
from utils.check import label_histogram
from utils.config import load_config, run_script, settings
from utils.metrics import VOID
from utils.voc import Sample, index_dataset, list_path


@settings
class AnnotationConfig:
    # Data
    VOCdevkit_path: str = "VOCdevkit"  # folder that holds VOC2007
    # Split
    trainval_percent: float = (
        1.0  # share of all pictures for training and validation; the rest: test
    )
    train_percent: float = 0.9  # share of those for training
    seed: int = 0  # of the shuffle
    num_workers: int = 2  # threads that read masks

    def check(self):
        """Raises UserError for shares that are no shares."""
        for name in ("trainval_percent", "train_percent"):
            if not 0 < getattr(self, name) <= 1:
                raise UserError(
                    f"{name} is a share: above 0, at most 1; got {getattr(self, name)}."
                )
        if self.num_workers < 1:
            raise UserError(f"num_workers must be at least 1; got {self.num_workers}.")


def main(config=None):
    """Splits; `config` is an AnnotationConfig, or None to read the command line."""
    config = config or load_config(AnnotationConfig)
    samples = find_pairs(config.VOCdevkit_path)
    histogram = label_histogram(samples, config.num_workers)
    lists = split_names(
        [sample.name for sample in samples],
        config.trainval_percent,
        config.train_percent,
        config.seed,
    )
    write_lists(config.VOCdevkit_path, lists)
    print(format_histogram(histogram))
    for split, names in lists.items():
        print(f"{split + '.txt':<13}{len(names):>7} pictures")


def find_pairs(VOCdevkit_path):
    """All pictures with their masks, sorted by name.

    Raises:
        UserError: if there are none, or a picture or mask stands alone.
    """
    pictures, masks = index_dataset(VOCdevkit_path)
    alone = [
        f"  {len(names)} {kind}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
        for kind, names in (
            ("pictures without a mask", sorted(pictures.keys() - masks.keys())),
            ("masks without a picture", sorted(masks.keys() - pictures.keys())),
        )
        if names
    ]
    if not pictures and not masks:
        raise UserError(
            f"{VOCdevkit_path} holds no pictures and no masks. Put pictures into JPEGImages "
            "and PNG masks of the same names into SegmentationClass."
        )
    if alone:
        raise UserError(
            "Pictures and masks pair by their name without extension (case counts). Alone are\n"
            + "\n".join(alone)
            + "\nRename, add or remove these files."
        )
    return [Sample(name, path, masks[name]) for name, path in pictures.items()]


def split_names(names, trainval_percent, train_percent, seed):
    """Splits names exactly: counts are rounded to the nearest.

    Training gets at least one picture, and so does validation where there are two and
    train_percent is below 1.

    Args:
        names: list of str; its order does not matter.
        trainval_percent: float in (0, 1].
        train_percent: float in (0, 1].
        seed: int.

    Returns:
        dict of sorted lists: train, val, trainval, test.
    """
    shuffled = sorted(names)
    random.Random(seed).shuffle(shuffled)
    # Fractions of the decimal numbers: in binary, 0.07 * 100 is 7.000000000000001.
    trainval_count = max(round_half_up(Fraction(str(trainval_percent)) * len(names)), 1)
    train_count = max(round_half_up(Fraction(str(train_percent)) * trainval_count), 1)
    if train_percent < 1 and trainval_count > 1:
        train_count = min(train_count, trainval_count - 1)
    return {
        "train": sorted(shuffled[:train_count]),
        "val": sorted(shuffled[train_count:trainval_count]),
        "trainval": sorted(shuffled[:trainval_count]),
        "test": sorted(shuffled[trainval_count:]),
    }


def round_half_up(value):
    """Rounds a Fraction to the nearest int, halves up."""
    return int(value + Fraction(1, 2))


def write_lists(VOCdevkit_path, lists):
    """Writes each list as one name a line."""
    for split, names in lists.items():
        path = list_path(VOCdevkit_path, split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8", newline="\n")


def format_histogram(histogram):
    """A table of the mask values that occur, and a warning for typical mistakes."""
    values = np.flatnonzero(histogram)
    total = histogram.sum()
    lines = ["value        pixels    share"]
    lines += [
        f"{value:>5}  {histogram[value]:>12,}  {histogram[value] / total:7.2%}"
        + ("  void (the default of ignore_labels)" if value == VOID else "")
        for value in values
    ]
    classes = [int(value) for value in values if value != VOID]
    lines.append(f"num_classes for these masks: {max(classes, default=0) + 1}, if 255 is void")
    if not classes:
        lines.append("warning: the masks hold only 255, which is void: nothing can be learnt.")
    elif classes == [0]:
        lines.append(
            "warning: the masks hold only 0"
            + (" and 255. Change 255 to 1, or nothing is learnt." if VOID in values else ".")
        )
    elif classes != list(range(max(classes) + 1)):
        lines.append("warning: some ids below the largest never occur. Ids should be 0, 1, 2, ...")
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)
