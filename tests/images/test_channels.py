"""Modes of Pillow and numbers of any kind as channels of 8 bits."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from errors import UserError
from utils.images.channels import check_channels, check_pixels, to_array, to_rgb


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("RGB", (10, 20, 30), (10, 20, 30)),
        ("L", 77, (77, 77, 77)),
        ("1", 1, (255, 255, 255)),
        ("RGBA", (10, 20, 30, 0), (10, 20, 30)),
        ("LA", (77, 0), (77, 77, 77)),
        ("CMYK", (0, 0, 0, 0), (255, 255, 255)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("YCbCr", (77, 128, 128), (77, 77, 77)),
        ("HSV", (0, 255, 200), (200, 0, 0)),
        ("I;16", 65535, (255, 255, 255)),
        ("I;16", 100 * 257, (100, 100, 100)),
        ("I;16", 200, (1, 1, 1)),
        ("I;16B", 100 * 257, (100, 100, 100)),
        ("I", 200, (200, 200, 200)),
        ("I", 255, (255, 255, 255)),
        ("I", 256, (1, 1, 1)),
        ("I", 65535, (255, 255, 255)),
        ("I", 100 * 257, (100, 100, 100)),
        ("I", 1_000_000, (255, 255, 255)),
        ("I", -5, (0, 0, 0)),
        ("F", 0.5, (128, 128, 128)),
        ("F", 1.0, (255, 255, 255)),
        ("F", 1.6, (2, 2, 2)),
        ("F", 200.4, (200, 200, 200)),
        ("F", 1e9, (255, 255, 255)),
        ("F", -1.0, (0, 0, 0)),
        ("F", float("nan"), (0, 0, 0)),
        ("F", float("inf"), (0, 0, 0)),
        ("F", float("-inf"), (0, 0, 0)),
    ],
)
def test_every_mode_becomes_rgb(mode, color, expected):
    array = to_array(Image.new(mode, (3, 2), color))
    assert (array.shape, array.dtype) == ((2, 3, 3), np.uint8)
    assert {tuple(pixel) for pixel in array.reshape(-1, 3).tolist()} == {expected}


def test_floats_above_255_are_scaled_by_their_maximum():
    array = to_array(Image.fromarray(np.array([[0, 250, 500, 1000]], np.float32)))
    assert array[0, :, 0].tolist() == [0, 64, 128, 255]


def test_the_message_about_too_many_pixels():
    check_pixels(40, 25, "a.png", 1000)
    check_pixels(25_000, 20_000, "a.png")
    with pytest.raises(UserError) as caught:
        check_pixels(91, 11, "a.png", 1000)
    assert str(caught.value) == (
        "The image a.png has 91x11 = 1,001 pixels; max_pixels is 1,000. Raise max_pixels if "
        "memory allows (4 bytes per pixel and more), or cut the image."
    )
    with pytest.raises(UserError, match="max_pixels is 500,000,000"):
        check_pixels(25_000, 20_001, "a.png")


def test_images_of_more_than_max_pixels_are_refused(tmp_path):
    image = Image.new("L", (91, 11))
    assert to_array(image, 1001).shape == (11, 91, 3)
    with pytest.raises(UserError, match="The image given has 91x11 = 1,001 pixels"):
        to_array(image, 1000)
    image.save(tmp_path / "a.png")
    with (
        Image.open(tmp_path / "a.png") as late,
        pytest.raises(UserError, match=r"The image \S+a\.png has 91x11 = 1,001 pixels"),
    ):
        to_array(late, 1000)


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        # Pillow's luma: (299 R + 587 G + 114 B) / 1000.
        ("RGB", (10, 20, 30), 18),
        ("RGBA", (255, 0, 0, 0), 76),
        ("CMYK", (0, 255, 255, 0), 76),
        ("HSV", (0, 255, 255), 76),
        ("YCbCr", (77, 128, 128), 77),
        ("L", 77, 77),
        ("LA", (77, 0), 77),
        ("1", 1, 255),
        ("I;16", 100 * 257, 100),
        ("I", 200, 200),
        ("F", 0.5, 128),
    ],
)
def test_every_mode_becomes_grey(mode, color, expected):
    array = to_array(Image.new(mode, (3, 2), color), in_channels=1)
    assert (array.shape, array.dtype) == ((2, 3, 1), np.uint8)
    assert np.all(array == expected)


def test_a_palette_s_grey_is_that_of_its_colours():
    image = Image.fromarray(np.array([[0, 1]], np.uint8))
    image.putpalette([255, 0, 0, 40, 40, 40])
    assert to_array(image, in_channels=1).tolist() == [[[76], [40]]]


@pytest.mark.parametrize(
    ("mode", "color"), [("RGBA", (1, 2, 3, 0)), ("CMYK", (4, 5, 6, 7)), ("LA", (8, 9))]
)
def test_as_many_channels_as_asked_for_stay_as_they_are(mode, color):
    array = to_array(Image.new(mode, (3, 2), color), in_channels=len(color))
    assert array.shape == (2, 3, len(color))
    assert np.all(array == color)


def test_other_channels_are_turned_upright_too(rng):
    stored = rng.integers(0, 256, (4, 7, 4)).astype(np.uint8)
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = 6
    np.testing.assert_array_equal(to_array(image, in_channels=4), np.rot90(stored, -1))
    grey = to_array(image, in_channels=1)[..., 0]
    np.testing.assert_array_equal(grey, np.rot90(np.array(image.convert("L")), -1))


@pytest.mark.parametrize(
    ("mode", "found", "asked"),
    [
        ("RGB", "3 channels", 4),
        ("RGBA", "4 channels", 5),
        ("L", "1 channel", 4),
        ("P", "3 channels", 2),
    ],
)
def test_other_channels_than_asked_for_are_refused(mode, found, asked):
    with pytest.raises(UserError) as caught:
        to_array(Image.new(mode, (3, 2)), in_channels=asked)
    assert str(caught.value) == (
        f"The image given has {found}, but in_channels is {asked}. Give files with {asked} "
        f"channels, or train with in_channels={found[0]}."
    )


def test_the_message_about_channels_counts_one_right():
    check_channels(5, 5, "a.tif")
    with pytest.raises(
        UserError, match=r"a\.tif has 5 channels, .* is 1\. Give files with 1 channel, "
    ):
        check_channels(5, 1, "a.tif")


def test_one_channel_of_several_is_not_taken_for_grey(tmp_path, rng):
    """Pillow opens the first channel of some planar files as if it were all."""
    path = tmp_path / "a.tif"
    channels = rng.integers(0, 60_000, (5, 8, 9)).astype(np.uint16)
    tifffile.imwrite(path, channels, photometric="minisblack", planarconfig="separate",
                     compression="zlib")  # fmt: skip
    with Image.open(path) as image, pytest.raises(UserError) as caught:
        assert image.mode == "I;16"
        to_array(image)
    assert f"Of the image {path}, Pillow shows only one of 5 channels. Give the path" in str(
        caught.value
    )


def test_channels_are_shown_as_rgb(rng):
    pixels = rng.integers(0, 256, (4, 6, 5)).astype(np.uint8)
    colors = pixels[..., :3].copy()
    assert to_rgb(colors) is colors
    np.testing.assert_array_equal(to_rgb(pixels), colors)
    for count in (1, 2):
        grey = to_rgb(pixels[..., :count])
        assert grey.shape == (4, 6, 3)
        assert np.all(grey == pixels[..., :1])
