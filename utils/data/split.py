"""Splitting names into training, validation and test: exact, seeded, fair if asked.

A split never depends on the order in which names are given. Counts are exact: rounded to the
nearest, halves up. With groups, which stay whole, they are as near as the groups allow.
"""

import random
import re
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction

from errors import UserError


@dataclass
class _Unit:
    """Names that stay together, and in how many of them each class occurs."""

    names: list
    classes: Counter = field(default_factory=Counter)


def split_names(
    names, trainval_percent=1.0, train_percent=0.9, seed=0, *, group_by="", presence=None
):
    """Splits names into training, validation and test.

    Training gets at least one image, and so does validation where there are two and
    train_percent is below 1.

    Args:
        names: list of str.
        trainval_percent: float in (0, 1], share of all names for train and val.
        train_percent: float in (0, 1], share of those for train.
        seed: int.
        group_by: regular expression; names whose match (its first group, if it has one) is
            the same stay on one side. "": each name on its own.
        presence: dict from name to the set of class ids in it, to stratify: each class that
            occurs at least twice is in train and val, in proportion. None: not.

    Returns:
        dict of sorted lists: train, val, trainval, test.

    Raises:
        UserError: if group_by is not a regular expression or matches some name nowhere.
    """
    # Fractions of the decimal numbers: in binary, 0.07 * 100 is 7.000000000000001.
    trainval = max(_round_half_up(Fraction(str(trainval_percent)) * len(names)), 1)
    train = max(_round_half_up(Fraction(str(train_percent)) * trainval), 1)
    if train_percent < 1 and trainval > 1:
        train = min(train, trainval - 1)
    sizes = (train, trainval - train, len(names) - trainval)
    parts = _distribute(_make_units(names, group_by, presence), sizes, seed)
    return {
        "train": sorted(parts[0]),
        "val": sorted(parts[1]),
        "trainval": sorted(parts[0] + parts[1]),
        "test": sorted(parts[2]),
    }


def make_folds(names, folds, seed=0, *, group_by="", presence=None):
    """Splits names into k parts for cross-validation; arguments as in `split_names`.

    Returns:
        dict of sorted lists: train_0, val_0, ..., where val_i are the k parts.

    Raises:
        UserError: as `split_names`, and if there are fewer names or groups than folds.
    """
    units = _make_units(names, group_by, presence)
    if not 2 <= folds <= len(units):
        kind = "groups" if group_by else "images"
        raise UserError(f"folds must be 2 up to the number of {kind}, {len(units)}; got {folds}.")
    sizes = [len(names) // folds + (index < len(names) % folds) for index in range(folds)]
    lists = {}
    for index, part in enumerate(_distribute(units, sizes, seed)):
        lists[f"train_{index}"] = sorted(set(names) - set(part))
        lists[f"val_{index}"] = sorted(part)
    return lists


def _round_half_up(value):
    return int(value + Fraction(1, 2))


def _make_units(names, group_by, presence):
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise UserError(f"group_by {group_by!r} is not a regular expression: {error}.") from error
    units = {}
    for name in sorted(names):
        match = pattern.search(name)
        if not match:
            raise UserError(
                f"group_by {group_by!r} matches nothing in {name!r}. Every name needs a group."
            )
        key = name if not group_by else match.group(1 if pattern.groups else 0)
        unit = units.setdefault(key, _Unit([]))
        unit.names.append(name)
        unit.classes.update((presence or {}).get(name, ()))
    return list(units.values())


def _distribute(units, sizes, seed):
    """Deals units out to parts of the given sizes (in names).

    Rare classes go first, each to the part that lacks most of it; what holds no class that
    is still wanted goes where most room is left. This is iterative stratification; without
    classes it is a plain shuffle into the sizes.

    Source: Sechidis, Tsoumakas and Vlahavas 2011, doi:10.1007/978-3-642-23808-6_10.

    Returns:
        list of lists of names.
    """
    units = list(units)
    random.Random(seed).shuffle(units)
    units.sort(key=lambda unit: -len(unit.names))  # stable: large groups while there is room
    parts, room = [[] for _ in sizes], list(sizes)
    wanted = _wanted(units, sizes)
    undealt = len(units)
    while units:
        left = Counter()
        for unit in units:
            left.update(unit.classes)
        rarest = min(left, key=lambda label: (left[label], label), default=None)
        chosen = [unit for unit in units if rarest is None or unit.classes[rarest]]
        units = [unit for unit in units if rarest is not None and not unit.classes[rarest]]
        for unit in chosen:
            part = _choose_part(unit, rarest, wanted, room, _must_fill(parts, sizes, undealt))
            undealt -= 1
            parts[part] += unit.names
            room[part] -= len(unit.names)
            for label, count in unit.classes.items():
                wanted[label][part] -= count
    return parts


def _wanted(units, sizes):
    """{class: how many images with it each part should get}."""
    total = Counter()
    for unit in units:
        total.update(unit.classes)
    wanted = {}
    for label, count in total.items():
        shares = [count * size / sum(sizes) for size in sizes]
        # The two sides of a training both need a class that occurs twice.
        if count >= 2 and len(sizes) > 1:
            shares[:2] = [max(share, 1) if size else share for share, size in
                          zip(shares[:2], sizes[:2], strict=True)]  # fmt: skip
        wanted[label] = shares
    return wanted


def _must_fill(parts, sizes, undealt):
    """The empty parts, if no more units are left than they are; else []."""
    empty = [index for index, size in enumerate(sizes) if size > 0 and not parts[index]]
    return empty[:undealt] if undealt <= len(empty) else []


def _choose_part(unit, label, wanted, room, must_fill):
    """The part with room that wants the class most; without a class, the one with most room."""
    # A group may be larger than any room left; then it goes where it overflows least.
    fits = [part for part, free in enumerate(room) if free >= len(unit.names)]
    candidates = must_fill or fits or [max(range(len(room)), key=lambda part: room[part])]
    if label is None:
        return max(candidates, key=lambda part: room[part])
    return max(candidates, key=lambda part: (wanted[label][part], room[part]))
