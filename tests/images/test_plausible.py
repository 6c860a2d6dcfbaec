"""Files that promise what they can't hold are refused at once; what programs write never is."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from errors import UserError
from utils.images import channels
from utils.images.channels import check_bytes, check_pixels, pixel_bytes, to_array
from utils.images.header import read_header
from utils.images.jpeg import plain_jpeg_size
from utils.images.reading import read_image

FUNCTIONS = (read_image, read_header)


def jpeg(size=(32, 32), **options):
    """A JPEG, as bytes that can be changed."""
    data = io.BytesIO()
    Image.new("RGB", size, (10, 200, 90)).save(data, "JPEG", **options)
    return bytearray(data.getvalue())


def chunk(name, data=b""):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, kind=2, extra=b"", body=b""):
    head = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    chunks = chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND")
    return b"\x89PNG\r\n\x1a\n" + chunks


def assert_refused(path, data, text):
    path.write_bytes(data)
    for function in FUNCTIONS:
        with pytest.raises(UserError, match=text) as caught:
            function(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


TOO_SMALL = "can't be read: the file is not whole: it is too small for what it says it holds"


@pytest.mark.parametrize(("marker", "options"), [(0xC0, {}), (0xC2, {"progressive": True})])
def test_a_small_jpeg_that_claims_many_pixels(tmp_path, marker, options):
    data = jpeg(**options)
    place = data.find(bytes([0xFF, marker]))
    data[place + 5 : place + 9] = struct.pack(">HH", 20_000, 20_000)
    path = tmp_path / "a.jpg"
    assert_refused(path, data, TOO_SMALL)
    assert plain_jpeg_size(path) is None


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 1}, {"optimize": True}])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpegs_of_one_colour_hold_what_they_say(tmp_path, mode, options):
    """No image compresses better; the libraries' tables take at least two bits for each block."""
    path = tmp_path / "a.jpg"
    Image.new(mode, (3000, 2000)).save(path, **options)
    assert read_image(path).shape == (2000, 3000, 3)
    assert plain_jpeg_size(path) == (3000, 2000)


def test_a_png_that_claims_many_pixels(tmp_path):
    assert_refused(tmp_path / "a.png", png(22_000, 22_000, body=bytes(1000)), TOO_SMALL)
    whole = png(3000, 2000, body=bytes(9001 * 2000))  # the best that deflate makes of zeros
    (tmp_path / "a.png").write_bytes(whole)
    assert read_image(tmp_path / "a.png").shape == (2000, 3000, 3)


@pytest.mark.parametrize("compression", ["tiff_adobe_deflate", "tiff_lzw", "packbits", None])
def test_a_tiff_that_claims_many_pixels(tmp_path, compression):
    path = tmp_path / "a.tif"
    Image.new("RGB", (2500, 2000)).save(path, compression=compression)
    assert read_image(path).shape == (2000, 2500, 3)
    data = bytearray(path.read_bytes())
    directory = int.from_bytes(data[4:8], "little")
    for index in range(int.from_bytes(data[directory : directory + 2], "little")):
        place = directory + 2 + 12 * index
        if int.from_bytes(data[place : place + 2], "little") in (256, 257):  # width and height
            data[place + 2 : place + 4] = struct.pack("<H", 4)
            data[place + 8 : place + 12] = struct.pack("<I", 22_000)
    if compression != "tiff_lzw":  # of which a file of this size might be one
        assert_refused(path, data, TOO_SMALL)


def test_parts_without_end(tmp_path):
    start = b"\xff\xd8"
    refused = {
        "fill.jpg": (start + b"\xff" * 100_000, "it consists of fill bytes"),
        "segments.jpg": (
            start + b"\xff\xe1\x00\x02" * 20_000, "more than 10,000 segments before its pixels",
        ),
        "chunks.png": (
            png(4, 4, extra=chunk(b"tEXt", b"a\0b") * 10_000), "more than 10,000 chunks of a few",
        ),
    }  # fmt: skip
    for name, (data, text) in refused.items():
        assert_refused(tmp_path / name, data, text)
    frame = jpeg()
    place = frame.find(b"\xff\xda")
    data = frame[:place] + b"\xff" * 100_000 + frame[place:]  # between frame and pixels
    (tmp_path / "later.jpg").write_bytes(data)
    with pytest.raises(UserError, match="it consists of fill bytes"):
        read_header(tmp_path / "later.jpg")


def test_many_parts_that_programs_write(tmp_path):
    """A few hundred segments of XMP; fill bytes before markers; a chunk for each 8 kB."""
    data = jpeg()
    segments = (b"\xff\xff\xff\xe1" + struct.pack(">H", 1002) + bytes(1000)) * 300
    (tmp_path / "a.jpg").write_bytes(data[:2] + segments + data[2:])
    assert read_image(tmp_path / "a.jpg").shape == (32, 32, 3)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 900, 3)).astype(np.uint8)).save(
        tmp_path / "a.png"
    )
    assert read_image(tmp_path / "a.png").shape == (900, 900, 3)


def test_a_side_that_is_too_long():
    check_pixels(10_000_000, 50, "a.png")
    with pytest.raises(UserError) as caught:
        check_pixels(10_000_001, 1, "a.png")
    assert str(caught.value) == (
        "The image a.png has 10000001x1 pixels; sides of up to 10,000,000 are read. Cut the image."
    )


def test_what_it_takes_when_decoded_is_limited():
    check_bytes(1_500_000_000, "a.png")
    check_bytes(300_000_000, "a.png", max_pixels=1)
    with pytest.raises(UserError) as caught:
        check_bytes(1_940_000_000, "a.png")
    assert str(caught.value) == (
        "The image a.png takes 1.94 GB when it is decoded; of max_pixels = 500,000,000, 3 bytes "
        "each are allowed. Save it with 8 bits and without transparency, raise max_pixels if "
        "memory allows, or cut it."
    )


@pytest.mark.parametrize(
    ("mode", "size"), [("1", 1), ("L", 1), ("P", 1), ("I;16", 2), ("LA", 4), ("RGB", 4), ("F", 4)]
)
def test_bytes_of_pillow_s_pixels(mode, size):
    assert pixel_bytes(mode) == size


def test_a_file_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(channels, "_FREE_BYTES", 100)
    Image.new("RGBA", (10, 10)).save(tmp_path / "a.png")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
    with pytest.raises(UserError, match=r"takes 0\.00 GB when it is decoded; of max_pixels = 100"):
        read_image(tmp_path / "a.png", 100)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "1"])
def test_in_strips_an_image_is_the_same(tmp_path, monkeypatch, orientation, mode, rng):
    image = Image.fromarray(rng.integers(0, 256, (23, 31, 3)).astype(np.uint8)).convert(mode)
    image.getexif()[0x0112] = orientation
    whole = [to_array(image, in_channels=count) for count in (1, 3)]
    monkeypatch.setattr(channels, "_STRIP", 100)
    for count, expected in zip((1, 3), whole, strict=True):
        np.testing.assert_array_equal(to_array(image, in_channels=count), expected)
    path = tmp_path / "a.tif"
    image.save(path, tiffinfo={274: orientation})
    with Image.open(path) as opened:
        np.testing.assert_array_equal(to_array(opened), whole[1])
