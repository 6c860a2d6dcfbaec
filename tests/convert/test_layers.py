"""Masks of one class each, laid one over the other."""

import numpy as np
import pytest
from conversions import picture, save

from errors import UserError
from utils.convert.annotated_images import ImageFinder
from utils.convert.layers import Layered, load_layers, order_labels, scan_layers
from utils.convert.scan import Options, Skips


def test_the_order_of_labels(tmp_path):
    options = Options(ImageFinder())
    labels = {"b", "a", "__ignore__", "_background_", "c"}
    assert order_labels(labels, options) == ["_background_", "a", "b", "c", "__ignore__"]
    (tmp_path / "list.txt").write_text("c\nb\n")
    options = Options(ImageFinder(), classes=str(tmp_path / "list.txt"))
    assert order_labels(labels, options) == ["_background_", "c", "b", "a", "__ignore__"]


@pytest.fixture
def layered(tmp_path):
    """Three masks of one row: 1100, 0110 and 0011; the first two of one label."""
    picture(tmp_path / "a.jpg", (1, 4))
    rows = ([255, 255, 0, 0], [0, 255, 255, 0], [0, 0, 100, 255])
    paths = [save(tmp_path / f"{index}.png", [row]) for index, row in enumerate(rows)]
    return Layered(tmp_path / "a.jpg", list(zip(("cat", "cat", "ant"), paths, strict=True)))


def test_masks_of_one_label_do_not_overlap(layered):
    scan = scan_layers([layered._replace(layers=layered.layers[:2])], ["cat"], Skips())
    assert (scan.notes, scan.skipped) == ([], [])
    (item,) = scan.items
    assert item.load(("background", "cat"))[1].tolist() == [[1, 1, 1, 0]]


def test_the_order_of_the_labels_counts_not_that_of_the_masks(layered):
    for labels, expected in ((["ant", "cat"], [2, 2, 2, 1]), (["cat", "ant"], [1, 1, 2, 2])):
        scan = scan_layers([layered], labels, Skips(), any_value=True)
        assert scan.notes[0].startswith("1 pixels in 1 images belong to several classes")
        assert scan.items[0].load(("background", *labels))[1].tolist() == [expected]


def test_values_that_are_neither(layered):
    scan = scan_layers([layered], ["cat", "ant"], Skips())
    assert scan.items == []
    assert "holds the values 0, 100, 255. Expected a mask of one class" in scan.skipped[0].reason


def test_a_label_that_is_not_in_the_list(layered):
    with pytest.raises(UserError, match="has the label 'cat', which is not in the class list"):
        load_layers(layered.image_path, layered.layers, True, ("background", "ant"))


def test_strict_refuses_overlap(layered):
    with pytest.raises(UserError, match=r"1 pixels of a\.jpg belong to several classes by "):
        scan_layers([layered], ["cat", "ant"], Skips(strict=True), any_value=True)


def test_random_layers(tmp_path):
    """Against counting pixel by pixel."""
    generator = np.random.default_rng(0)
    picture(tmp_path / "a.jpg", (7, 9))
    labels = ["a", "b", "c"]
    for _ in range(10):
        chosen = generator.choice(labels, 4).tolist()
        masks = generator.random((4, 7, 9)) < 0.3
        paths = [save(tmp_path / f"{i}.png", mask * 255) for i, mask in enumerate(masks)]
        image = Layered(tmp_path / "a.jpg", list(zip(chosen, paths, strict=True)))
        scan = scan_layers([image], labels, Skips())
        overlap, expected = 0, []
        for y in range(7):
            here = [{label for label, mask in zip(chosen, masks, strict=True) if mask[y, x]}
                    for x in range(9)]  # fmt: skip
            overlap += sum(len(one) > 1 for one in here)
            expected.append([max([0, *(labels.index(label) + 1 for label in one)]) for one in here])
        assert scan.items[0].load(("background", *labels))[1].tolist() == expected
        said = scan.notes[0].split()[0] if scan.notes else "0"
        assert int(said) == overlap
