"""Augmentation: image and mask move together, and nothing else decides than the generator."""

import colorsys

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import UserError
from utils.data.augment import Augment, change_colors
from utils.images.transforms import (
    GREY,
    letterbox_box,
    letterbox_image,
    letterbox_mask,
    resize_image,
)
from utils.labels import VOID

STILL = Augment(jitter=0, scale=(1, 1), flip=0, hue=0, saturation=0, value=0)


def geometry(**strengths):
    """An Augment that leaves the colours alone."""
    return Augment(hue=0, saturation=0, value=0, **strengths)


def blocks(height, width, side=16):
    """An image whose red channel is 100 times its mask of random square blocks, 0 to 2.

    Green and blue are 0, so that no pixel of it looks like the grey padding.
    """
    rng = np.random.default_rng(7)
    ids = rng.integers(0, 3, (height // side + 1, width // side + 1)).astype(np.uint8)
    mask = np.kron(ids, np.ones((side, side), np.uint8))[:height, :width]
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = 100 * mask
    return image, np.ascontiguousarray(mask)


def away_from_edges(mask):
    """Pixels whose 5x5 neighbours all have their class: not void, not at the canvas' rim."""
    around = np.lib.stride_tricks.sliding_window_view(mask, (5, 5))
    alike = (around == mask[2:-2, 2:-2, None, None]).all(axis=(2, 3))
    return np.pad(alike, 2) & (mask != VOID)


def ids_of(image):
    return np.rint(image[..., 0] / 100).astype(np.uint8)


def rows_and_columns(inside):
    """(height, width) of the rectangle that the true pixels fill."""
    rows, columns = inside.any(axis=1), inside.any(axis=0)
    assert inside.sum() == rows.sum() * columns.sum()
    return int(rows.sum()), int(columns.sum())


@pytest.mark.parametrize("size", [(96, 96), (64, 128), (160, 80)])
@pytest.mark.parametrize("shape", [(112, 112), (96, 208), (208, 64)])
def test_image_and_mask_move_together(shape, size):
    image, mask = blocks(*shape)
    compared = 0
    for seed in range(40):
        new_image, new_mask = Augment(hue=0, value=0)(
            image, mask, size, np.random.default_rng(seed)
        )
        inner = away_from_edges(new_mask)
        np.testing.assert_array_equal(ids_of(new_image)[inner], new_mask[inner])
        compared += inner.sum()
    assert compared > 40 * 0.04 * size[0] * size[1]


@given(st.integers(0, 2**32), st.integers(1, 90), st.integers(1, 90), st.integers(1, 70))
def test_padding_is_grey_and_void_and_in_the_same_place(seed, height, width, target):
    image, mask = blocks(height, width, 4)
    size = (target, 40)
    # The colours change too, at full strength: the padding keeps its grey.
    new_image, new_mask = Augment()(image, mask, size, np.random.default_rng(seed))
    assert (new_image.shape, new_image.dtype) == ((*size, 3), np.uint8)
    assert (new_mask.shape, new_mask.dtype) == (size, np.uint8)
    np.testing.assert_array_equal((new_image == GREY).all(axis=-1), new_mask == VOID)
    assert set(np.unique(new_mask)) <= {*np.unique(mask), VOID}


def test_nothing_but_the_generator_decides():
    image, mask = blocks(80, 120)
    before = image.copy(), mask.copy()
    augment = Augment()

    def draw(seed):
        return augment(image, mask, (64, 64), np.random.default_rng(seed))

    first = draw(3)
    np.random.seed(99)
    other, second = draw(4), draw(3)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert (first[0] != other[0]).any()
    assert (first[1] != other[1]).any()
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(mask, before[1])


@pytest.mark.parametrize("shape", [(50, 80), (80, 50), (64, 64), (200, 30), (3, 400), (400, 3)])
def test_without_strengths_it_is_a_letterbox_at_a_random_place(shape):
    image, mask = blocks(*shape)
    tops = set()
    for seed in range(20):
        new_image, new_mask = STILL(image, mask, (64, 64), np.random.default_rng(seed))
        inside = new_mask != VOID
        box = letterbox_box(shape, (64, 64))
        assert rows_and_columns(inside) == (box.height, box.width)
        canvas, _ = letterbox_image(image, (64, 64))
        difference = new_image[inside].astype(int) - canvas[box.slices].reshape(-1, 3)
        assert np.abs(difference).max() <= 3  # 8-bit hue and saturation
        expected = letterbox_mask(mask, (64, 64), VOID)[box.slices]
        np.testing.assert_array_equal(new_mask[inside], expected.ravel())
        tops.add(tuple(np.argwhere(inside)[0].tolist()))
    free = (64 - box.height) + (64 - box.width)
    assert len(tops) > 5 if free else tops == {(0, 0)}


@pytest.mark.parametrize("flip", [0, 1])
def test_flip_is_left_right(flip):
    image, mask = blocks(64, 64, 1)
    new_image, new_mask = geometry(jitter=0, scale=(1, 1), flip=flip)(
        image, mask, (64, 64), np.random.default_rng(0)
    )
    step = -1 if flip else 1
    np.testing.assert_array_equal(new_mask, mask[:, ::step])
    np.testing.assert_array_equal(ids_of(new_image), mask[:, ::step])
    assert (mask != mask[:, ::-1]).any()


def test_flip_is_a_probability():
    image, mask = blocks(32, 32, 8)
    augment = geometry(jitter=0, scale=(1, 1), flip=0.25)
    draws = [augment(image, mask, (32, 32), np.random.default_rng(n))[1] for n in range(400)]
    flips = sum(not np.array_equal(drawn, mask) for drawn in draws)
    assert 60 < flips < 140  # 100 expected, standard deviation 8.7


def test_scale_and_jitter_stay_within_their_bounds_and_use_them():
    image, mask = blocks(50, 100)
    longest, aspects = [], []
    for seed in range(300):
        augment = geometry(jitter=0.2, scale=(0.3, 0.9))
        _, new_mask = augment(image, mask, (200, 200), np.random.default_rng(seed))
        height, width = rows_and_columns(new_mask != VOID)
        longest.append(max(height, width) / 200)
        aspects.append(width / height)
    assert 0.295 <= min(longest) < 0.35
    assert 0.85 < max(longest) <= 0.905
    assert 2 * (0.8 / 1.2) * 0.95 <= min(aspects) < 1.5
    assert 2.6 < max(aspects) <= 2 * (1.2 / 0.8) * 1.05


@pytest.mark.parametrize(
    ("shape", "expected"), [((200, 20), (32, 3)), ((20, 200), (6, 64)), ((40, 200), (13, 64))]
)
def test_the_longer_side_is_scaled_on_a_canvas_that_is_not_square(shape, expected):
    augment = geometry(jitter=0, scale=(0.5, 0.5))
    _, mask = augment(*blocks(*shape), (64, 128), np.random.default_rng(0))
    assert rows_and_columns(mask != VOID) == expected


def test_an_image_larger_than_the_canvas_is_cut_at_random_places():
    image, mask = blocks(64, 64, 8)
    augment = geometry(jitter=0, scale=(2, 2), flip=0)
    seen = set()
    for seed in range(20):
        _, new_mask = augment(image, mask, (64, 64), np.random.default_rng(seed))
        assert (new_mask != VOID).all()
        enlarged = np.kron(mask, np.ones((2, 2), np.uint8))
        places = [
            (top, left)
            for top in range(65)
            for left in range(65)
            if np.array_equal(enlarged[top : top + 64, left : left + 64], new_mask)
        ]
        seen.update(places)
        assert places
    assert len(seen) > 15


@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (1, 1), (2, 5000)])
@pytest.mark.parametrize("size", [(32, 32), (16, 96), (1, 1)])
def test_extreme_shapes(shape, size):
    image, mask = np.zeros((*shape, 3), np.uint8), np.ones(shape, np.uint8)
    for seed in range(20):
        new_image, new_mask = Augment()(image, mask, size, np.random.default_rng(seed))
        assert (new_image.shape, new_mask.shape) == ((*size, 3), size)
        assert (new_mask == 1).any()
        assert not new_image[new_mask == 1].any()


@pytest.mark.parametrize(
    ("strengths", "message"),
    [
        ({"scale": (0, 1)}, "scale must be (least, most), both above 0; got (0, 1)."),
        ({"scale": (2.0, 1.0)}, "scale must be (least, most), both above 0; got (2.0, 1.0)."),
        ({"flip": -0.1}, "flip is a probability, 0 to 1; got -0.1."),
        ({"flip": 1.5}, "flip is a probability, 0 to 1; got 1.5."),
        ({"jitter": 1}, "jitter must be at least 0 and below 1; got 1."),
        ({"jitter": -0.1}, "jitter must be at least 0 and below 1; got -0.1."),
        ({"hue": 1.0}, "hue must be at least 0 and below 1; got 1.0."),
        ({"saturation": -1}, "saturation must be at least 0 and below 1; got -1."),
        ({"value": float("nan")}, "value must be at least 0 and below 1; got nan."),
    ],
)
def test_bad_strengths_are_refused(strengths, message):
    with pytest.raises(UserError) as caught:
        Augment(**strengths)
    assert str(caught.value) == message


def test_the_default_strengths_are_upstream_s():
    assert Augment() == Augment(0.3, (0.25, 2.0), 0.5, 0.1, 0.7, 0.3)


def test_factors_of_1_change_almost_nothing(rng):
    image = rng.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    changed = change_colors(image, (1, 1, 1))
    assert (changed.shape, changed.dtype) == (image.shape, np.uint8)
    assert np.abs(changed.astype(int) - image).max() <= 6  # 8-bit hue, in steps of 2 degrees
    grey = np.full((4, 4, 3), 77, np.uint8)
    np.testing.assert_array_equal(change_colors(grey, (1.1, 1.5, 1)), grey)


@pytest.mark.parametrize(
    ("color", "factors", "expected"),
    [
        ((200, 100, 50), (1, 0, 1), (200, 200, 200)),
        ((200, 100, 50), (1, 1, 0.5), (100, 50, 25)),
        ((200, 100, 50), (1, 1, 1.2), (240, 120, 60)),
        ((200, 100, 50), (1, 1, 2), (255, 127, 64)),  # the value is clipped
        ((200, 100, 100), (1, 1.5, 1), (200, 50, 50)),  # saturation 0.5 to 0.75
        ((200, 100, 100), (1, 9, 1), (200, 0, 0)),  # the saturation is clipped
        ((0, 200, 0), (1.5, 1, 1), (0, 200, 200)),  # 120 degrees to 180
        ((255, 0, 255), (1.4, 1, 1), (255, 255, 0)),  # 300 degrees to 420, which is 60
    ],
)
def test_colours_by_hand(color, factors, expected):
    changed = change_colors(np.full((2, 2, 3), color, np.uint8), factors)
    assert np.abs(changed.astype(int) - expected).max() <= 3


def test_strengths_of_0_leave_the_colours_alone(rng):
    # Of random colours the way to 8-bit HSV and back changes two in five numbers.
    image = rng.integers(0, 256, (40, 60, 3)).astype(np.uint8)
    mask = np.zeros((40, 60), np.uint8)
    augmented, _ = STILL(image, mask, (40, 60), rng)
    np.testing.assert_array_equal(augmented, image)
    assert change_colors(image, (1, 1, 1)) is image
    assert not np.array_equal(change_colors(image, (1, 1, 1.01)), image)


def test_colours_against_colorsys(rng):
    image = rng.integers(0, 256, (300, 1, 3)).astype(np.uint8)
    factors = (1.08, 0.6, 1.25)
    expected = []
    for pixel in image[:, 0] / 255.0:
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        parts = hue * factors[0] % 1, min(saturation * factors[1], 1), min(value * factors[2], 1)
        expected.append(colorsys.hsv_to_rgb(*parts))
    difference = np.abs(change_colors(image, factors)[:, 0] - np.array(expected) * 255)
    assert difference.max() < 12  # 8-bit hue, in steps of 2 degrees, each up to 8.5 levels
    assert difference.mean() < 2


def test_the_strengths_bound_the_colours(rng):
    # One colour of hue 60 degrees, saturation 0.5, value 100 / 255.
    image, mask = np.full((8, 8, 3), (100, 100, 50), np.uint8), np.zeros((8, 8), np.uint8)
    augment = Augment(jitter=0, scale=(1, 1), flip=0, hue=0.1, saturation=0.4, value=0.3)
    colors = np.array([augment(image, mask, (8, 8), rng)[0][0, 0] for _ in range(300)])
    value = colors.max(axis=1)
    saturation = 1 - colors.min(axis=1) / value
    hue = [colorsys.rgb_to_hsv(*(color / 255))[0] * 360 for color in colors.astype(float)]
    assert 69 <= value.min() < 75
    assert 125 < value.max() <= 131
    assert 0.28 < saturation.min() < 0.34
    assert 0.66 < saturation.max() < 0.72
    assert 52 <= min(hue) < 56
    assert 64 < max(hue) <= 68


def many_channels(height, width, count):
    """Smooth channels, of which no two are alike, with the mask of `blocks`."""
    noise = np.random.default_rng(3).integers(0, 256, (height // 9, width // 9, count))
    hills = resize_image(noise.astype(np.uint8), (height, width))
    return hills, blocks(height, width)[1]


@pytest.mark.parametrize("count", [1, 2, 4, 5, 9])
@pytest.mark.parametrize("seed", range(6))  # some grow, some shrink, some are flipped
def test_all_channels_move_alike(count, seed):
    image, mask = many_channels(60, 90, count)
    augment, size = geometry(), (64, 80)
    moved, _ = augment(image, mask, size, np.random.default_rng(seed))
    assert (moved.shape, moved.dtype) == ((*size, count), np.uint8)
    for channel in range(count):
        three = np.repeat(image[..., channel : channel + 1], 3, axis=2)
        alone, _ = augment(three, mask, size, np.random.default_rng(seed))
        # Colours there and back through HSV leave grey as it is; OpenCV rounds the places.
        assert (
            np.abs(moved[..., channel].astype(int) - alone[..., 0]).max() <= 3
        )  # and OpenCV rounds places


@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_channels_that_are_no_colours_change_in_brightness_alone(count):
    rows = [[30, 70, 110, 150, 190], [100, 140, 180, 220, 255]]
    image = np.array(rows, np.uint8)[:, None, :count]
    changed = change_colors(image, (1.1, 0.2, 1.5))
    assert changed.shape == image.shape
    # Times 1.5, and 255 at most.
    assert changed[0, 0].tolist() == [45, 105, 165, 225, 255][:count]
    assert changed[1, 0].tolist() == [150, 210, 255, 255, 255][:count]


# What upstream has not

ALL = {
    "flip_vertical": 0.5,
    "quarter_turn": 0.5,
    "rotation": 180,
    "elastic": 0.02,
    "rare_crops": 0.5,
    "blur": 1.0,
    "noise": 5.0,
    "gamma": 0.3,
    "contrast": 0.3,
    "low_resolution": 0.5,
    "cutout": 0.3,
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("size", [(96, 96), (64, 112)])
def test_each_keeps_types_and_moves_image_and_mask_together(name, size):
    image, mask = blocks(112, 144)
    augment = geometry(**{name: ALL[name]})
    agreed = compared = 0
    for seed in range(20):
        found, ids = augment(image, mask, size, np.random.default_rng(seed))
        assert (found.shape, found.dtype) == ((*size, 3), np.uint8)
        assert (ids.shape, ids.dtype) == (size, np.uint8)
        assert set(np.unique(ids)) <= {0, 1, 2, VOID}
        inner = away_from_edges(ids)
        agreed += (ids_of(found)[inner] == ids[inner]).sum()
        compared += inner.sum()
    assert compared > 20 * 0.1 * size[0] * size[1]
    # What spoils the image alone changes levels, but places stay.
    assert agreed > (0.5 if name in ("gamma", "contrast", "cutout") else 0.97) * compared


@pytest.mark.parametrize("name", ["flip_vertical", "quarter_turn", "rotation", "elastic"])
def test_padding_stays_grey_and_void_with_geometry_of_all_kinds(name):
    image, mask = blocks(50, 90)
    for seed in range(20):
        found, ids = Augment(**{name: ALL[name]})(
            image, mask, (64, 64), np.random.default_rng(seed)
        )
        np.testing.assert_array_equal((found == GREY).all(axis=-1), ids == VOID)


def test_what_is_off_changes_no_draw():
    image, mask = blocks(80, 120)
    plain = Augment()(image, mask, (64, 64), np.random.default_rng(5))
    # After the colours: the same crop, with noise on it.
    noisy = Augment(noise=1e-3)(image, mask, (64, 64), np.random.default_rng(5))
    np.testing.assert_array_equal(plain[1], noisy[1])
    assert np.abs(plain[0].astype(int) - noisy[0]).max() <= 1


def still(**strengths):
    return geometry(jitter=0, scale=(1, 1), flip=0, **strengths)


def test_a_vertical_flip_is_up_and_down():
    image, mask = blocks(64, 64, 1)
    found, ids = still(flip_vertical=1)(image, mask, (64, 64), np.random.default_rng(0))
    np.testing.assert_array_equal(ids, mask[::-1])
    np.testing.assert_array_equal(ids_of(found), mask[::-1])


def test_quarter_turns_are_exact_and_of_three_kinds():
    image, mask = blocks(64, 64, 1)
    kinds = {}
    for seed in range(30):
        found, ids = still(quarter_turn=1)(image, mask, (64, 64), np.random.default_rng(seed))
        turns = [turns for turns in (1, 2, 3) if np.array_equal(ids, np.rot90(mask, turns))]
        assert len(turns) == 1
        np.testing.assert_array_equal(ids_of(found), ids)
        kinds[turns[0]] = True
    assert len(kinds) == 3


def test_a_turned_target_holds_the_whole_of_a_turned_image():
    image, mask = blocks(64, 128, 8)
    for seed in range(20):
        _, ids = still(quarter_turn=1)(image, mask, (64, 128), np.random.default_rng(seed))
        inside = ids != VOID
        assert rows_and_columns(inside) in ((64, 128), (64, 32))


def test_a_rotation_by_hand():
    """By 90 degrees the general warp equals the exact turn."""
    image, mask = blocks(64, 64, 4)

    class Always:
        def random(self):
            return 0.5

        def uniform(self, low, high, size=None):
            return high if size is None else np.zeros(size)

    found, ids = still(rotation=90)(image, mask, (64, 64), Always())
    turned = [turns for turns in (1, 3) if np.array_equal(ids, np.rot90(mask, turns))]
    assert len(turned) == 1
    inner = away_from_edges(ids)
    np.testing.assert_array_equal(ids_of(found)[inner], ids[inner])


def test_a_rotated_image_equals_opencvs_own():
    image, mask = blocks(96, 96, 12)
    angle = {}

    class Draws:
        def __init__(self, seed):
            self.rng = np.random.default_rng(seed)

        def random(self):
            return 0.5

        def uniform(self, low, high, size=None):
            if size is not None:
                return np.zeros(size)
            value = self.rng.uniform(low, high)
            if high == 40:
                angle["last"] = value
            return value

    for seed in range(5):
        found, _ = still(rotation=40)(image, mask, (96, 96), Draws(seed))
        matrix = cv2.getRotationMatrix2D((47.5, 47.5), angle["last"], 1)
        other = [
            cv2.warpAffine(
                image, one, (96, 96), borderMode=cv2.BORDER_CONSTANT, borderValue=(GREY,) * 3
            )
            for one in (matrix, cv2.invertAffineTransform(matrix))
        ]
        differences = [np.abs(found.astype(int) - one).mean() for one in other]
        assert min(differences) < 1.5 < 5 < max(differences)


def test_elastic_displacements_have_their_size():
    rows, columns = np.indices((128, 128))
    image = np.stack([rows, columns, 0 * rows], axis=2).astype(np.uint8)
    mask = np.zeros((128, 128), np.uint8)
    moved = []
    for seed in range(60):
        found, ids = still(elastic=0.02)(image, mask, (128, 128), np.random.default_rng(seed))
        inside = ids != VOID
        moved.append((found[..., :2].astype(float) - image[..., :2])[inside])
    # 0.02 of 128 pixels are 2.56; between the points of the grid it is less.
    assert 1.0 < np.concatenate(moved).std() < 2.6


def test_a_rare_class_is_in_the_crop():
    mask = np.zeros((200, 300), np.uint8)
    mask[150:152, 250:252] = 1
    image = np.repeat(mask[..., None], 3, axis=2)
    with_focus = Augment(scale=(3, 3), rare_crops=1.0, rotation=30, jitter=0.1)
    plain = Augment(scale=(3, 3), rotation=30, jitter=0.1)
    hits = {"plain": 0, "focus": 0}
    for seed in range(60):
        for name, augment in (("plain", plain), ("focus", with_focus)):
            _, ids = augment(image, mask, (100, 100), np.random.default_rng(seed))
            hits[name] += (ids == 1).any()
    # 59,996 pixels of one class and 4 of the other: drawn almost always.
    assert hits["focus"] == 60
    assert hits["plain"] < 20


def test_crops_around_a_class_are_not_always_in_the_middle():
    mask = np.zeros((200, 200), np.uint8)
    mask[100, 100] = 1
    image = np.repeat(mask[..., None], 3, axis=2)
    augment = geometry(scale=(2, 2), rare_crops=1.0, jitter=0, flip=0)
    places = [
        np.argwhere(augment(image, mask, (100, 100), np.random.default_rng(seed))[1] == 1)[0]
        for seed in range(80)
    ]
    assert np.ptp(places, axis=0).min() > 80


def test_a_mask_of_void_alone_has_no_rare_class():
    image, mask = blocks(40, 40)
    mask[:] = VOID
    _, ids = Augment(rare_crops=1.0)(image, mask, (32, 32), np.random.default_rng(0))
    assert (ids == VOID).all()


def test_images_wider_than_opencv_counts_are_turned_too():
    image = np.zeros((2, 40_000, 3), np.uint8)
    mask = np.zeros((2, 40_000), np.uint8)
    augment = Augment(scale=(600, 600), jitter=0, rotation=5)
    found, _ = augment(image, mask, (64, 64), np.random.default_rng(0))
    assert found.shape == (64, 64, 3)


@pytest.mark.parametrize("count", [1, 2, 5, 130])
def test_any_number_of_channels(count, rng):
    image = rng.integers(0, 256, (40, 50, count), dtype=np.uint8)
    mask = rng.integers(0, 3, (40, 50)).astype(np.uint8)
    for seed in range(4):
        found, _ = Augment(**ALL)(image, mask, (32, 48), np.random.default_rng(seed))
        assert (found.shape, found.dtype) == ((32, 48, count), np.uint8)


@pytest.mark.parametrize(
    ("strengths", "message"),
    [
        ({"flip_vertical": 1.5}, "flip_vertical is a probability, 0 to 1; got 1.5"),
        ({"rare_crops": -0.1}, "rare_crops is a probability"),
        ({"rotation": 200}, "rotation is at most 180 degrees"),
        ({"rotation": -1}, "rotation must be at least 0"),
        ({"noise": float("nan")}, "noise must be at least 0; got nan"),
        ({"contrast": 1.0}, "contrast must be at least 0 and below 1"),
        ({"elastic": 2.0}, "elastic must be at least 0 and below 1"),
    ],
)
def test_strengths_that_make_no_sense_are_refused_too(strengths, message):
    with pytest.raises(UserError, match=message):
        Augment(**strengths)
