"""Splitting: exact counts, the same for the same names and seed, fair and whole groups."""

import re
from collections import Counter
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import UserError
from utils.data.split import make_folds, split_names

SPLITS = ("train", "val", "trainval", "test")


def names_of(count):
    return [f"image {index}" for index in range(count)]


def counts(lists):
    return tuple(len(lists[split]) for split in SPLITS)


def rounded(value):
    return int(value.quantize(Decimal(1), ROUND_HALF_UP))


def expected_counts(count, trainval_percent, train_percent):
    """In decimal arithmetic, from the numbers as they are written."""
    trainval = max(rounded(Decimal(str(trainval_percent)) * count), 1)
    train = max(rounded(Decimal(str(train_percent)) * trainval), 1)
    if train == trainval > 1 and train_percent < 1:
        train -= 1
    return train, trainval - train, trainval, count - trainval


# Counts


@pytest.mark.parametrize(
    ("count", "trainval_percent", "train_percent", "expected"),
    [
        # int(100 * 0.29) is 28, int(100 * 0.57) is 56: floats lie just below
        (100, 1.0, 0.29, (29, 71, 100, 0)),
        (100, 1.0, 0.57, (57, 43, 100, 0)),
        (100, 0.29, 1.0, (29, 0, 29, 71)),
        # 100 * 0.07 is 7.000000000000001, which must not become 8
        (100, 1.0, 0.07, (7, 93, 100, 0)),
        (100, 0.07, 1.0, (7, 0, 7, 93)),
        (100, 0.9, 0.9, (81, 9, 90, 10)),
        (100, 1, 1, (100, 0, 100, 0)),
        (1000, 1.0, 0.001, (1, 999, 1000, 0)),
        # Halves are rounded up, not to even: 0.5 * 5 = 2.5, then 0.5 * 3 = 1.5
        (5, 0.5, 0.5, (2, 1, 3, 2)),
        (10, 0.25, 1.0, (3, 0, 3, 7)),
        # Fraction(0.35) * 10 lies just below the half
        (10, 1.0, 0.35, (4, 6, 10, 0)),
        (10, 0.35, 1.0, (4, 0, 4, 6)),
        # At least one to train, and one to validate where there are two
        (1, 1.0, 0.9, (1, 0, 1, 0)),
        (1, 0.01, 0.01, (1, 0, 1, 0)),
        (2, 1.0, 0.9, (1, 1, 2, 0)),
        (2, 1.0, 0.01, (1, 1, 2, 0)),
        (2, 0.5, 0.9, (1, 0, 1, 1)),
        (2, 1.0, 1.0, (2, 0, 2, 0)),
        (100, 1.0, 0.999, (99, 1, 100, 0)),
    ],
)
def test_counts_are_exact(count, trainval_percent, train_percent, expected):
    assert counts(split_names(names_of(count), trainval_percent, train_percent, 0)) == expected


@pytest.mark.parametrize("count", [1, 2, 3, 10, 99, 100, 101, 367])
def test_every_percentage_is_exact(count):
    names = names_of(count)
    for percent in range(1, 101):
        share = percent / 100
        assert counts(split_names(names, 1.0, share)) == expected_counts(count, 1.0, share)
        assert counts(split_names(names, share, 0.9)) == expected_counts(count, share, 0.9)


@given(st.integers(1, 200), st.integers(1, 1000), st.integers(1, 1000), st.integers(0, 2**32))
def test_any_split(count, trainval_thousandths, train_thousandths, seed):
    """Exact counts; disjoint, complete and sorted lists."""
    names = names_of(count)
    shares = trainval_thousandths / 1000, train_thousandths / 1000
    lists = split_names(names, *shares, seed)
    assert counts(lists) == expected_counts(count, *shares)
    assert sorted(lists["train"] + lists["val"]) == lists["trainval"]
    assert sorted(lists["trainval"] + lists["test"]) == sorted(names)
    assert all(found == sorted(found) for found in lists.values())


# Seed and order


def test_the_seed_decides():
    names = names_of(50)
    same = [split_names(names, 0.8, 0.8, seed=3) for _ in range(2)]
    assert same[0] == same[1]
    other = split_names(names, 0.8, 0.8, seed=4)
    assert all(other[split] != same[0][split] for split in SPLITS)


def test_the_split_is_random():
    """Every name gets into the validation of some seed: it is not a block of the sorted list."""
    names = names_of(10)
    validated = {name for seed in range(100) for name in split_names(names, 1, 0.9, seed)["val"]}
    assert validated == set(names)


def test_a_split_stays_the_same_in_later_versions():
    lists = split_names(list("abcdefghij"), 0.8, 0.75, seed=0)
    assert {split: "".join(names) for split, names in lists.items()} == {
        "train": "abdfhi",
        "val": "ej",
        "trainval": "abdefhij",
        "test": "cg",
    }


PRESENCE = {name: {0, int(name[-1]) % 3, int(name[-1]) % 5} for name in names_of(24)}


@given(st.permutations(names_of(24)), st.booleans(), st.sampled_from(["", r"(\d)$"]))
def test_the_order_of_the_names_does_not_matter(names, stratify, group_by):
    options = {"group_by": group_by, "presence": PRESENCE if stratify else None}
    assert split_names(names, 0.8, 0.8, 5, **options) == split_names(
        names_of(24), 0.8, 0.8, 5, **options
    )
    assert make_folds(names, 3, 5, **options) == make_folds(names_of(24), 3, 5, **options)


# Groups


def sides(lists, key, splits=("train", "val", "test")):
    """{group: the splits in which it is}."""
    found = {}
    for split in splits:
        for name in lists[split]:
            found.setdefault(key(name), set()).add(split)
    return found


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=15),
    st.floats(0.05, 1).map(lambda share: round(share, 2)),
    st.floats(0.05, 0.99).map(lambda share: round(share, 2)),
    st.integers(0, 99),
    st.booleans(),
)
def test_groups_stay_whole(sizes, trainval_percent, train_percent, seed, stratify):
    names = [f"p{group:02}_{i}" for group, size in enumerate(sizes) for i in range(size)]
    presence = {name: {len(name), int(name[-1]) % 4} for name in names} if stratify else None
    lists = split_names(
        names, trainval_percent, train_percent, seed, group_by=r"^p\d+", presence=presence
    )
    assert all(len(splits) == 1 for splits in sides(lists, lambda name: name[:3]).values())
    assert sorted(lists["train"] + lists["val"] + lists["test"]) == names
    assert lists["train"]
    # With one group or one image there is nothing to validate on.
    wanted = expected_counts(len(names), trainval_percent, train_percent)[1]
    assert lists["val"] or not wanted or len(sizes) == 1


def test_groups_are_as_near_as_they_fit():
    names = [f"{patient}_{slide}" for patient in range(20) for slide in range(5)]
    lists = split_names(names, 0.9, 0.8, group_by="^[0-9]+")
    assert counts(lists) == (70, 20, 90, 10)


def test_the_first_group_of_the_expression_counts():
    names = [f"day{day}_cam{camera}" for day in range(4) for camera in range(5)]
    lists = split_names(names, 1.0, 0.8, group_by="day[0-9]_(cam[0-9])")
    assert counts(lists) == (16, 4, 20, 0)
    assert {name[-4:] for name in lists["val"]} & {name[-4:] for name in lists["train"]} == set()
    assert len({name[:4] for name in lists["val"]}) == 4


def test_two_groups_of_a_size_are_one_to_train_and_one_to_validate():
    names = [f"{group}{index}" for group in "ab" for index in range(5)]
    assert counts(split_names(names, 1.0, 0.9, group_by="^.")) == (5, 5, 10, 0)


@pytest.mark.parametrize("call", [split_names, lambda names, **o: make_folds(names, 2, **o)])
def test_group_by_must_be_an_expression_that_matches_every_name(call):
    with pytest.raises(UserError) as caught:
        call(names_of(4), group_by="(")
    assert re.fullmatch(r"group_by '\(' is not a regular expression: .+\.", str(caught.value))
    with pytest.raises(UserError) as caught:
        call(["p1_a", "p2_b", "other"], group_by="p[0-9]")
    assert str(caught.value) == (
        "group_by 'p[0-9]' matches nothing in 'other'. Every name needs a group."
    )


# Stratified


@pytest.mark.parametrize("seed", range(5))
def test_classes_are_in_proportion(seed):
    names = [f"{index:03}" for index in range(200)]
    presence = {name: {0} for name in names}
    for label, every in ((1, 2), (2, 10), (3, 40), (4, 100)):
        for index in range(0, 200, every):
            presence[names[(index + label) % 200]].add(label)
    lists = split_names(names, 1.0, 0.8, seed, presence=presence)
    assert counts(lists) == (160, 40, 200, 0)
    found = Counter(label for name in lists["val"] for label in presence[name])
    for label, total in ((0, 200), (1, 100), (2, 20), (3, 5), (4, 2)):
        assert abs(found[label] - total * 0.2) <= 1
        assert 0 < found[label] < total


@given(st.data(), st.integers(0, 99), st.sampled_from([0.5, 0.7, 0.8]))
def test_a_class_that_occurs_twice_is_in_train_and_val(data, seed, share):
    names = [f"{index:02}" for index in range(40)]
    # At most four rare classes, so that their images fit into the smaller list.
    presence = {name: {0} for name in names}
    for label in range(1, 5):
        for name in data.draw(
            st.lists(st.sampled_from(names), min_size=1, max_size=6, unique=True)
        ):
            presence[name].add(label)
    lists = split_names(names, 1.0, share, seed, presence=presence)
    assert counts(lists) == expected_counts(40, 1.0, share)
    total = Counter(label for name in names for label in presence[name])
    for label, count in total.items():
        held = [any(label in presence[name] for name in lists[split]) for split in ("train", "val")]
        assert any(held)
        # Two classes in the same two images, and in others, can be at odds.
        if count >= 2 and not any(len(presence[n]) > 2 for n in names if label in presence[n]):
            assert all(held), (label, count)


def test_without_stratify_a_rare_class_may_be_on_one_side():
    names = names_of(40)
    presence = {name: {1} for name in names[:2]}

    def split_up(**options):
        for seed in range(30):
            lists = split_names(names, 1.0, 0.8, seed, **options)
            yield any(name in lists["val"] for name in presence) and any(
                name in lists["train"] for name in presence
            )

    assert all(split_up(presence=presence))
    assert not all(split_up())


# Folds


@given(st.integers(2, 60), st.data(), st.integers(0, 99), st.booleans())
def test_folds_partition_the_names(count, data, seed, stratify):
    names = names_of(count)
    folds = data.draw(st.integers(2, count))
    presence = {name: {int(name[-1]) % 3} for name in names} if stratify else None
    lists = make_folds(names, folds, seed, presence=presence)
    assert list(lists) == [f"{side}_{i}" for i in range(folds) for side in ("train", "val")]
    validated = [name for index in range(folds) for name in lists[f"val_{index}"]]
    assert sorted(validated) == sorted(names)
    sizes = [len(lists[f"val_{index}"]) for index in range(folds)]
    assert max(sizes) - min(sizes) <= 1
    for index in range(folds):
        train, val = lists[f"train_{index}"], lists[f"val_{index}"]
        assert train == sorted(set(names) - set(val))
        assert val == sorted(val)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=12), st.data(), st.integers(0, 9))
def test_folds_keep_groups_whole_and_are_never_empty(sizes, data, seed):
    names = [f"p{group:02}_{i}" for group, size in enumerate(sizes) for i in range(size)]
    folds = data.draw(st.integers(2, len(sizes)))
    lists = make_folds(names, folds, seed, group_by=r"^p\d+")
    vals = [f"val_{index}" for index in range(folds)]
    assert all(len(held) == 1 for held in sides(lists, lambda name: name[:3], vals).values())
    assert all(lists[val] for val in vals)
    assert sorted(name for val in vals for name in lists[val]) == names


def test_folds_are_stratified():
    names = names_of(30)
    presence = {name: {0, int(index < 9)} for index, name in enumerate(names)}
    lists = make_folds(names, 3, presence=presence)
    rare = set(names[:9])
    assert [len(rare & set(lists[f"val_{index}"])) for index in range(3)] == [3, 3, 3]


@pytest.mark.parametrize(
    ("folds", "group_by", "message"),
    [
        (1, "", "folds must be 2 up to the number of images, 6; got 1."),
        (7, "", "folds must be 2 up to the number of images, 6; got 7."),
        (4, "^.", "folds must be 2 up to the number of groups, 3; got 4."),
    ],
)
def test_folds_have_bounds(folds, group_by, message):
    names = [f"{group}{index}" for group in "abc" for index in range(2)]
    with pytest.raises(UserError) as caught:
        make_folds(names, folds, group_by=group_by)
    assert str(caught.value) == message
