"""Checks a VOC folder and splits it into training and validation: python voc_annotation.py

Reads every image and mask, says what the set holds and what is wrong with it, and writes
ImageSets/Segmentation/{train,val,trainval,test}.txt if nothing is.
--lists_dir FOLDER puts the lists elsewhere, for a dataset that can't be written to.
--check_only leaves your lists alone; --fix writes a corrected copy, VOC2007_fixed.
"""

import os
import shlex
import sys
from pathlib import Path

from errors import UserError, check_at_least, check_choice
from nets.checks import check_num_classes
from utils.checking.fix import fix_dataset
from utils.checking.listed import match_lists
from utils.checking.meaning import INSTANCES, PALETTES
from utils.checking.pairs import find_pairs
from utils.checking.preview import preview
from utils.checking.problems import format_report, report_to_dict
from utils.checking.report import Report, scan_into
from utils.config import load_config, run_script, settings
from utils.data.lists import read_lines
from utils.data.split import make_folds, split_names
from utils.data.voc import list_path, voc_folder, write_lists
from utils.files import write_json
from utils.labels import check_ignore_labels
from utils.runs.summary import command

_FEW = 10  # images to validate, below which scores hang on which they are
_FOLDS = 5
_USED = ("train", "val")  # how the names of lists begin that train.py needs


@settings
class AnnotationConfig:
    # Data
    VOCdevkit_path: str = "VOCdevkit"  # folder that holds VOC2007
    num_classes: int | None = None  # classes + 1 for the background, to check against; None: any
    ignore_labels: tuple[int, ...] | None = None  # void in masks; None: 255, if used so
    num_workers: int = 0  # threads that read files; 0: one per processor
    lists_dir: str = ""  # folder of the lists; empty: ImageSets/Segmentation in the dataset

    # What to do
    check_only: bool = False  # whether to check with the lists that are there, and write none
    fix: bool = False  # whether to write a corrected copy beside the dataset
    palette: str = "auto"  # what palettes' ids are: ids, colours, or auto: ids if they agree

    # With fix
    color_map: str = ""  # text file with lines 'r g b name', CVAT's labelmap.txt, or voc
    instances: str = ""  # objects' own ids become: binary, class (value // 1000); "": none are
    instance_border: bool = False  # whether background parts objects that touch

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
        check_ignore_labels(self.ignore_labels or ())
        check_choice("palette", self.palette, PALETTES)
        check_choice("instances", self.instances, INSTANCES)
        if self.fix and self.check_only:
            raise UserError("fix writes and check_only does not: give one of them.")
        for name in ("color_map", "instances"):
            if getattr(self, name) and not self.fix:
                raise UserError(f"{name} is for the corrected copy: give --fix as well.")
        if self.instance_border and not self.instances:
            raise UserError(
                "instance_border parts objects with ids of their own: give --instances binary or "
                "class as well."
            )


def main(config=None):
    """Checks and splits; `config` is an AnnotationConfig, or None to read the command line.

    Returns:
        int, exit status: 2 if a problem makes a training wrong, else 0.
    """
    config = config or load_config(AnnotationConfig)
    pairs = find_set(config)
    if config.fix:
        return fix_dataset(voc_folder(config.VOCdevkit_path), pairs, **fix_options(config))
    return check_and_split(config, pairs)


def find_set(config):
    """The pairs of the dataset, as `utils.checking.pairs.find_pairs` gives them.

    Raises:
        UserError: if there are none.
    """
    samples, almost, name_problems = find_pairs(config.VOCdevkit_path)
    if not samples and not almost:
        foreign = [detail for kind, detail in name_problems if kind == "picture_foreign"]
        raise UserError(
            f"{voc_folder(config.VOCdevkit_path)} holds no image with a mask. Put images into "
            "JPEGImages and PNG masks of the same names into SegmentationClass."
            + "".join(f" JPEGImages holds {text}." for text in foreign)
        )
    return samples, almost, name_problems


def fix_options(config):
    """What `utils.checking.fix` takes of the settings."""
    return {
        "workers": config.num_workers,
        "border": config.instance_border,
        "color_map": config.color_map,
        "num_classes": config.num_classes,
        "ignore_labels": config.ignore_labels,
        "palette": config.palette,
        "instances": config.instances,
    }


def check_and_split(config, pairs):
    """Checks the pairs, and writes lists unless asked not to; returns the exit status."""
    folder = list_folder(config)
    report, lists = judge_set(config, pairs, folder)
    print(format_report(report))
    write_check(report, pairs[0], folder / "check_report.json")
    if report.fatal:
        print(
            "error: The data has problems that make a training wrong, see above. No lists were "
            "written.",
            file=sys.stderr,
        )
        return 2
    if not config.check_only:
        save_lists(config, folder, lists)
    return 0


def judge_set(config, pairs, folder):
    """Reads all pairs; writes nothing.

    Returns:
        (`utils.checking.report.Report`, lists: those in `folder` with check_only, else new ones).
    """
    samples, almost, name_problems = pairs
    report = Report(config.num_classes, config.ignore_labels, palette=config.palette)
    for kind, detail in name_problems:
        report.problem(kind, detail)
    # What may fail comes before all the data is read.
    if config.check_only:
        lists = known_lists(config, folder, [*samples, *almost], report)
    else:
        check_writable(folder)
    scan_into(report, samples, config.num_workers)
    if not config.check_only:
        lists = make_lists(config, samples, report)
    report.finish(lists)
    return report, lists


def list_folder(config):
    """Path of the folder of the lists."""
    return Path(config.lists_dir or list_path(config.VOCdevkit_path, "x").parent)


def check_writable(folder):
    """Raises UserError if the lists can't be written, before all the data is read."""
    folder = Path(os.path.abspath(folder))
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise _unwritable(folder, f"{there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise _unwritable(folder, f"you may not write into {there}")


def _unwritable(folder, why):
    return UserError(
        f"The lists can't be written into {folder}: {why}. Name another folder, such as "
        "--lists_dir lists, and give train.py the paths: --train_list lists/train.txt --val_list "
        "lists/val.txt. (--check_only writes no lists.)"
    )


def save_lists(config, folder, lists):
    """Writes the lists and says how many images each holds, and how to use them."""
    try:
        # A path stands for itself.
        write_lists(config.VOCdevkit_path, {folder / f"{name}.txt": lists[name] for name in lists})
    except OSError as error:
        raise _unwritable(folder, error.strerror or error) from error
    for split, names in lists.items():
        print(f"{split + '.txt':<14}{len(names):>7} images")
    if not lists.get("val", True):
        print("note: val.txt is empty, and train.py needs it: lower train_percent, add images.")
    if 0 < len(lists.get("val", ())) < _FEW:
        print(describe_folds(config, lists))
    if config.lists_dir:
        train, val = (folder / f"{next(n for n in lists if n.startswith(k))}.txt" for k in _USED)
        print(
            f"for train.py: train_list: str = {str(train)!r}\n"
            f"              val_list: str = {str(val)!r}  # for get_miou.py too"
        )
    if config.folds:
        options = [f"--{kind}_list={folder / kind}.txt" for kind in _USED if config.lists_dir]
        print(f"to train all: {command('python', 'train.py', '--folds', config.folds, *options)}")


def describe_folds(config, lists):
    """Says that few images validate, and how all of them can."""
    count, folds = len(lists["val"]), min(_FOLDS, len(lists["trainval"]))
    commands = [["python", "train.py", "--folds", str(folds)]]
    if config.group_by or config.stratify:  # what train.py splits by itself has neither
        options = ["--group_by", config.group_by] * bool(config.group_by)
        options += ["--stratify"] * config.stratify
        commands.insert(0, ["python", "voc_annotation.py", "--folds", str(folds), *options])
    if config.VOCdevkit_path != AnnotationConfig().VOCdevkit_path:
        commands = [[*words, "--VOCdevkit_path", config.VOCdevkit_path] for words in commands]
    return (
        f"note: {count} image{'s' * (count > 1)} to validate: scores of so few depend on which "
        f"these are. In {folds} folds every image validates once, in {folds} trainings:\n  "
        + "\n  ".join(map(shlex.join, commands))
    )


def write_check(report, samples, path):
    """Writes the report as JSON, and guesses as a picture; says so where that can't be."""
    try:
        write_json(path, report_to_dict(report))
        sheet = path.with_name("check_reading.png")
        sheet.unlink(missing_ok=True)
        if report.meaning.readings and preview(samples, report.meaning, sheet):
            print(f"The first masks as they are and as --fix would read them: {sheet}")
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


def known_lists(config, folder, pairs, report):
    """The lists that are there, for a check without writing; what is wrong goes into the report."""
    paths = sorted(path for path in folder.glob("*.txt") if path.is_file())
    lists = {path.stem: lines for path in paths if (lines := read_lines(path))}
    matched, problems = match_lists(config.VOCdevkit_path, lists, pairs)
    for kind, detail, count in problems:
        report.problem(kind, detail, count)
    return matched


if __name__ == "__main__":
    run_script(main)
