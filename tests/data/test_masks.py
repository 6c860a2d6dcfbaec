"""The VOC folder: mask files, lists, palette and names."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from errors import UserError
from utils.data.masks import mask_to_image, read_label_ids, read_mask
from utils.data.voc import (
    Sample,
    image_extensions,
    index_folder,
    list_path,
    read_samples,
    voc_folder,
)
from utils.labels import VOC_CLASSES, check_ignore_labels, class_names, voc_palette

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6  # colour types of the PNG standard


def png(samples, depth, color_type, extra=()):
    """The bytes of a PNG, packed by hand: Pillow does not write all kinds.

    Args:
        samples: integer (H, W) or (H, W, channels).
        depth: bits a sample.
        color_type: of the PNG standard.
        extra: (kind, data) of further chunks.
    """
    height, width = samples.shape[:2]
    bits = (samples.reshape(height, -1, 1) >> np.arange(depth)[::-1]) & 1
    rows = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)  # 0: an unfiltered row
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def palette_chunk(depth):
    """A palette whose colours have nothing to do with their numbers."""
    colors = np.arange(2**depth)[:, None] * (7, 13, 29) + (200, 3, 90)
    return (b"PLTE", (colors % 256).astype(np.uint8).tobytes())


def all_ids(depth, height=5, width=77):
    """Ids (H, W) in which every value of `depth` bits occurs; a row is no full byte."""
    return (np.arange(height * width).reshape(height, width) * 3 + 1) % 2**depth


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("kind", [GREY, PALETTE])
def test_every_kind_of_class_id_png_gives_the_stored_numbers(tmp_path, depth, kind):
    path, ids = tmp_path / "mask.png", all_ids(depth)
    path.write_bytes(png(ids, depth, kind, [palette_chunk(depth)] if kind == PALETTE else []))
    read = read_label_ids(path)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, ids)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize(("kind", "data"), [(GREY, b"\0\1"), (PALETTE, b"\xff\0")])
def test_transparency_does_not_change_the_ids(tmp_path, depth, kind, data):
    path, ids = tmp_path / "mask.png", all_ids(depth)
    palette = [palette_chunk(depth)] if kind == PALETTE else []
    path.write_bytes(png(ids, depth, kind, [*palette, (b"tRNS", data)]))
    np.testing.assert_array_equal(read_label_ids(path), ids)


@pytest.mark.parametrize("mode", ["P", "L"])
def test_masks_that_pillow_wrote_give_the_stored_numbers(tmp_path, mode):
    ids = all_ids(8).astype(np.uint8)
    image = Image.fromarray(ids)
    if mode == "P":
        image.putpalette(voc_palette(256).tobytes())
    image.save(tmp_path / "mask.png", optimize=True)
    np.testing.assert_array_equal(read_label_ids(tmp_path / "mask.png"), ids)


@pytest.mark.parametrize(
    ("depth", "kind", "channels", "reason"),
    [
        (8, RGB, 3, "it is a colour image (PNG, mode RGB)"),
        (8, RGBA, 4, "it has an alpha channel (PNG, mode RGBA)"),
        (8, GREY_ALPHA, 2, "it has an alpha channel (PNG, mode LA)"),
        (16, GREY, 1, "it has 16-bit values (PNG, mode I;16)"),
        (16, RGB, 3, "it is a colour image (PNG, mode RGB)"),
    ],
)
def test_png_kinds_that_hold_no_class_ids_are_refused(tmp_path, depth, kind, channels, reason):
    path = tmp_path / "mask.png"
    path.write_bytes(png(np.ones((4, 5, channels), int), depth, kind))
    with pytest.raises(UserError) as caught:
        read_label_ids(path)
    message = str(caught.value)
    assert message.startswith(f"{path} is no class-id mask: {reason}. Expected a PNG with")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("JPEG", "it is compressed with loss, which smears class ids (JPEG"),
        ("WEBP", "it is compressed with loss, which smears class ids (WEBP"),
        ("AVIF", "it is compressed with loss, which smears class ids (AVIF"),
        ("BMP", "it is no PNG file (BMP"),
        ("GIF", "it is no PNG file (GIF"),
        ("TIFF", "it is no PNG file (TIFF"),
    ],
)
def test_other_files_named_png_are_refused(tmp_path, kind, reason):
    path = tmp_path / "mask.png"
    Image.new("L", (16, 16), 1).save(path, kind)
    with pytest.raises(UserError) as caught:
        read_label_ids(path)
    assert reason in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"no image at all", "cut"])
def test_broken_masks_are_named(tmp_path, data):
    path = tmp_path / "mask.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64))
    path.write_bytes(png(noise, 8, GREY)[:2000] if data == "cut" else data)
    with pytest.raises(UserError) as caught:
        read_label_ids(path)
    assert f"The mask {path} can't be read: " in str(caught.value)
    assert str(caught.value).endswith("Save it again.")


def test_a_missing_mask_is_named(tmp_path):
    with pytest.raises(UserError, match=r"The mask .*none\.png can't be read: .*No such file"):
        read_label_ids(tmp_path / "none.png")


@pytest.mark.parametrize(
    ("ignore_labels", "expected"),
    [
        ((255,), [0, 1, 2, 255]),
        ((1, 255), [0, 255, 2, 255]),  # a class id may be ignored too
        ((0, 255), [255, 1, 2, 255]),
        ((254, 255), [0, 1, 2, 255]),
    ],
)
def test_ignored_labels_become_void(tmp_path, write_mask, ignore_labels, expected):
    path = write_mask(tmp_path / "mask.png", np.array([[0, 1, 2, 255]], np.uint8))
    mask = read_mask(path, 3, ignore_labels)
    assert mask.dtype == np.uint8
    assert mask.tolist() == [expected]


def test_an_ignored_value_beyond_the_classes_becomes_void(tmp_path, write_mask):
    path = write_mask(tmp_path / "mask.png", np.array([[2, 9], [200, 0]], np.uint8))
    assert read_mask(path, 3, (9, 200)).tolist() == [[2, 255], [255, 0]]


def test_a_value_out_of_range_names_file_value_and_pixel_count(tmp_path, write_mask):
    ids = np.zeros((40, 50), np.uint8)
    ids[:30] = 3  # 1,500 pixels
    path = write_mask(tmp_path / "mask.png", ids)
    with pytest.raises(UserError) as caught:
        read_mask(path, 3)
    assert str(caught.value) == (
        f"The mask {path} holds the value 3 in 1,500 pixels; with num_classes=3 the ids are "
        "0 to 2, and ignore_labels is (255,). Raise num_classes (background included), or name "
        "3 in ignore_labels, or correct the mask."
    )


@pytest.mark.parametrize("others", [[8], [8, 8, 254]])
def test_several_values_out_of_range_are_counted(tmp_path, write_mask, others):
    path = write_mask(tmp_path / "mask.png", np.array([[0, 1, 7, 7, *others, 255]], np.uint8))
    count = len(set(others))
    with pytest.raises(UserError, match=rf"value 7 in 2 pixels \(and {count} other such values\)"):
        read_mask(path, 2)


def test_255_is_void_only_if_it_is_ignored(tmp_path, write_mask):
    path = write_mask(tmp_path / "mask.png", np.array([[0, 1, 255]], np.uint8))
    with pytest.raises(UserError, match="holds the value 255 in 1 pixels"):
        read_mask(path, 2, ignore_labels=())


@pytest.mark.parametrize("label", [-1, 256])
def test_labels_that_no_mask_can_hold_are_refused(label):
    with pytest.raises(UserError, match=rf"ignore_labels must be 0 to 255; got {label}\."):
        check_ignore_labels((0, label))
    check_ignore_labels((0, 255))


def test_the_palette_is_that_of_pascal_voc():
    assert [tuple(color) for color in voc_palette(21).tolist()] == [
        (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128),
        (0, 128, 128), (128, 128, 128), (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0),
        (64, 0, 128), (192, 0, 128), (64, 128, 128), (192, 128, 128), (0, 64, 0), (128, 64, 0),
        (0, 192, 0), (128, 192, 0), (0, 64, 128),
    ]  # fmt: skip


def test_all_256_colours_differ():
    palette = voc_palette(256)
    assert palette.dtype == np.uint8
    assert len({tuple(color) for color in palette.tolist()}) == 256
    assert tuple(palette[255].tolist()) == (224, 224, 192)  # VOC's border


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=20)))
def test_any_ids_survive_being_written(tmp_path, ids):
    image = mask_to_image(ids)
    image.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_label_ids(tmp_path / "mask.png"), ids)
    np.testing.assert_array_equal(np.array(image.convert("RGB")), voc_palette(256)[ids])


@given(arrays(np.uint8, (3, 4)), st.integers(2, 254), st.sets(st.integers(0, 255), max_size=9))
def test_a_mask_is_classes_and_void_or_refused(tmp_path, ids, num_classes, ignored):
    mask_to_image(ids).save(tmp_path / "mask.png")
    values = {int(value) for value in ids.ravel()}
    if values <= ignored | set(range(num_classes)):
        expected = [255 if value in ignored else value for value in ids.ravel().tolist()]
        assert read_mask(tmp_path / "mask.png", num_classes, ignored).ravel().tolist() == expected
    else:
        with pytest.raises(UserError, match="holds the value"):
            read_mask(tmp_path / "mask.png", num_classes, ignored)


def test_mask_to_image_takes_turned_arrays_and_other_integers():
    ids = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(np.array(mask_to_image(ids.T[::-1])), ids.T[::-1])


def test_names():
    assert class_names(21) == VOC_CLASSES
    assert class_names(3) == ("background", "class_1", "class_2")
    assert class_names(2, ["nothing", "猫"]) == ("nothing", "猫")
    assert len(class_names(256)) == 256
    with pytest.raises(UserError) as caught:
        class_names(3, ["cat", "dog"])
    assert str(caught.value) == (
        "name_classes holds 2 names, but num_classes is 3. Name every class, the background too."
    )


def test_voc_folder_is_voc2007_or_the_path_itself(tmp_path):
    inner = tmp_path / "VOC2007"
    (tmp_path / "JPEGImages").mkdir()
    assert voc_folder(str(tmp_path)) == tmp_path
    (inner / "JPEGImages").mkdir(parents=True)
    assert voc_folder(tmp_path) == inner
    assert list_path(tmp_path, "val") == inner / "ImageSets" / "Segmentation" / "val.txt"


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(UserError) as caught:
        voc_folder(tmp_path)
    assert f"No dataset in VOCdevkit_path {str(tmp_path)!r}: there is no" in str(caught.value)
    assert str(tmp_path / "VOC2007" / "JPEGImages") in str(caught.value)


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_index_folder_sorts_and_skips_what_is_no_image(tmp_path):
    touch(tmp_path, "b.JPG", "a.v2.png", "c.txt", ".d.jpg", "noextension", "é 猫.Jpeg")
    found = index_folder(tmp_path, image_extensions())
    assert list(found) == ["a.v2", "b", "é 猫"]
    assert found["b"] == tmp_path / "b.JPG"


def test_index_folder_without_a_folder(tmp_path):
    with pytest.raises(UserError) as caught:
        index_folder(tmp_path / "none", image_extensions())
    assert str(caught.value) == f"There is no folder {tmp_path / 'none'}."


def test_two_files_of_one_name_are_refused(tmp_path):
    touch(tmp_path, "cat.jpg", "cat.png")
    with pytest.raises(UserError) as caught:
        index_folder(tmp_path, image_extensions())
    assert str(caught.value).startswith(f"{tmp_path} holds both cat.jpg and cat.png: ")


def test_image_extensions_are_those_that_can_be_read():
    extensions = image_extensions()
    assert {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"} <= extensions
    assert not {".pdf", ".mpg", ".txt"} & extensions


@pytest.fixture
def named(tmp_path, write_list):
    """named(lines, images, masks): a VOC folder of empty files; reads its list."""

    def make(lines, images, masks):
        touch(tmp_path / "VOC2007" / "JPEGImages", *images)
        touch(tmp_path / "VOC2007" / "SegmentationClass", *masks)
        path = write_list(tmp_path, "train", [])
        path.write_bytes(lines if isinstance(lines, bytes) else lines.encode())
        return read_samples(tmp_path, "train")

    return make


def test_samples_come_in_the_list_s_order(voc_dir, write_list):
    write_list(voc_dir, "train", ["train_c", "val_a", "train_a"])
    samples = read_samples(voc_dir, "train")
    folder = voc_dir / "VOC2007"
    assert [sample.name for sample in samples] == ["train_c", "val_a", "train_a"]
    assert samples[0] == Sample(
        "train_c",
        folder / "JPEGImages" / "train_c.jpg",
        folder / "SegmentationClass" / "train_c.png",
    )


@pytest.mark.parametrize(
    "lines",
    [
        "a\nb\n",
        "a\nb",
        "a\r\nb\r\n",
        "\ufeffa\r\nb",
        "\n a \n\n\tb\n \n",
        "a  \nb",
    ],
)
def test_line_ends_marks_and_blank_lines(named, lines):
    samples = named(lines, ["a.jpg", "b.png"], ["a.png", "b.png"])
    assert [(one.name, one.image_path.name) for one in samples] == [("a", "a.jpg"), ("b", "b.png")]


@pytest.mark.parametrize(
    "name", ["two words", "2024.01.02 v1.5", "猫和狗", "naïve", " spaced ", "a,b;c'd", "a\tb"]
)
def test_names_are_whole_lines(named, name):
    samples = named(f"{name}\n", [f"{name}.JPEG"], [f"{name}.PNG"])
    assert [sample.name for sample in samples] == [name]
    assert samples[0].image_path.name == f"{name}.JPEG"
    assert samples[0].mask_path.name == f"{name}.PNG"


def test_a_missing_list(voc_dir):
    with pytest.raises(UserError) as caught:
        read_samples(voc_dir, "test")
    path = list_path(voc_dir, "test")
    assert str(caught.value) == f"There is no list {path}. Run voc_annotation.py first."


@pytest.mark.parametrize("lines", ["", "\n \r\n\n", "\ufeff"])
def test_an_empty_list(named, lines):
    with pytest.raises(UserError, match=r"train\.txt is empty\. Put images in the dataset"):
        named(lines, ["a.jpg"], ["a.png"])


@pytest.mark.parametrize("encoding", ["utf-16", "gbk"])
def test_a_list_in_another_encoding(named, encoding):
    with pytest.raises(UserError, match=r"train\.txt is no UTF-8 text .*Run voc_annotation\.py"):
        named("猫和狗\n".encode(encoding), ["a.jpg"], ["a.png"])


@pytest.mark.parametrize(
    ("name", "images", "masks", "message"),
    [
        ("dog", ["cow.jpg"], ["dog.png"], "names 'dog', which has no image. Add the file"),
        ("dog", ["dog.jpg"], ["cow.png"], "names 'dog', which has no mask. Add the file"),
        (
            "dog.jpg",
            ["dog.jpg"],
            ["dog.png"],
            "names 'dog.jpg', which has no image. Names stand without extension: write 'dog'.",
        ),
        ("dog", ["Dog.jpg"], ["dog.png"], "no image. Did you mean 'Dog.jpg'? Case and"),
        ("dog", ["dog.jpg"], ["DOG.png"], "no mask. Did you mean 'DOG.png'? Case and"),
        ("dog_01", ["dog_01.jpg"], ["dog_01_mask.png"], "Did you mean 'dog_01_mask.png'?"),
        ("dog", ["dog.jpg"], ["dog.jpg"], "names 'dog', which has no mask. Add the file"),
    ],
)
def test_names_without_image_or_mask(named, name, images, masks, message):
    with pytest.raises(UserError) as caught:
        named(name, images, masks)
    assert message in str(caught.value)
    assert "train.txt" in str(caught.value)
