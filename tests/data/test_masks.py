"""Mask files: which are read, as which ids, and which are refused."""

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
from utils.labels import voc_palette

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
    """Ids (H, W) in which every value of `depth` bits occurs; a row is not a full byte."""
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
    assert message.startswith(f"{path} is not a class-id mask: {reason}. Expected a PNG with")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("JPEG", "it is compressed with loss, which smears class ids (JPEG"),
        ("WEBP", "it is compressed with loss, which smears class ids (WEBP"),
        ("AVIF", "it is compressed with loss, which smears class ids (AVIF"),
        ("BMP", "it is not a PNG file (BMP"),
        ("GIF", "it is not a PNG file (GIF"),
        ("TIFF", "it is not a PNG file (TIFF"),
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


def test_a_mask_of_a_million_parts_is_refused_at_once(tmp_path):
    """Pillow would take minutes over them."""
    Image.new("P", (4, 4)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    part = struct.pack(">I", 3) + b"tEXta\0b" + struct.pack(">I", zlib.crc32(b"tEXta\0b"))
    (tmp_path / "a.png").write_bytes(data[:33] + part * 10_000 + data[33:])
    with pytest.raises(UserError, match="more than 10,000 chunks of a few bytes each"):
        read_label_ids(tmp_path / "a.png")
