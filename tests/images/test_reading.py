"""Reading images of all kinds, upright and within a limit of pixels."""

import struct
import warnings
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from stand_ins import UPRIGHT

from errors import UserError
from utils.images import reading as image_files
from utils.images.channels import to_array
from utils.images.header import image_size
from utils.images.opening import open_image
from utils.images.reading import read_image

# Pytest shows what `utils.images.reading` has silenced.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

ORIENTATION = 0x0112
# What a viewer does to show an image upright, by the EXIF standard.


def oriented(path, array, orientation):
    """Writes an image with an EXIF orientation."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(array).save(path, exif=exif)
    return path


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation(tmp_path, rng, orientation):
    stored = rng.integers(0, 256, (4, 7, 3)).astype(np.uint8)
    path = oriented(tmp_path / "picture.png", stored, orientation)
    upright = UPRIGHT[orientation](stored)
    np.testing.assert_array_equal(read_image(path), upright)
    assert image_size(path) == upright.shape[:2]


@pytest.mark.parametrize(
    ("extension", "orientation"),
    [
        ("jpg", 1),
        ("jpg", 6),
        ("webp", 8),
        ("avif", 6),
        ("tif", 3),
        ("tif", 6),
        ("jpg", 9),
    ],
)
def test_image_size_is_that_of_the_array(tmp_path, extension, orientation):
    image = np.zeros((20, 30, 3), np.uint8)
    path = oriented(tmp_path / f"picture.{extension}", image, orientation)
    assert image_size(path) == read_image(path).shape[:2]


@pytest.mark.parametrize("transparency", [None, 1, b"\x80\x00"])
def test_palettes_give_their_colours_with_and_without_transparency(tmp_path, transparency):
    image = Image.fromarray(np.array([[0, 1]], np.uint8))
    image.putpalette([10, 20, 30, 40, 50, 60])
    options = {} if transparency is None else {"transparency": transparency}
    image.save(tmp_path / "picture.png", **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a training would print Pillow's for each such file
        assert read_image(tmp_path / "picture.png").tolist() == [[[10, 20, 30], [40, 50, 60]]]


def test_16_bit_files_keep_their_brightness(tmp_path):
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    for name in ("picture.png", "picture.tif"):
        Image.fromarray(values).save(tmp_path / name)
        assert read_image(tmp_path / name)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_cmyk_jpeg(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "picture.jpg")
    pixel = read_image(tmp_path / "picture.jpg")[8, 8].astype(int)
    assert np.abs(pixel - (255, 0, 0)).max() < 5


@pytest.mark.parametrize("function", [open_image, read_image, image_size])
@pytest.mark.parametrize("data", [b"", b"no image", b"\xff\xd8\xff\xe0\x00\x10JFIF"])
def test_broken_images_are_named(tmp_path, function, data):
    path = tmp_path / "picture.jpg"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        function(path)
    assert str(caught.value).startswith(f"The image {path} can't be read: ")


@pytest.mark.parametrize("name", ["image.jpg", "image.png", "image.webp"])
def test_a_truncated_image_is_refused_though_its_header_is_right(tmp_path, rng, name):
    path = tmp_path / name
    Image.fromarray(rng.integers(0, 256, (60, 80, 3)).astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"The image .* can't be read: "):
        read_image(path)


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(UserError, match="can't be read"):
        read_image(tmp_path)


@pytest.mark.parametrize(
    "function",
    [
        open_image,
        read_image,
        image_size,
    ],
)
def test_a_missing_image_is_named(tmp_path, function):
    with pytest.raises(UserError) as caught:
        function(tmp_path / "none.jpg")
    assert str(caught.value) == f"There is no file {tmp_path / 'none.jpg'}."


def test_an_orientation_in_xmp_alone_counts(tmp_path):
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    path = tmp_path / "turned.jpg"
    Image.new("RGB", (6, 4)).save(path, xmp=xmp)
    assert image_size(path) == (6, 4)
    assert read_image(path).shape == (6, 4, 3)


def test_opencv_and_pillow_read_jpegs_alike(tmp_path):
    """Grey, colour with and without subsampling, progressive, with an EXIF that turns nothing."""
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 1, "maker"
    options = [{}, {"subsampling": 0}, {"progressive": True}, {"exif": exif}]
    for index, option in enumerate(options):
        for mode, shape in (("RGB", (37, 51, 3)), ("L", (37, 51))):
            path = tmp_path / f"{index}{mode}.jpg"
            Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(path, **option)
            with Image.open(path) as image:
                expected = np.array(image.convert("RGB"))
            np.testing.assert_array_equal(read_image(path), expected)


# Large images


@pytest.fixture
def large(monkeypatch):
    """Images of 100 pixels are large already; the list of those that Pillow decoded."""
    opened, original = [], image_files.open_image
    monkeypatch.setattr(image_files, "_LARGE", 100)

    def watched(path, *args):
        opened.append(path.name)
        return original(path, *args)

    monkeypatch.setattr(image_files, "open_image", watched)
    return opened


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif", "a.bmp"])
@pytest.mark.parametrize("function", [open_image, read_image])
def test_files_of_more_than_max_pixels_are_refused(tmp_path, name, function):
    path = tmp_path / name
    Image.new("RGB", (91, 11)).save(path)
    function(path, 1001)
    with pytest.raises(UserError) as caught:
        function(path, 1000)
    assert str(caught.value).startswith(f"The image {path} has 91x11 = 1,001 pixels; max_pixels")


def test_max_pixels_alone_decides_whatever_pillow_s_own_limit(tmp_path):
    path = tmp_path / "large.png"
    width, height = 13_500, 13_400  # Pillow warns from 89 million, and refuses from 179
    Image.new("1", (width, height), 1).save(path, compress_level=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image_size(path) == (height, width)
        assert open_image(path).size == (width, height)
    with pytest.raises(UserError, match="max_pixels is 180,000,000"):
        read_image(path, 180_000_000)


# What OpenCV decodes of the large ones: 8-bit grey and RGB of these formats.
PLAIN = {
    "a.png": {},
    "turned_by_nothing.png": {"exif": {ORIENTATION: 1}},
    "raw.tif": {},
    "lzw.tif": {"compression": "tiff_lzw"},
    "deflate.tif": {"compression": "tiff_adobe_deflate"},
    "packbits.tif": {"compression": "packbits"},
    "a.bmp": {},
}


def save_with(path, array, options):
    image, options = Image.fromarray(array), dict(options)
    exif = Image.Exif()
    for tag, value in options.pop("exif", {}).items():
        exif[tag] = value
    image.save(path, **options, **({"exif": exif} if exif else {}))


@pytest.mark.parametrize("shape", [(40, 61, 3), (40, 61)])
@pytest.mark.parametrize("name", PLAIN)
def test_plain_large_images_are_read_alike_by_opencv(tmp_path, rng, large, name, shape):
    path, array = tmp_path / name, rng.integers(0, 256, shape).astype(np.uint8)
    save_with(path, array, PLAIN[name])
    expected = array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2)
    np.testing.assert_array_equal(read_image(path), expected)
    assert large == []


@pytest.mark.parametrize("shape", [(40, 61, 3), (40, 61)])
@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.usefixtures("large")
def test_a_truncated_large_image_is_refused(tmp_path, rng, name, shape):
    path = tmp_path / name
    save_with(path, rng.integers(0, 256, shape).astype(np.uint8), PLAIN[name])
    data = path.read_bytes()
    for part in (0.001, 0.01, 0.1, 0.3, 0.5, 0.8):
        path.write_bytes(data[: int(part * len(data))])
        with pytest.raises(UserError, match="can't be read") as caught:
            read_image(path)
        assert "\n" not in str(caught.value)


def test_other_large_images_are_left_to_pillow(tmp_path, rng, large):
    array = rng.integers(0, 256, (40, 61, 3)).astype(np.uint8)
    frames = [Image.fromarray(array[::-1]), Image.fromarray(array[:, ::-1])]
    alpha = Image.fromarray(np.dstack([array, array[..., :1]]))
    kinds = {
        "alpha.png": alpha.save,
        "alpha.tif": alpha.save,
        "cut_out.png": lambda path: Image.fromarray(array).save(path, transparency=(1, 2, 3)),
        "16.png": lambda path: Image.fromarray(array[..., 0].astype(np.uint16) * 257).save(path),
        "float.tif": lambda path: Image.fromarray(array[..., 0].astype(np.float32)).save(path),
        "cmyk.tif": lambda path: Image.fromarray(array).convert("CMYK").save(path),
        "palette.png": lambda path: Image.fromarray(array[..., 0]).convert("P").save(path),
        "bits.png": lambda path: Image.fromarray(array[..., 0] > 99).save(path),
        "turned.png": lambda path: save_with(path, array, {"exif": {ORIENTATION: 6}}),
        "turned.tif": lambda path: save_with(path, array, {"exif": {ORIENTATION: 3}}),
        "a.webp": lambda path: Image.fromarray(array).save(path, lossless=True),
        "a.ppm": lambda path: Image.fromarray(array).save(path),
        # Its first image is shown where nothing moves, and is none of the frames.
        "moving.png": lambda path: Image.fromarray(array).save(
            path, save_all=True, default_image=True, append_images=frames
        ),
    }
    for name, save in kinds.items():
        save(tmp_path / name)
        with Image.open(tmp_path / name) as image:
            expected = to_array(image)
        np.testing.assert_array_equal(read_image(tmp_path / name), expected, name)
    assert large == list(kinds)


def test_the_first_image_of_several_is_read(tmp_path, rng, large):
    array = rng.integers(0, 256, (40, 61, 3)).astype(np.uint8)
    others = [Image.fromarray(array[::-1]), Image.fromarray(array[:, ::-1])]
    for name in ("a.png", "a.tif"):
        Image.fromarray(array).save(tmp_path / name, save_all=True, append_images=others)
        np.testing.assert_array_equal(read_image(tmp_path / name), array)
    assert large == []


@pytest.mark.usefixtures("large")
def test_what_opencv_can_not_decode_pillow_may(tmp_path):
    # OpenCV's PNG files end at a million pixels a side.
    path = tmp_path / "wide.png"
    Image.new("RGB", (1_100_000, 1), (10, 20, 30)).save(path)
    array = read_image(path)
    assert array.shape == (1, 1_100_000, 3)
    assert np.all(array == (10, 20, 30))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp"])
def test_an_image_is_refused_before_it_is_decoded(tmp_path, monkeypatch, large, name):
    path = tmp_path / name
    Image.new("RGB", (91, 11)).save(path)
    for function in ("imread", "imdecode"):
        monkeypatch.setattr(cv2, function, lambda *_: pytest.fail("decoded"))
    with pytest.raises(UserError, match="91x11 = 1,001 pixels"):
        read_image(path, 1000)
    assert large == []


def test_a_jpeg_with_broken_exif_is_taken_as_it_is(tmp_path):
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.new("RGB", (6, 4), (10, 20, 30)).save(path, exif=exif)
    assert read_image(path).shape == (6, 4, 3)
    path.write_bytes(path.read_bytes().replace(b"Exif\0\0MM", b"Exif\0\0XX"))
    assert image_size(path) == (4, 6)
    assert np.abs(read_image(path).astype(int) - (10, 20, 30)).max() < 5
    assert read_image(path).shape == (4, 6, 3)


def test_a_path_that_no_system_has_is_one_line():
    with pytest.raises(UserError, match="can't be read: embedded null byte"):
        read_image("a\0b.png")


def png_with_chunks(path, array, before=b"", after=b""):
    """Writes a PNG with an eXIf chunk before or after its pixels, which Pillow can't write."""
    Image.fromarray(array).save(path)
    data = path.read_bytes()

    def chunk(body):
        body = b"eXIf" + body
        return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))

    start, end = data.index(b"IDAT") - 4, data.index(b"IEND") - 4
    first = chunk(before) if before else b""
    last = chunk(after) if after else b""
    path.write_bytes(data[:start] + first + data[start:end] + last + data[end:])
    return path


@pytest.mark.parametrize("place", ["before", "after"])
def test_exif_on_either_side_of_a_png_s_pixels_counts(tmp_path, rng, place):
    array = rng.integers(0, 256, (8, 12, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    path = png_with_chunks(tmp_path / "a.png", array, **{place: exif.tobytes()[6:]})
    assert image_size(path) == (12, 8)
    np.testing.assert_array_equal(read_image(path), UPRIGHT[6](array))


def test_the_size_of_a_png_is_known_without_decoding_it(tmp_path, rng, monkeypatch):
    path = png_with_chunks(tmp_path / "a.png", rng.integers(0, 256, (8, 12, 3)).astype(np.uint8))

    def load(_):
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    assert image_size(path) == (8, 12)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "I;16"])
def test_a_turned_tiff_is_not_garbled(tmp_path, rng, mode, orientation):
    """Pillow garbles those that it maps into memory: what can be read without decoding."""
    shape = (9, 14) if mode in ("L", "I;16") else (9, 14, len(mode))
    stored = rng.integers(0, 256, shape).astype(np.uint16 if mode == "I;16" else np.uint8)
    image = Image.fromarray(stored, None if mode == "I;16" else mode)
    image.save(tmp_path / "a.tif", tiffinfo={274: orientation})
    upright = UPRIGHT[orientation](stored.reshape(9, 14, -1))
    opened = open_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(np.array(opened).reshape(upright.shape), upright)
    with Image.open(tmp_path / "a.tif") as unread:
        np.testing.assert_array_equal(to_array(unread), to_array(opened))
