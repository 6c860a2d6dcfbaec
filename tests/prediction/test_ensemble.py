"""Several weights files: found, compared, averaged."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from errors import UserError
from utils.prediction.ensemble import averaged, check_alike, find_weights


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to be in, with weights of two folds, and a file whose name looks like more."""
    monkeypatch.chdir(tmp_path)
    for name in ("fold_1/best.h5", "fold_0/best.h5", "fold_0/last.h5", "a,b.h5", "x[1].h5"):
        path = Path(name)
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("fold_0/best.h5", ["fold_0/best.h5"]),
        (Path("fold_0/best.h5"), ["fold_0/best.h5"]),
        ("fold_*/best.h5", ["fold_0/best.h5", "fold_1/best.h5"]),
        ("fold_0/*", ["fold_0/best.h5", "fold_0/last.h5"]),
        (["fold_1/best.h5", "fold_0/best.h5"], ["fold_1/best.h5", "fold_0/best.h5"]),
        (("fold_1/best.h5", "fold_*/best.h5"), ["fold_1/best.h5", "fold_0/best.h5"]),
        ("fold_1/best.h5, fold_0/best.h5", ["fold_1/best.h5", "fold_0/best.h5"]),
        ("a,b.h5", ["a,b.h5"]),
        ("x[1].h5", ["x[1].h5"]),
        ("missing.h5", ["missing.h5"]),  # which opening says
        ("imagenet", ["imagenet"]),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_is_named_is_found_once(given, expected):
    assert find_weights(given) == [Path(path) for path in expected]


@pytest.mark.parametrize("pattern", ["run_*/best.h5", "fold_?.h5", "fold_[5]/best.h5"])
@pytest.mark.usefixtures("folder")
def test_wildcards_without_a_match(pattern):
    with pytest.raises(UserError) as caught:
        find_weights(["fold_0/best.h5", pattern])
    assert str(caught.value) == (
        f"No weights file matches {pattern}. Train first, or give another pattern."
    )


@pytest.mark.parametrize("given", ["", [], ()])
def test_no_path_at_all(given):
    with pytest.raises(UserError, match=r"^model_path is empty\. Give the path of a weights file"):
        find_weights(given)


SHARED = {
    "num_classes": 3, "name_classes": ("a", "b", "c"), "in_channels": 3, "input_shape": (32, 48),
    "window": None, "ignore_labels": (255,), "value_range": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("num_classes", 4, "only be averaged over the same classes."),
        ("name_classes", ("a", "c", "b"), "the same order, give name_classes."),
        ("in_channels", 1, "only be averaged over the same images."),
        ("input_shape", (48, 32), "Give input_shape, which then holds for all."),
        ("window", (16, 16), "trained with the same val_window."),
        ("ignore_labels", (), "trained on the same pixels."),
        ("value_range", (0, 4095), "trained on images of one range."),
    ],
)
def test_what_does_not_fit_is_named(name, value, remedy):
    same, other = SimpleNamespace(**SHARED), SimpleNamespace(**(SHARED | {name: value}))
    paths = [Path("a.h5"), Path("b.h5"), Path("c.h5")]
    check_alike([same, same], paths[:2])
    with pytest.raises(UserError) as caught:
        check_alike([same, same, other], paths)
    message = str(caught.value)
    assert message.startswith(
        f"a.h5 and c.h5 don't fit each other: {name} is {SHARED[name]!r} in the one and {value!r} "
        "in the other. "
    )
    assert message.endswith(remedy)


def test_the_mean_is_of_all_and_changes_none_of_them():
    parts = [np.full((1, 1, 1, 2), value, np.float32) for value in (0.25, 0.5, 0.0)]
    network = averaged([lambda _, part=part: part for part in parts])
    for _ in range(2):
        mean = network(None)
        assert mean.dtype == np.float32
        np.testing.assert_array_equal(mean, np.full((1, 1, 1, 2), 0.25, np.float32))


def test_one_network_is_itself():
    assert averaged([len]) is len
