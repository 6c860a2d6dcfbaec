"""TIFF files of many channels, in every layout, sound and broken."""

import importlib.util
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image
from stand_ins import UPRIGHT

from errors import UserError
from utils.images.header import image_size, read_header
from utils.images.reading import read_image, read_to_show
from utils.images.tiff import CompressionError, is_tiff, read_tiff, read_tiff_header

LAYOUTS = {
    "in each pixel": {"planarconfig": "contig"},
    "deflate": {"planarconfig": "contig", "compression": "zlib", "predictor": True},
    "tiles": {"planarconfig": "contig", "tile": (16, 16)},
    "planar": {"planarconfig": "separate"},
    "planar tiles": {"planarconfig": "separate", "tile": (16, 16), "compression": "zlib"},
    "pages": {},
    "large file": {"planarconfig": "contig", "bigtiff": True},
    "big endian": {"planarconfig": "contig", "byteorder": ">"},
}


def write(path, channels, layout="in each pixel", **options):
    """Writes (H, W, channels) as TIFF."""
    options = LAYOUTS[layout] | options
    if layout == "pages":
        with tifffile.TiffWriter(path) as file:
            for page in np.moveaxis(channels, -1, 0):
                file.write(page, contiguous=False, **options)
        return path
    if options.get("planarconfig") != "contig":
        channels = np.ascontiguousarray(np.moveaxis(channels, -1, 0))
    tifffile.imwrite(path, channels, photometric="minisblack", **options)
    return path


@pytest.fixture
def channels(rng):
    """uint16 (21, 37, 5), multiples of 257: scaled to 8 bits they are not rounded."""
    return rng.integers(0, 256, (21, 37, 5)).astype(np.uint16) * 257


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("count", [2, 4, 5])
def test_every_layout(tmp_path, channels, layout, count):
    path = write(tmp_path / "a.tif", channels[..., :count], layout)
    image = read_image(path, in_channels=count)
    assert (image.dtype, image.flags["C_CONTIGUOUS"]) == (np.uint8, True)
    np.testing.assert_array_equal(image, channels[..., :count] // 257)
    assert count in read_header(path).channels
    assert image_size(path) == (21, 37)
    header = read_tiff_header(path)
    assert header[:3] == ((21, 37), count, "uint16")
    assert (header.pages, header.others) == (count if layout == "pages" else 1, 0)


@pytest.mark.parametrize(("shape", "count"), [((1, 7), 5), ((7, 1), 5), ((1, 1), 4)])
@pytest.mark.parametrize("layout", ["in each pixel", "planar", "pages"])
def test_a_side_of_one_pixel(tmp_path, channels, shape, count, layout):
    part = channels[: shape[0], : shape[1], :count]
    image = read_image(write(tmp_path / "a.tif", part, layout), in_channels=count)
    np.testing.assert_array_equal(image, part // 257)


def test_bytes_stay_and_floats_are_scaled(tmp_path, channels):
    small = (channels // 257).astype(np.uint8)
    path = write(tmp_path / "a.tif", small)
    np.testing.assert_array_equal(read_image(path, in_channels=5), small)
    write(path, (small / 255).astype(np.float32))
    np.testing.assert_array_equal(read_image(path, in_channels=5), small)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("layout", ["in each pixel", "planar"])
def test_orientation(tmp_path, channels, orientation, layout):
    path = write(tmp_path / "a.tif", channels, layout, extratags=[(274, "H", 1, orientation)])
    upright = UPRIGHT[orientation](channels // 257)
    np.testing.assert_array_equal(read_image(path, in_channels=5), upright)
    assert image_size(path) == upright.shape[:2]


def test_three_channels_that_pillow_does_not_know(tmp_path, channels):
    colors = channels[..., :3]
    path = write(tmp_path / "a.tif", (colors // 257 / 255).astype(np.float32), "planar")
    np.testing.assert_array_equal(read_image(path), colors // 257)
    luma = np.array(Image.fromarray((colors // 257).astype(np.uint8)).convert("L"))
    np.testing.assert_array_equal(read_image(path, in_channels=1)[..., 0], luma)
    assert read_header(path).channels == (1, 3)


@pytest.mark.parametrize("layout", ["in each pixel", "deflate", "planar", "planar tiles"])
@pytest.mark.parametrize("asked", [1, 3, 4])
def test_other_channels_are_refused(tmp_path, channels, layout, asked):
    path = write(tmp_path / "a.tif", channels, layout)
    assert read_header(path).channels == (5,)
    with pytest.raises(UserError) as caught:
        read_image(path, in_channels=asked)
    assert str(caught.value).startswith(
        f"The image {path} has 5 channels, but in_channels is {asked}. Give files with {asked} "
        "channel"
    )


def test_pages_of_one_channel_are_the_channels(tmp_path, channels):
    """None of them is dropped in silence: all are read, or the file is refused."""
    path = write(tmp_path / "a.tif", channels, "pages")
    assert read_header(path).channels == (5,)
    for asked in (1, 3, 4):
        with pytest.raises(UserError) as caught:
            read_image(path, in_channels=asked)
        assert str(caught.value) == (
            f"The image {path} holds 5 pages of one channel, which are read as 5 channels, but "
            f"in_channels is {asked}. Write each page to a file of its own, or train with "
            "in_channels=5."
        )


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("compression", [None, "zlib", "tiff_lzw"])
def test_three_pages_are_three_colours(tmp_path, channels, dtype, compression):
    path = tmp_path / "a.tif"
    small = (channels[..., :3] // 257).astype(np.uint8)
    stored = {"uint8": small, "uint16": channels[..., :3], "float32": np.float32(small) / 255}
    pages = [Image.fromarray(np.ascontiguousarray(stored[dtype][..., i])) for i in range(3)]
    pages[0].save(path, save_all=True, append_images=pages[1:], compression=compression)
    np.testing.assert_array_equal(read_image(path), small)
    header = read_header(path)
    assert (header.mode, header.channels, header.pages) == (f"3 x {dtype}", (3,), 3)


def test_overviews_are_no_pages(tmp_path, channels):
    """As in the files of maps: smaller copies of the image, and a mask of what is transparent."""
    path, grey = tmp_path / "a.tif", channels[..., 0]
    with tifffile.TiffWriter(path) as file:
        file.write(grey, contiguous=False)
        file.write(grey[::2, ::2], contiguous=False, subfiletype=1)
        file.write(grey > 0, contiguous=False, subfiletype=4)
    np.testing.assert_array_equal(read_image(path, in_channels=1)[..., 0], grey // 257)
    header = read_header(path)
    assert (header.channels, header.pages, header.has_more) == ((1, 3), 1, False)


def test_more_pages_than_channels_can_be(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((258, 4, 4), np.uint8), photometric="minisblack")
    with pytest.raises(UserError, match=r"more than 256 pages\. Write each to its own file"):
        read_image(path)


def test_four_channels_are_those_that_are_stored(tmp_path, rng):
    stored = rng.integers(0, 256, (9, 8, 4)).astype(np.uint8)
    for name, options in {
        "a.png": {},
        "a.tif": {},
        "lzw.tif": {"compression": "tiff_lzw"},
        "deflate.tif": {"compression": "tiff_adobe_deflate"},
    }.items():
        Image.fromarray(stored).save(tmp_path / name, **options)
        np.testing.assert_array_equal(read_image(tmp_path / name, in_channels=4), stored, name)
        np.testing.assert_array_equal(read_image(tmp_path / name), stored[..., :3], name)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg"])
def test_grey_of_colour_files(tmp_path, rng, name):
    Image.fromarray(rng.integers(0, 256, (9, 8, 3)).astype(np.uint8)).save(tmp_path / name)
    with Image.open(tmp_path / name) as image:
        expected = np.array(image.convert("L"))[..., None]
    np.testing.assert_array_equal(read_image(tmp_path / name, in_channels=1), expected)


def test_any_channels_are_read_to_be_shown(tmp_path, channels):
    path = write(tmp_path / "a.tif", channels)
    shown = read_to_show(path).astype(int)
    assert np.abs(shown - channels[..., :3] // 257).max() <= 3  # between its percentiles
    with pytest.raises(UserError, match="37x21 = 777 pixels; max_pixels is 776"):
        read_to_show(path, 776)
    Image.fromarray(channels[..., 0]).save(path)
    shown = read_to_show(path).astype(int)
    assert shown.shape == (21, 37, 3)
    assert np.abs(shown - channels[..., :1] // 257).max() <= 3


def test_which_files_are_tiff(tmp_path):
    assert is_tiff(write(tmp_path / "a.tif", np.zeros((4, 4, 5), np.uint8), "large file"))
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    assert not is_tiff(tmp_path / "a.png")
    assert not is_tiff(tmp_path / "none.tif")
    assert not is_tiff("a\0b.tif")


# What can't be read

# Pytest shows what `utils.images.reading` has silenced.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


@pytest.mark.parametrize("name", ["none.tif", "none.png"])
def test_a_missing_file(tmp_path, name):
    with pytest.raises(UserError, match=r"There is no file .*none\.(tif|png)\."):
        read_image(tmp_path / name, in_channels=5)


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, channels, monkeypatch):
    path = write(tmp_path / "a.tif", channels)
    assert read_image(path, 777, 5).shape == (21, 37, 5)
    monkeypatch.setattr(tifffile.TiffPage, "asarray", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(UserError, match="37x21 = 777 pixels; max_pixels is 776"):
        read_image(path, 776, 5)


def patch_tag(path, tag, value):
    """Writes another value over a number in a (little-endian) TIFF's first directory."""
    with tifffile.TiffFile(path) as file:
        found = file.pages.first.tags[tag]
        place, kind = found.valueoffset, "<H" if found.dtype == 3 else "<I"
    data = bytearray(path.read_bytes())
    struct.pack_into(kind, data, place, value)
    path.write_bytes(data)


def test_a_file_that_promises_more_than_it_can_hold(tmp_path, channels):
    path = write(tmp_path / "a.tif", channels, "deflate")
    patch_tag(path, 256, 20_000)
    patch_tag(path, 257, 20_000)
    with pytest.raises(UserError) as caught:
        read_image(path, in_channels=5)
    assert str(caught.value) == f"The image {path} can't be read: the file is not whole."


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_truncated_file(tmp_path, channels, layout):
    path = write(tmp_path / "a.tif", channels, layout)
    data = path.read_bytes()
    for part in (0.01, 0.2, 0.5, 0.9, 1 - 1 / len(data)):
        path.write_bytes(data[: int(part * len(data))])
        with pytest.raises(UserError, match=f"The image {path} ") as caught:
            read_image(path, in_channels=5)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("layout", ["in each pixel", "planar tiles", "pages"])
def test_random_bytes_are_one_line(tmp_path, rng, channels, layout):
    path = write(tmp_path / "a.tif", channels, layout)
    sound = path.read_bytes()
    for _ in range(60):
        data = bytearray(sound)
        for place in rng.integers(0, 500, 3):  # where sizes and kinds stand
            data[place] = rng.integers(0, 256)
        path.write_bytes(data)
        for asked in (1, 3, 5):
            try:
                assert read_image(path, 10**6, asked).shape[2] == asked
            except UserError as error:
                assert "\n" not in str(error)
                assert len(str(error)) < 300 + len(str(path))


def test_kinds_of_numbers_that_are_no_images(tmp_path):
    path = write(tmp_path / "a.tif", np.zeros((4, 4, 5), np.complex64))
    with pytest.raises(UserError, match="its numbers are complex64, not integers or floats"):
        read_image(path, in_channels=5)


def test_a_volume(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((2, 16, 16, 5), np.uint8), photometric="minisblack",
                     planarconfig="contig", volumetric=True, tile=(2, 16, 16))  # fmt: skip
    with pytest.raises(UserError, match="can't be read: it is a volume"):
        read_image(path, in_channels=5)


@pytest.mark.parametrize("other", [np.zeros((4, 5), np.uint8), np.zeros((4, 4), np.uint16)])
def test_pages_that_are_not_alike_are_further_images(tmp_path, other):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for page in (np.full((4, 4), 9, np.uint8), other):
            file.write(page, contiguous=False)
    assert np.all(read_image(path) == 9)
    assert read_header(path).has_more
    with pytest.raises(UserError, match="has 1 channel, but in_channels is 2"):
        read_image(path, in_channels=2)


@pytest.mark.skipif(
    importlib.util.find_spec("imagecodecs") is not None, reason="imagecodecs reads it"
)
def test_compressions_that_need_another_package(tmp_path, channels):
    path = write(tmp_path / "a.tif", channels)
    patch_tag(path, 259, 5)  # LZW
    with pytest.raises(CompressionError, match="needs another package: pip install imagecodecs"):
        read_tiff(path, 10**6)
    with pytest.raises(UserError, match="pip install imagecodecs, or save it without"):
        read_image(path, in_channels=5)
