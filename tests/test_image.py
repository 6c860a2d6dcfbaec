"""Reading pictures of all kinds, resizing, the letterbox and its inverse, normalizing."""

import warnings

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from errors import UserError
from utils import image as image_module
from utils.image import (
    Box,
    check_pixels,
    image_size,
    letterbox_box,
    letterbox_image,
    letterbox_mask,
    normalize,
    open_image,
    paste,
    read_image,
    resize_image,
    resize_mask,
    to_rgb_array,
)

# Pytest shows what `utils.image` has silenced.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

ORIENTATION = 0x0112
# What a viewer does to show a picture upright, by the EXIF standard.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a.transpose(1, 0, 2), 2),
    8: np.rot90,
}

sides = st.integers(1, 120)
sizes = st.tuples(sides, sides)


def oriented(path, array, orientation):
    """Writes a picture with an EXIF orientation."""
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
    picture = np.zeros((20, 30, 3), np.uint8)
    path = oriented(tmp_path / f"picture.{extension}", picture, orientation)
    assert image_size(path) == read_image(path).shape[:2]


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
    array = to_rgb_array(Image.new(mode, (3, 2), color))
    assert (array.shape, array.dtype) == ((2, 3, 3), np.uint8)
    assert {tuple(pixel) for pixel in array.reshape(-1, 3).tolist()} == {expected}


def test_floats_above_255_are_scaled_by_their_maximum():
    array = to_rgb_array(Image.fromarray(np.array([[0, 250, 500, 1000]], np.float32)))
    assert array[0, :, 0].tolist() == [0, 64, 128, 255]


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
@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff\xe0\x00\x10JFIF"])
def test_broken_pictures_are_named(tmp_path, function, data):
    path = tmp_path / "picture.jpg"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        function(path)
    assert str(caught.value).startswith(f"The picture {path} can't be read: ")


@pytest.mark.parametrize("name", ["picture.jpg", "picture.png", "picture.webp"])
def test_a_truncated_picture_is_refused_though_its_header_is_right(tmp_path, rng, name):
    path = tmp_path / name
    Image.fromarray(rng.integers(0, 256, (60, 80, 3)).astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"The picture .* can't be read: "):
        read_image(path)


def test_a_folder_is_no_picture(tmp_path):
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
def test_a_missing_picture_is_named(tmp_path, function):
    with pytest.raises(UserError) as caught:
        function(tmp_path / "none.jpg")
    assert str(caught.value) == f"There is no file {tmp_path / 'none.jpg'}."


@given(sizes, sizes, st.integers(0, 255))
@example((1, 3000), (64, 7), 200)
@example((3000, 1), (2, 96), 200)
def test_a_uniform_picture_stays_uniform(before, after, value):
    resized = resize_image(np.full((*before, 3), value, np.uint8), after)
    assert (resized.shape, resized.dtype) == ((*after, 3), np.uint8)
    assert np.all(resized == value)


@pytest.mark.parametrize("size", [(16, 12), (64, 12), (16, 48), (16, 200), (200, 12)])
def test_shrinking_averages(rng, size):
    # Noise along the axes that shrink, by 4. Plain bilinear resizing would average only
    # the middle two of each four pixels.
    rows, columns = 64 if size[0] == 16 else 1, 48 if size[1] == 12 else 1
    noise = rng.integers(0, 256, (rows, columns, 3)).astype(np.uint8)
    means = noise.reshape(-1, 4, columns, 3).mean(axis=1) if rows > 1 else noise
    means = means.reshape(len(means), -1, 4, 3).mean(axis=2) if columns > 1 else means
    resized = resize_image(np.broadcast_to(noise, (64, 48, 3)).copy(), size)
    assert resized.shape == (*size, 3)
    assert np.abs(resized - np.broadcast_to(means, resized.shape)).max() <= 1


def test_a_fine_checkerboard_becomes_grey():
    checkerboard = (np.indices((90, 90)).sum(axis=0) % 2 * 255).astype(np.uint8)
    resized = resize_image(np.stack([checkerboard] * 3, axis=-1), (10, 10)).astype(int)
    assert np.abs(resized - 127.5).max() < 2  # of 81 pixels, 40 or 41 are white


def test_enlarging_is_linear():
    # Pixel centres 0.25, 0.75, 1.25, 1.75 between the old ones at 0.5 and 1.5.
    resized = resize_image(np.array([[0, 255]], np.uint8), (1, 4))
    assert resized.tolist() == [[0, 64, 191, 255]]


def test_the_same_size_changes_nothing(rng):
    image = rng.integers(0, 256, (5, 7, 3)).astype(np.uint8)
    np.testing.assert_array_equal(resize_image(image, (5, 7)), image)
    np.testing.assert_array_equal(resize_mask(image[..., 0], (5, 7)), image[..., 0])


def test_masks_take_the_nearest_pixel_s_centre():
    mask = np.array([[10, 20, 30, 40, 50, 60]], np.uint8)
    assert resize_mask(mask, (1, 2)).tolist() == [[20, 50]]
    assert resize_mask(mask[:, :2], (2, 6)).tolist() == [[10] * 3 + [20] * 3] * 2
    assert resize_mask(mask.T, (2, 1)).tolist() == [[20], [50]]


@given(sizes, sizes)
def test_resizing_a_mask_adds_no_ids(before, after):
    mask = np.random.default_rng(0).choice([0, 1, 2, 20, 255], before).astype(np.uint8)
    resized = resize_mask(mask, after)
    assert (resized.shape, resized.dtype) == (after, np.uint8)
    assert set(np.unique(resized)) <= set(np.unique(mask))


@given(sizes, sizes)
def test_picture_and_mask_are_resized_alike(before, after):
    # Two halves: where they meet may be rounded differently, by a column in all.
    mask = np.zeros(before, np.uint8)
    mask[:, before[1] // 2 :] = 200
    image, ids = resize_image(mask, after), resize_mask(mask, after)
    assert abs((image > 100).mean() - (ids > 100).mean()) * after[1] <= 1 + 1e-6


def test_sizes_are_rounded():
    assert letterbox_box((3, 2), (10, 10)) == Box(0, 1, 10, 7)  # 6.67 columns
    assert letterbox_box((7, 10), (9, 9)) == Box(1, 0, 6, 9)  # 6.3 rows
    # In floats, 49 * (512 / 49) is below 512, and truncating would lose a column.
    assert int(49 * (512 / 49)) == 511
    assert all(letterbox_box((1, side), (512, 512)).width == 512 for side in range(1, 3000))


@given(
    st.tuples(st.integers(1, 50_000), st.integers(1, 50_000)),
    st.tuples(st.integers(1, 2000), st.integers(1, 2000)),
)
@example((1, 30_000), (512, 512))
@example((30_000, 1), (256, 512))
def test_the_box_fits_is_centred_and_keeps_the_aspect(size, target):
    box = letterbox_box(size, target)
    below, right = target[0] - box.top - box.height, target[1] - box.left - box.width
    assert 0 <= below - box.top <= 1
    assert 0 <= right - box.left <= 1
    assert min(box.height, box.width) >= 1
    assert box.height == target[0] or box.width == target[1]
    scale = min(target[0] / size[0], target[1] / size[1])
    assert abs(box.height - max(size[0] * scale, 1)) <= 0.5 + 1e-6
    assert abs(box.width - max(size[1] * scale, 1)) <= 0.5 + 1e-6


@given(sizes, sizes, st.integers(0, 255))
@example((1, 30_000), (64, 96), 7)
@example((30_000, 1), (64, 96), 7)
@example((64, 96), (64, 96), 7)
def test_letterbox_and_its_inverse_return_the_size(size, target, value):
    canvas, box = letterbox_image(np.full((*size, 3), value, np.uint8), target)
    mask = letterbox_mask(np.full(size, 9, np.uint8), target, 255)
    assert (canvas.shape, canvas.dtype, mask.shape) == ((*target, 3), np.uint8, target)
    inside = np.zeros(target, bool)
    inside[box.slices] = True
    assert np.all(canvas[inside] == value)
    assert np.all(canvas[~inside] == 128)
    assert np.all(mask[inside] == 9)
    assert np.all(mask[~inside] == 255)
    back = resize_image(canvas[box.slices], size)
    assert back.shape == (*size, 3)
    assert np.all(back == value)


def test_letterbox_keeps_what_is_where(rng):
    image = np.repeat(np.repeat(rng.integers(0, 256, (4, 8, 3)), 8, 0), 8, 1).astype(np.uint8)
    canvas, box = letterbox_image(image, (64, 64))
    assert box == Box(16, 0, 32, 64)
    np.testing.assert_array_equal(canvas[16:48], image)
    back = resize_image(letterbox_image(image, (128, 128))[0][32:96], (32, 64))
    np.testing.assert_array_equal(back[4::8, 4::8], image[4::8, 4::8])


def test_box_slices():
    array = np.arange(30).reshape(5, 6)
    assert array[Box(1, 2, 3, 2).slices].tolist() == [[8, 9], [14, 15], [20, 21]]


def test_paste():
    canvas = paste(np.full((1, 2), 7, np.uint8), Box(1, 1, 1, 2), (3, 4), 255)
    assert canvas.tolist() == [[255] * 4, [255, 7, 7, 255], [255] * 4]


def test_normalize_maps_0_to_minus_1_and_255_to_1(rng):
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    normalized = normalize(np.stack([values, values.T, values[::-1]], axis=-1))
    assert (normalized.shape, normalized.dtype) == ((16, 16, 3), np.float32)
    oracle = values.astype(np.float64) / 127.5 - 1
    np.testing.assert_allclose(normalized[..., 0], oracle, atol=1e-7)
    np.testing.assert_allclose(normalized[..., 1], oracle.T, atol=1e-7)
    np.testing.assert_allclose(normalized[..., 2], oracle[::-1], atol=1e-7)
    assert (normalized.min(), normalized.max()) == (-1, 1)
    assert normalize(np.zeros((5, 1, 3), np.uint8)).shape == (5, 1, 3)


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


# Large pictures


def test_the_message_about_too_many_pixels():
    check_pixels(40, 25, "a.png", 1000)
    check_pixels(25_000, 20_000, "a.png")
    with pytest.raises(UserError) as caught:
        check_pixels(91, 11, "a.png", 1000)
    assert str(caught.value) == (
        "The picture a.png has 91x11 = 1,001 pixels; max_pixels is 1,000. Raise max_pixels if "
        "memory allows (4 bytes a pixel and more), or cut the picture."
    )
    with pytest.raises(UserError, match="max_pixels is 500,000,000"):
        check_pixels(25_000, 20_001, "a.png")


@pytest.fixture
def large(monkeypatch):
    """Pictures of 100 pixels are large already; the list of those that Pillow decoded."""
    opened, original = [], image_module.open_image
    monkeypatch.setattr(image_module, "_LARGE", 100)

    def watched(path, *args):
        opened.append(path.name)
        return original(path, *args)

    monkeypatch.setattr(image_module, "open_image", watched)
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
    assert str(caught.value).startswith(f"The picture {path} has 91x11 = 1,001 pixels; max_pixels")


def test_pictures_of_more_than_max_pixels_are_refused(tmp_path):
    image = Image.new("L", (91, 11))
    assert to_rgb_array(image, 1001).shape == (11, 91, 3)
    with pytest.raises(UserError, match="The picture given has 91x11 = 1,001 pixels"):
        to_rgb_array(image, 1000)
    image.save(tmp_path / "a.png")
    with (
        Image.open(tmp_path / "a.png") as late,
        pytest.raises(UserError, match=r"The picture \S+a\.png has 91x11 = 1,001 pixels"),
    ):
        to_rgb_array(late, 1000)


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
def test_plain_large_pictures_are_read_alike_by_opencv(tmp_path, rng, large, name, shape):
    path, array = tmp_path / name, rng.integers(0, 256, shape).astype(np.uint8)
    save_with(path, array, PLAIN[name])
    expected = array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2)
    np.testing.assert_array_equal(read_image(path), expected)
    assert large == []


@pytest.mark.parametrize("shape", [(40, 61, 3), (40, 61)])
@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.usefixtures("large")
def test_a_truncated_large_picture_is_refused(tmp_path, rng, name, shape):
    path = tmp_path / name
    save_with(path, rng.integers(0, 256, shape).astype(np.uint8), PLAIN[name])
    data = path.read_bytes()
    for part in (0.001, 0.01, 0.1, 0.3, 0.5, 0.8):
        path.write_bytes(data[: int(part * len(data))])
        with pytest.raises(UserError, match="can't be read") as caught:
            read_image(path)
        assert "\n" not in str(caught.value)


def test_other_large_pictures_are_left_to_pillow(tmp_path, rng, large):
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
        # Its first picture is shown where nothing moves, and is none of the frames.
        "moving.png": lambda path: Image.fromarray(array).save(
            path, save_all=True, default_image=True, append_images=frames
        ),
    }
    for name, save in kinds.items():
        save(tmp_path / name)
        with Image.open(tmp_path / name) as image:
            expected = to_rgb_array(image)
        np.testing.assert_array_equal(read_image(tmp_path / name), expected, name)
    assert large == list(kinds)


def test_the_first_picture_of_several_is_read(tmp_path, rng, large):
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
def test_a_picture_is_refused_before_it_is_decoded(tmp_path, monkeypatch, large, name):
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
