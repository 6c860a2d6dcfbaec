"""Files of 16 bits and floats: the numbers that were written, in every format and layout."""

import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from stand_ins import UPRIGHT

from errors import UserError
from utils.images.channels import to_array
from utils.images.deep import read_numbers
from utils.images.header import read_header
from utils.images.reading import read_image, read_to_show

RANGE = (0.0, 4095.0)
PNG_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # {channels: type of colours}


def write_png(path, values, extra=b""):
    """A PNG of 16 bits, from its standard alone."""
    height, width, channels = values.shape
    head = struct.pack(">IIBBBBB", width, height, 16, PNG_TYPES[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = _chunk(b"IHDR", head) + extra + _chunk(b"IDAT", zlib.compress(rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks + _chunk(b"IEND", b""))
    return path


def _chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.fixture
def twelve_bits(rng):
    """twelve_bits(channels): uint16 (11, 13, channels) of 0..4095."""
    return lambda channels: rng.integers(0, 4096, (11, 13, channels)).astype(np.uint16)


def scaled(values):
    """The hand's way: 4095 is 255."""
    return np.rint(values.astype(float) * 255 / 4095).clip(0, 255).astype(np.uint8)


def luma(pixels):
    return np.array(Image.fromarray(pixels).convert("L"))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png(tmp_path, twelve_bits, channels):
    values = twelve_bits(channels)
    path = write_png(tmp_path / "a.png", values)
    assert read_header(path).is_deep
    np.testing.assert_array_equal(read_numbers(path, 1000).values, values)
    expected = scaled(values)
    np.testing.assert_array_equal(
        read_image(path, value_range=RANGE),
        expected[..., [0, 0, 0] if channels == 1 else [0, 1, 2]],
    )
    grey = expected[..., 0] if channels == 1 else luma(np.ascontiguousarray(expected[..., :3]))
    np.testing.assert_array_equal(read_image(path, in_channels=1, value_range=RANGE)[..., 0], grey)
    if channels == 4:
        np.testing.assert_array_equal(read_image(path, in_channels=4, value_range=RANGE), expected)
    else:
        with pytest.raises(UserError, match=f"has {channels} channel"):
            read_image(path, in_channels=4, value_range=RANGE)


def test_grey_png_with_transparency(tmp_path, twelve_bits):
    values = twelve_bits(2)
    path = write_png(tmp_path / "a.png", values)
    grey = scaled(values[..., :1])
    np.testing.assert_array_equal(read_image(path, value_range=RANGE), grey.repeat(3, axis=2))
    np.testing.assert_array_equal(read_image(path, in_channels=1, value_range=RANGE), grey)


def test_png_with_a_transparent_colour(tmp_path, twelve_bits):
    values = twelve_bits(3)
    path = write_png(tmp_path / "a.png", values, _chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3)))
    np.testing.assert_array_equal(read_image(path, value_range=RANGE), scaled(values))


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_png_is_turned_upright(tmp_path, twelve_bits, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for channels in (1, 3):
        values = twelve_bits(channels)
        path = write_png(tmp_path / "a.png", values, _chunk(b"eXIf", exif.tobytes()[6:]))
        expected = UPRIGHT[orientation](values)
        np.testing.assert_array_equal(read_numbers(path, 1000).values, expected)
        assert read_header(path).size == expected.shape[:2]


LAYOUTS = {
    "rgb": {"photometric": "rgb"},
    "rgb planar": {"photometric": "rgb", "planarconfig": "separate"},
    "no tag": {"photometric": "minisblack", "planarconfig": "contig"},
    "no tag planar": {"photometric": "minisblack", "planarconfig": "separate"},
    "deflate": {"photometric": "rgb", "compression": "zlib", "predictor": True},
    "big endian": {"photometric": "rgb", "byteorder": ">"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "float32", "float64"])
def test_colour_tiff(tmp_path, twelve_bits, layout, dtype):
    values, options, path = twelve_bits(3).astype(dtype), LAYOUTS[layout], tmp_path / "a.tif"
    planar = options.get("planarconfig") == "separate"
    stored = np.ascontiguousarray(np.moveaxis(values, -1, 0)) if planar else values
    if values.dtype.kind == "f" and "predictor" in options:
        options = options | {"predictor": False}
    tifffile.imwrite(path, stored, **options)
    assert (read_header(path).channels, read_header(path).is_deep) == ((1, 3), True)
    np.testing.assert_array_equal(read_numbers(path, 1000).values, values)
    np.testing.assert_array_equal(read_image(path, value_range=RANGE), scaled(values))
    grey = read_image(path, in_channels=1, value_range=RANGE)
    np.testing.assert_array_equal(grey[..., 0], luma(scaled(values)))


@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint32", "int32", "float32", "float64"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_grey_tiff(tmp_path, twelve_bits, dtype, byteorder):
    values, path = twelve_bits(1).astype(dtype), tmp_path / "a.tif"
    tifffile.imwrite(path, values[..., 0], byteorder=byteorder)
    assert read_header(path).channels == (1, 3)
    for value_range, expected in ((RANGE, scaled(values)), (None, None)):
        image = read_image(path, value_range=value_range)
        assert image.shape == (11, 13, 3)
        if expected is not None:
            np.testing.assert_array_equal(image, expected.repeat(3, axis=2))


def test_lzw(tmp_path, twelve_bits):
    """What tifffile reads with another package alone, Pillow and OpenCV read without."""
    path = tmp_path / "a.tif"
    for values in (twelve_bits(1), twelve_bits(3)):
        stored = values[..., ::-1] if values.shape[2] == 3 else values
        cv2.imwrite(str(path), stored, [cv2.IMWRITE_TIFF_COMPRESSION, 5])
        np.testing.assert_array_equal(read_numbers(path, 1000).values, values)
        np.testing.assert_array_equal(
            read_image(path, value_range=RANGE), np.broadcast_to(scaled(values), (11, 13, 3))
        )


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_lzw_is_turned_upright(tmp_path, twelve_bits, orientation):
    path = tmp_path / "a.tif"
    grey = Image.fromarray(twelve_bits(1)[..., 0])
    grey.save(path, compression="tiff_lzw", tiffinfo={274: orientation})
    expected = UPRIGHT[orientation](np.array(grey)[..., None])
    np.testing.assert_array_equal(read_numbers(path, 1000).values, expected)


def test_other_formats_of_16_bits(tmp_path, twelve_bits):
    values = twelve_bits(1)[..., 0]
    (tmp_path / "a.pgm").write_bytes(b"P5 13 11 65535\n" + values.astype(">u2").tobytes())
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.pgm", in_channels=1, value_range=RANGE)[..., 0], scaled(values)
    )


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp"])
def test_8_bits_stay_whatever_the_range(tmp_path, rng, name):
    for array in (rng.integers(0, 256, (9, 8, 3)), rng.integers(0, 256, (9, 8))):
        Image.fromarray(array.astype(np.uint8)).save(tmp_path / name)
        np.testing.assert_array_equal(
            read_image(tmp_path / name, value_range=RANGE), read_image(tmp_path / name)
        )
        assert not read_header(tmp_path / name).is_deep


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_white_at_zero_is_inverted_whatever_the_bits(tmp_path, twelve_bits, dtype):
    values = twelve_bits(1)[..., 0]
    if dtype == "uint8":
        values = values // 16
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values.astype(dtype), photometric="miniswhite")
    expected = 255 - (values if dtype == "uint8" else scaled(values))
    assert read_header(path).notes == ("picture_inverted",)
    for channels in (1, 3):
        pixels = read_image(path, in_channels=channels, value_range=RANGE)
        np.testing.assert_array_equal(pixels[..., 0], expected)
    with Image.open(path) as image:
        np.testing.assert_array_equal(to_array(image, value_range=RANGE)[..., 0], expected)
    # Weights files without a range were trained with what Pillow shows.
    with Image.open(path) as image:
        old = to_array(image)
    np.testing.assert_array_equal(read_image(path), old)


def test_cmyk_of_16_bits(tmp_path):
    path, colors = tmp_path / "a.tif", np.zeros((4, 5, 4), np.uint16)
    colors[..., 1:3] = 4095  # magenta and yellow are red
    tifffile.imwrite(path, colors, photometric="separated")
    assert read_image(path, value_range=RANGE)[0, 0].tolist() == [255, 0, 0]
    assert read_image(path, in_channels=4, value_range=RANGE)[0, 0].tolist() == [0, 255, 255, 0]


@pytest.mark.parametrize("channels", [1, 3])
def test_broken_png_is_one_line(tmp_path, twelve_bits, channels):
    path = write_png(tmp_path / "a.png", twelve_bits(channels))
    data = path.read_bytes()
    for end in (20, 40, len(data) // 2, len(data) - 30):
        path.write_bytes(data[:end])
        with pytest.raises(UserError, match=r"a\.png can't be read") as caught:
            read_image(path, value_range=RANGE)
        assert "\n" not in str(caught.value)


def test_what_opencv_can_t_read_with_all_bits(tmp_path, twelve_bits, monkeypatch):
    path = write_png(tmp_path / "a.png", twelve_bits(3))
    monkeypatch.setattr(cv2, "imdecode", lambda *_: None)
    with pytest.raises(UserError, match=r"can't be read with all its bits\. Save it again, as PNG"):
        read_image(path, value_range=RANGE)


def test_too_many_pixels(tmp_path, twelve_bits):
    path = write_png(tmp_path / "a.png", twelve_bits(3))
    with pytest.raises(UserError, match="13x11 = 143 pixels; max_pixels is 142"):
        read_image(path, 142, value_range=RANGE)
    with pytest.raises(UserError, match="max_pixels is 142"):
        read_numbers(path, 142)


def test_colours_of_which_pillow_shows_8_bits(tmp_path, twelve_bits):
    """Of an opened image there is no way to all its bits; with a range, that would be black."""
    write_png(tmp_path / "a.png", twelve_bits(3))
    tifffile.imwrite(tmp_path / "a.tif", twelve_bits(3), photometric="rgb")
    for name in ("a.png", "a.tif"):
        with Image.open(tmp_path / name) as image, pytest.raises(UserError) as caught:
            to_array(image, value_range=RANGE)
        assert "Pillow shows only 8 bits of 16, and the network expects brightness in" in str(
            caught.value
        )


def test_12_bits_are_there_to_be_seen(tmp_path):
    """Shown from 0..65535, they would be black."""
    ramp = np.linspace(0, 4095, 2000).astype(np.uint16).reshape(40, 50)
    Image.fromarray(ramp).save(tmp_path / "a.tif")
    shown = read_to_show(tmp_path / "a.tif")
    assert (shown.min(), shown.max(), shown.shape) == (0, 255, (40, 50, 3))
