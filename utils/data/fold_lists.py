"""The lists of a cross-validation: those that voc_annotation.py --folds wrote, or a new split."""

import re

from errors import UserError
from utils.data.split import make_folds
from utils.data.voc import Samples, list_path, read_samples


def read_folds(VOCdevkit_path, train_list, val_list, folds, seed):
    """Finds the images of each fold: by the lists that are there, else by a split.

    The lists of fold i lie beside `train_list` and `val_list`, under their names with `_i`:
    train_0 and val_0, train_1 and val_1, ... Without any, the images of both lists are split at
    random.

    Args:
        VOCdevkit_path: str or Path, the folder that holds VOC2007.
        train_list, val_list: str, names of lists or paths of .txt files.
        folds: int, how many there must be.
        seed: int, of the split.

    Returns:
        (list of `utils.data.voc.Samples`, one a fold; str for the user, where they come from).

    Raises:
        UserError: if there are lists of another number of folds, or lists that contradict each
            other; if there are fewer images than folds; and as `read_samples`.
    """
    splits = train_list, val_list
    there = [_find_lists(VOCdevkit_path, split) for split in splits]
    if not any(there):
        samples = _split(VOCdevkit_path, splits, folds, seed)
        return samples, (
            f"{len(samples[0].train) + len(samples[0].val)} images, split into {folds} folds at "
            f"random (seed {seed}). For groups that stay together, or each class in proportion, "
            f"write lists first: python voc_annotation.py --folds {folds} --group_by ..., or "
            "--stratify."
        )
    if there != [set(range(folds))] * 2:
        raise UserError(_of_another_number(VOCdevkit_path, splits, there, folds))
    pairs = [[_fold(split, index) for split in splits] for index in range(folds)]
    samples = [Samples(*(read_samples(VOCdevkit_path, name) for name in pair)) for pair in pairs]
    _check_apart(samples, pairs)
    return samples, f"Folds of the lists {', '.join(f'{a} and {b}' for a, b in pairs)}."


def _fold(split, index):
    """The name of a fold's list: train as train_0, lists/train.txt as lists/train_0.txt."""
    return re.sub(r"(\.txt)?$", rf"_{index}\1", str(split), count=1)


def _find_lists(VOCdevkit_path, split):
    """The set of the folds that have a list of this name."""
    path = list_path(VOCdevkit_path, split)
    pattern = re.compile(rf"{re.escape(path.stem)}_(0|[1-9]\d*)\.txt")
    names = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
    return {int(match[1]) for name in names if (match := pattern.fullmatch(name))}


def _of_another_number(VOCdevkit_path, splits, there, folds):
    """What to say where the lists are not those of so many folds."""
    found = sorted(there[0] | there[1])
    names = ", ".join(
        _fold(split, index)
        for index in found
        for split, known in zip(splits, there, strict=True)
        if index in known
    )
    complete = len(found) > 1 and there == [set(range(len(found)))] * 2
    return (
        f"folds is {folds}, but {list_path(VOCdevkit_path, splits[0]).parent} holds the lists "
        f"{names}. {f'Set folds to {len(found)}, or' if complete else 'To mend it,'} remove these "
        f"lists and run python voc_annotation.py --folds {folds}; without any, train.py splits "
        "the images at random."
    )


def _split(VOCdevkit_path, splits, folds, seed):
    """Samples of each fold, of the images that the two lists hold."""
    both = [sample for split in splits for sample in read_samples(VOCdevkit_path, split)]
    by_name = {sample.name: sample for sample in both}
    lists = make_folds(list(by_name), folds, seed)
    return [
        Samples(
            *([by_name[name] for name in lists[f"{kind}_{index}"]] for kind in ("train", "val"))
        )
        for index in range(folds)
    ]


def _check_apart(samples, pairs):
    """Raises UserError if an image trains and validates in one fold, or validates in two."""
    validated = {}
    for (train, val), (train_list, val_list) in zip(samples, pairs, strict=True):
        trained = {sample.name for sample in train}
        for sample in val:
            other = train_list if sample.name in trained else validated.get(sample.name)
            if other:
                raise UserError(
                    f"{sample.name!r} stands both in {other} and in {val_list}, so that these are "
                    "no folds: each image must validate once, and not in the fold that it trains. "
                    "Were the lists written at different times? Write them anew: python "
                    f"voc_annotation.py --folds {len(pairs)}."
                )
            validated[sample.name] = val_list
