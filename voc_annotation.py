"""Checks a VOC folder and splits it into training and validation: python voc_annotation.py

Reads every image and mask, says what the set holds and what is wrong with it, and writes
ImageSets/Segmentation/{train,val,trainval,test}.txt if nothing is.
--check_only leaves your lists alone; --fix writes a corrected copy, VOC2007_fixed.
"""

import sys

from errors import UserError, check_at_least
from nets.checks import check_num_classes
from utils.checking.fix import fix_dataset
from utils.checking.pairs import find_pairs
from utils.checking.problems import format_report, report_to_dict
from utils.checking.report import Report, scan_into
from utils.config import load_config, run_script, settings
from utils.data.split import make_folds, split_names
from utils.data.voc import list_path, read_list, voc_folder, write_lists
from utils.files import write_json
from utils.labels import check_ignore_labels


@settings
class AnnotationConfig:
    # Data
    VOCdevkit_path: str = "VOCdevkit"  # folder that holds VOC2007
    num_classes: int | None = None  # classes + 1 for the background, to check against; None: any
    ignore_labels: tuple[int, ...] = (255,)  # mask values that are void
    num_workers: int = 0  # threads that read files; 0: one per processor

    # What to do
    check_only: bool = False  # whether to check with the lists that are there, and write none
    fix: bool = False  # whether to write a corrected copy beside the dataset
    color_map: str = ""  # for fix: text file with lines 'r g b name', the background first

    # Split
    trainval_percent: float = 1.0  # share of all images for training and validation; the rest: test
    train_percent: float = 0.9  # share of those for training
    seed: int = 0  # of the shuffle
    stratify: bool = False  # whether each class is in train and val in proportion
    group_by: str = ""  # regular expression: names with the same match stay on one side
    folds: int = 0  # parts for cross-validation: train_0, val_0, ...; 0: one split

    def check(self):
        """Raises UserError for values that make no sense."""
        for name in ("trainval_percent", "train_percent"):
            if not 0 < getattr(self, name) <= 1:
                raise UserError(
                    f"{name} is a share: above 0, at most 1; got {getattr(self, name)}."
                )
        check_at_least(self, 0, "num_workers", "folds")
        if self.num_classes is not None:
            check_num_classes(self.num_classes)
        check_ignore_labels(self.ignore_labels)
        if self.fix and self.check_only:
            raise UserError("fix writes and check_only does not: give one of them.")


def main(config=None):
    """Checks and splits; `config` is an AnnotationConfig, or None to read the command line.

    Returns:
        int, exit status: 2 if a problem makes a training wrong, else 0.
    """
    config = config or load_config(AnnotationConfig)
    pairs = samples, almost, name_problems = find_pairs(config.VOCdevkit_path)
    if not samples and not almost:
        foreign = [detail for kind, detail in name_problems if kind == "picture_foreign"]
        raise UserError(
            f"{voc_folder(config.VOCdevkit_path)} holds no image with a mask. Put images into "
            "JPEGImages and PNG masks of the same names into SegmentationClass."
            + "".join(f" JPEGImages holds {text}." for text in foreign)
        )
    if config.fix:
        folder = voc_folder(config.VOCdevkit_path)
        return fix_dataset(
            folder,
            pairs,
            config.color_map,
            config.num_classes,
            config.ignore_labels,
            config.num_workers,
        )
    report = Report(config.num_classes, config.ignore_labels)
    for kind, detail in name_problems:
        report.problem(kind, detail)
    scan_into(report, samples, config.num_workers)
    lists = known_lists(config) if config.check_only else make_lists(config, samples, report)
    report.finish(lists)
    print(format_report(report))
    write_check(report, list_path(config.VOCdevkit_path, "x").with_name("check_report.json"))
    if report.fatal:
        print(
            "error: The data has problems that make a training wrong, see above. No lists were "
            "written.",
            file=sys.stderr,
        )
        return 2
    if not config.check_only:
        write_lists(config.VOCdevkit_path, lists)
        for split, names in lists.items():
            print(f"{split + '.txt':<14}{len(names):>7} images")
        if not lists.get("val", True):
            print("note: val.txt is empty, and train.py needs it: lower train_percent, add images.")
    return 0


def write_check(report, path):
    """Writes the report as JSON; where the dataset is read-only, says so instead."""
    try:
        write_json(path, report_to_dict(report))
    except OSError as error:
        print(f"note: the report is not written: {error}", file=sys.stderr)


def make_lists(config, samples, report):
    """Splits the pairs as the settings say."""
    options = {
        "seed": config.seed,
        "group_by": config.group_by,
        "presence": _classes_of(report) if config.stratify else None,
    }
    names = [sample.name for sample in samples]
    if config.folds:
        return make_folds(names, config.folds, **options)
    return split_names(names, config.trainval_percent, config.train_percent, **options)


def _classes_of(report):
    return {name: values - report.ignored for name, values in report.presence.items()}


def known_lists(config):
    """The lists that are there, for a check without writing."""
    folder = list_path(config.VOCdevkit_path, "x").parent
    names = sorted(path.stem for path in folder.glob("*.txt"))
    return {name: read_list(config.VOCdevkit_path, name) for name in names if _holds(folder, name)}


def _holds(folder, name):
    return (folder / f"{name}.txt").read_bytes().strip() != b""


if __name__ == "__main__":
    run_script(main)
