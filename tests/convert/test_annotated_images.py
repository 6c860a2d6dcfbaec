"""Images of annotation files: found under odd names, the right way up, saved without loss."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from errors import UserError
from utils.convert.annotated_images import ImageFinder, read_annotated_image, save_annotated_image
from utils.images.reading import read_image

ANY = (None, None)


@pytest.fixture
def pixels(rng):
    """uint8 (5, 8, 3) that no turn or mirror leaves as it is."""
    return rng.integers(0, 256, (5, 8, 3)).astype(np.uint8)


def encode(image, kind="PNG", orientation=None, **options):
    """The bytes of an image file."""
    if orientation:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


# Finding


@pytest.mark.parametrize(
    ("stored", "name"),
    [
        ("a.jpg", "a.jpg"),
        ("a.jpg", "./a.jpg"),
        ("images/a.jpg", "images/a.jpg"),
        ("images/a.jpg", "images\\a.jpg"),
        ("a.jpg", "C:\\Users\\me\\pictures\\a.jpg"),
        ("a.jpg", "/home/me/a.jpg"),
        ("a.jpg", "..\\pictures\\a.jpg"),
        ("b/a.jpg", "train/b/a.jpg"),
        ("a.JPG", "a.jpg"),
        ("a.jpg", "A.JPG"),
        ("cafe\u0301.jpg", "caf\xe9.jpg"),
        ("caf\xe9.jpg", "pictures/cafe\u0301.JPG"),
        ("images/猫 1.v2.png", "images/猫 1.v2.png"),
        ("a b.jpg", "https://host/data/upload/1/a%20b.jpg"),
        ("upload/a.jpg", "http://host/data/upload/a.jpg?token=x/y.jpg"),
        ("pics/a.jpg", "/data/local-files/?d=pics/a.jpg"),
        ("a%20b.jpg", "a%20b.jpg"),
    ],
)
def test_names_that_lead_to_a_file(stored, name, tmp_path):
    expected = touch(tmp_path / stored)
    assert ImageFinder().find(name, [tmp_path]) == expected
    assert ImageFinder(str(tmp_path)).find(name, [tmp_path / "elsewhere"]) == expected


def test_a_file_above_the_folder(tmp_path):
    touch(tmp_path / "json" / "a.json")
    touch(tmp_path / "pictures" / "a.jpg")
    found = ImageFinder().find("..\\pictures\\a.jpg", [tmp_path / "json"])
    assert found.resolve() == tmp_path / "pictures" / "a.jpg"


def test_an_absolute_path_that_exists(tmp_path):
    path = touch(tmp_path / "far" / "a.jpg")
    touch(tmp_path / "near" / "a.jpg")
    assert ImageFinder().find(str(path), [tmp_path / "near"]) == path


@pytest.mark.parametrize("name", ["b.jpg", "a.png", "a", "", "/", "..", "\0", "x" * 5000])
def test_names_that_lead_nowhere(name, tmp_path):
    touch(tmp_path / "folder" / "a.jpg")
    assert ImageFinder().find(name, [tmp_path, tmp_path / "gone"]) is None


def test_the_longest_end_of_the_name_counts(tmp_path):
    touch(tmp_path / "one" / "a.jpg")
    longer = touch(tmp_path / "two" / "b" / "a.jpg")
    assert ImageFinder().find("x/b/a.jpg", [tmp_path / "one", tmp_path / "two"]) == longer


def test_of_names_that_differ_in_case_the_exact_one_counts(tmp_path):
    touch(tmp_path / "a.jpg")
    touch(tmp_path / "A.JPG")
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("this file system takes the two for one")
    finder = ImageFinder()
    assert finder.find("a.jpg", [tmp_path]) == tmp_path / "a.jpg"
    assert finder.find("a.Jpg", [tmp_path]) is None


def test_a_folder_of_images_that_is_missing():
    with pytest.raises(UserError, match="There is no folder image_dir 'nowhere'"):
        ImageFinder("nowhere")


# Which way up


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("frame", ["stored", "upright"])
def test_a_turned_image_is_saved_as_it_was_shown(orientation, frame, pixels, tmp_path):
    data = encode(Image.fromarray(pixels), orientation=orientation)
    image = read_annotated_image(data, ANY, (frame,), "one.json")
    assert image.data is None
    save_annotated_image(image, tmp_path, "one")
    expected = Image.open(io.BytesIO(data))
    if frame == "upright":
        expected = ImageOps.exif_transpose(expected)
    written = tmp_path / "one.png"
    assert np.array_equal(read_image(written), np.array(expected))
    assert not Image.open(written).getexif()


def test_the_declared_size_tells_the_frame(pixels):
    data = encode(Image.fromarray(pixels), orientation=6)
    for frames in (("stored", "upright"), ("upright", "stored")):
        for declared in ((5, 8), (8, 5)):
            image = read_annotated_image(data, declared, frames, "one.json").image
            assert (image.height, image.width) == declared
    image = read_annotated_image(data, (5, None), ("upright", "stored"), "one.json").image
    assert (image.height, image.width) == (5, 8)
    image = read_annotated_image(data, ANY, ("upright", "stored"), "one.json").image
    assert (image.height, image.width) == (8, 5)


def test_a_wrong_size(pixels, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encode(Image.fromarray(pixels)))
    with pytest.raises(UserError) as caught:
        read_annotated_image(path, (8, 5), ("upright", "stored"), "one.json")
    assert str(caught.value) == (
        f"one.json says that the image is 5x8 pixels, but {path} is 8x5. They must belong together."
    )
    with pytest.raises(UserError, match=r"is 9xNone pixels, but the image in one\.json is 8x5"):
        read_annotated_image(path.read_bytes(), (None, 9), ("stored",), "one.json")


def test_a_size_that_ignores_the_orientation(pixels):
    data = encode(Image.fromarray(pixels), orientation=6)
    with pytest.raises(UserError, match=r"is 5x8 when its EXIF orientation is applied\. Turn the"):
        read_annotated_image(data, (5, 8), ("upright",), "a.jpg in coco.json")


@pytest.mark.parametrize("content", [b"", b"no image", b"\xff\xd8\xff\xe0 cut off"])
def test_a_broken_image(content, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"^one\.json: .*a\.jpg can't be read: "):
        read_annotated_image(path, ANY, ("upright",), "one.json")
    with pytest.raises(UserError, match=r"^one\.json: the image in one\.json can't be read: "):
        read_annotated_image(content, ANY, ("stored",), "one.json")


def test_a_truncated_image(pixels):
    data = encode(Image.fromarray(np.tile(pixels, (20, 20, 1))), "JPEG")
    with pytest.raises(UserError, match="can't be read: "):
        read_annotated_image(data[: len(data) // 2], ANY, ("stored",), "one.json")


# Saving


def saved(data, folder):
    """What becomes of the bytes of an image file: the one file in the folder."""
    save_annotated_image(
        read_annotated_image(data, ANY, ("upright",), "one.json"), folder, "a.b 猫"
    )
    (path,) = folder.iterdir()
    assert path.stem == "a.b 猫"
    return path


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_png_is_copied_byte_for_byte(mode, pixels, tmp_path):
    image = Image.fromarray(pixels)
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    data = encode(image.convert(mode))
    path = saved(data, tmp_path)
    assert path.suffix == ".png"
    assert path.read_bytes() == data


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("orientation", [None, 1])
def test_a_jpeg_is_copied_byte_for_byte(mode, orientation, pixels, tmp_path):
    data = encode(Image.fromarray(pixels).convert(mode), "JPEG", orientation)
    path = saved(data, tmp_path)
    assert path.suffix == ".jpg"
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("BMP", "RGB"),
        ("GIF", "P"),
        ("TIFF", "RGB"),
        ("TIFF", "RGBA"),
        ("TIFF", "CMYK"),
        ("TIFF", "I;16"),
        ("TIFF", "I;16B"),
        ("TIFF", "I"),
        ("TIFF", "F"),
        ("WEBP", "RGBA"),
    ],
)
def test_other_images_become_png_with_the_same_pixels(kind, mode, pixels, tmp_path):
    if mode.startswith("I;16"):
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    elif mode in ("I", "F"):
        image = Image.fromarray(pixels[..., 0].astype({"I": np.int32, "F": np.float32}[mode]))
    else:
        image = Image.fromarray(pixels).convert(mode)
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(image, kind, **options)
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    source = tmp_path / "in" / "picture"
    source.write_bytes(data)
    path = saved(data, tmp_path / "out")
    assert path.suffix == ".png"
    assert np.array_equal(read_image(path), read_image(source))


def test_16_bits_and_transparency_survive_a_turn(pixels, tmp_path):
    deep = Image.fromarray(pixels[..., 0].astype(np.uint16) * 200 + 7)
    written = Image.open(saved(encode(deep, orientation=6), tmp_path))
    assert written.mode == "I;16"
    assert np.array_equal(np.array(written), np.rot90(np.array(deep), -1))
    (tmp_path / "a").mkdir()
    alpha = Image.fromarray(np.dstack([pixels, pixels[..., :1]]))
    written = Image.open(saved(encode(alpha, orientation=3), tmp_path / "a"))
    assert np.array_equal(np.array(written), np.rot90(np.array(alpha), 2))


# More channels than PNG holds


@pytest.mark.parametrize("kind", ["in each pixel", "planar", "pages"])
def test_a_tiff_of_five_channels_is_copied(kind, rng, tmp_path):
    values = rng.integers(0, 256, (5, 8, 5)).astype(np.uint8)
    path = tmp_path / "five.TIF"
    if kind == "in each pixel":
        tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig")
    elif kind == "planar":
        planes = values.transpose(2, 0, 1)
        tifffile.imwrite(path, planes, photometric="minisblack", planarconfig="separate")
    else:
        with tifffile.TiffWriter(path) as file:
            for number in range(5):
                file.write(values[..., number], photometric="minisblack")
    found = read_annotated_image(path, (5, 8), ("upright", "stored"), "a.json")
    assert (found.size, found.data) == ((5, 8), path.read_bytes())
    save_annotated_image(found, tmp_path, "written")
    assert np.array_equal(read_image(tmp_path / "written.tif", in_channels=5), values)
    with pytest.raises(
        UserError, match=r"^a\.json says that the image is 5x8 pixels, but .*five\."
    ):
        read_annotated_image(path, (8, 5), ("upright", "stored"), "a.json")


def test_a_broken_tiff_of_five_channels(rng, tmp_path):
    path = tmp_path / "five.tif"
    values = rng.random((50, 80, 5))
    tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(UserError, match=r"^a\.json: The image .*five\.tif can't be read: "):
        read_annotated_image(path, ANY, ("upright",), "a.json")


def test_a_tiff_of_colours_still_becomes_png(pixels, tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="rgb")
    found = read_annotated_image(path, ANY, ("upright",), "a.json")
    assert (found.data, found.extension, found.size) == (None, ".png", (5, 8))


def test_a_tiff_whose_second_page_is_smaller_is_its_first(rng, tmp_path):
    values = rng.integers(0, 256, (6, 8)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(values, photometric="minisblack")
        file.write(values[::2, ::2], photometric="minisblack")
    found = read_annotated_image(tmp_path / "a.tif", ANY, ("upright",), "a.json")
    save_annotated_image(found, tmp_path, "written")
    assert np.array_equal(read_image(tmp_path / "written.png")[..., 0], values)


@pytest.mark.parametrize("count", [2, 4])
def test_a_tiff_of_several_pages_keeps_them(count, rng, tmp_path):
    values = rng.integers(0, 256, (5, 8, count)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for number in range(count):
            file.write(values[..., number], photometric="minisblack")
    found = read_annotated_image(tmp_path / "a.tif", ANY, ("upright",), "a.json")
    save_annotated_image(found, tmp_path, "written")
    assert np.array_equal(read_image(tmp_path / "written.tif", in_channels=count), values)
