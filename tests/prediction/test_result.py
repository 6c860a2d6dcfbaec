"""What a `Prediction` tells of one image."""

from functools import partial

import numpy as np
import pytest
from PIL import Image

from errors import UserError
from utils.data.masks import read_label_ids
from utils.labels import voc_palette
from utils.prediction.draw import draw_mask
from utils.prediction.legend import add_legend
from utils.prediction.probabilities import gather, visit_resized
from utils.prediction.result import Polygon, Prediction

NAMES = ("background", "cell", "tree")
MASK = np.array(
    [
        [0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0, 2],
        [0, 1, 0, 1, 0, 2],
        [0, 1, 1, 1, 0, 0],
    ],
    np.uint8,
)


@pytest.fixture
def found(rng):
    """A Prediction of MASK, with made probabilities that say so."""
    image = rng.integers(0, 256, (4, 6, 3)).astype(np.uint8)
    probabilities = np.full((4, 6, 3), 0.1, np.float32)
    np.put_along_axis(probabilities, MASK[..., None].astype(int), np.float32(0.8), axis=-1)
    visit = partial(visit_resized, probabilities, (4, 6))
    return Prediction(image, MASK, NAMES, visit, source="a.png")


def test_probabilities_and_confidence(found):
    assert found.probabilities.shape == (4, 6, 3)
    np.testing.assert_array_equal(found.probabilities.argmax(axis=-1), MASK)
    np.testing.assert_array_equal(found.confidence, np.full((4, 6), 0.8, np.float32))
    assert found.confidence is found.confidence  # computed once


def test_shares_of_all_classes(found):
    assert found.shares == {"background": 14 / 24, "cell": 8 / 24, "tree": 2 / 24}


def test_classes_of_one_name_share_it():
    found = Prediction(MASK, MASK, ("nothing", "cell", "cell"), None)
    assert found.shares == {"nothing": 14 / 24, "cell": 10 / 24}


def test_regions(found):
    cell, tree = found.regions()
    assert (cell.class_id, cell.area, cell.left, cell.top) == (1, 8, 1, 1)
    assert (tree.class_id, tree.area, tree.left, tree.top) == (2, 2, 5, 1)
    assert tree.intensity == pytest.approx(found.image[1:3, 5].mean())
    assert [one.class_id for one in found.regions(background=True)] == [0, 0, 1, 2]


def points_of(points):
    return {tuple(point) for point in points.tolist()}


def winding(points):
    x, y = points.T
    return int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())


def test_polygons(found):
    cell, tree = found.polygons(tolerance=0)
    assert isinstance(cell, Polygon)
    assert (cell.class_id, cell.name) == (1, "cell")
    assert points_of(cell.outer) == {(1, 1), (4, 1), (4, 4), (1, 4)}
    (hole,) = cell.holes
    assert points_of(hole) == {(2, 2), (3, 2), (3, 3), (2, 3)}
    assert (tree.class_id, tree.name, tree.holes) == (2, "tree", [])
    assert {(5, 1), (6, 1), (6, 3), (5, 3)} <= points_of(tree.outer)
    ground = found.polygons(tolerance=0, background=True)[0]
    # The cell reaches the image's edge, and the pixel within it is a region of its own.
    assert (ground.class_id, ground.holes, winding(ground.outer)) == (0, [], 2 * 13)


def test_polygons_enclose_the_areas_of_their_regions(rng):
    mask = (rng.random((30, 40)) < 0.6).astype(np.uint8) + (rng.random((30, 40)) < 0.3)
    found = Prediction(mask, mask, NAMES, None)
    polygons = found.polygons(tolerance=0, background=True)
    for class_id in range(3):
        own = [one for one in polygons if one.class_id == class_id]
        areas = [winding(one.outer) + sum(map(winding, one.holes)) for one in own]
        assert sum(areas) == 2 * np.count_nonzero(mask == class_id)
        assert all(winding(one.outer) > 0 for one in own)
        assert all(winding(hole) < 0 for one in own for hole in one.holes)
    sizes = [winding(one.outer) for one in polygons]
    assert sizes == sorted(sizes, reverse=True)
    for one in polygons:
        for ring in (one.outer, *one.holes):
            assert (ring != np.roll(ring, 1, axis=0)).any(axis=1).all()


def test_a_tolerance_takes_points_away(rng):
    rows, columns = np.indices((60, 60))
    disc = ((rows - 30) ** 2 + (columns - 30) ** 2 < 400).astype(np.uint8)
    found = Prediction(disc, disc, NAMES, None)
    exact, simple = found.polygons(tolerance=0), found.polygons()
    assert 4 < len(simple[0].outer) < len(exact[0].outer) / 2


@pytest.mark.parametrize("tolerance", [-1, float("nan")])
def test_a_tolerance_below_zero_is_refused(found, tolerance):
    with pytest.raises(UserError, match=r"^tolerance must be 0 pixels or more; got (-1|nan)\.$"):
        found.polygons(tolerance)


@pytest.mark.parametrize("mix_type", [0, 1, 2, 3])
def test_drawings(found, mix_type):
    before = found.image.copy()
    drawn = found.draw(mix_type)
    expected = draw_mask(before, MASK, voc_palette(256), mix_type)
    np.testing.assert_array_equal(np.array(drawn), expected)
    np.testing.assert_array_equal(found.image, before)
    with_legend = add_legend(expected, MASK, voc_palette(256), NAMES)
    np.testing.assert_array_equal(np.array(found.draw(mix_type, legend=True)), with_legend)


def test_drawings_are_as_the_network_was_told():
    found = Prediction(np.zeros((4, 6, 1), np.uint8), MASK, NAMES, None, mix_type=1)
    np.testing.assert_array_equal(np.array(found.draw()), voc_palette(256)[MASK])
    with pytest.raises(UserError, match=r"mix_type must be one of 0, 1, 2, 3; got 4\."):
        found.draw(4)


@pytest.mark.parametrize("name", ["a.png", "new/b.PNG", "c.tif", "d.bmp", "e.jpg"])
def test_saved_drawings(found, tmp_path, name):
    found.save(tmp_path / name, mix_type=1)
    with Image.open(tmp_path / name) as image:
        shown, drawn = np.array(image), np.array(found.draw(1))
    assert shown.shape == drawn.shape
    if not name.endswith("jpg"):
        np.testing.assert_array_equal(shown, drawn)
    assert [path.name for path in (tmp_path / name).parent.iterdir()] == [name.split("/")[-1]]


@pytest.mark.parametrize("name", ["a", "a.txt", "a.h5.xyz"])
def test_no_image_format(found, tmp_path, name):
    with pytest.raises(UserError, match=r"ends in no image format that can be written\. Take"):
        found.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_saved_masks(found, tmp_path):
    found.save_mask(tmp_path / "new" / "mask.png")
    np.testing.assert_array_equal(read_label_ids(tmp_path / "new" / "mask.png"), MASK)
    with pytest.raises(UserError, match=r"^A mask's name must end in \.png; got 'mask\.jpg'\.$"):
        found.save_mask(tmp_path / "mask.jpg")


def test_it_shows_what_it_holds(found):
    text = "<Prediction a.png, 6x4: background 58.3%, cell 33.3%, tree 8.3%>"
    assert repr(found) == text
    assert repr(Prediction(MASK, MASK * 0, NAMES, None)) == (
        "<Prediction of an image, 6x4: background 100.0%>"
    )


def test_probabilities_beyond_memory_are_refused():
    with pytest.raises(UserError) as caught:
        gather(None, (20_000, 30_000), 21)
    assert str(caught.value).startswith(
        "The probabilities of 30000x20000 pixels in 21 classes take 46.9 GiB; at most 4 are made "
        "at once. Predict parts of the image, or take confidence"
    )
