"""Masks of any kind become the right ids, or are refused: never a wrong id."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from utils.checking.content import MaskContent, read_content
from utils.checking.meaning import find_meaning
from utils.checking.relabel import to_ids
from utils.data.masks import mask_to_image
from utils.labels import voc_palette


def values_of(*values):
    return MaskContent(values=np.array([values]))


def colors_of(*colors):
    return MaskContent(colors=np.array([colors], np.uint8))


def relabel(path, **options):
    """(ids, refusal, unknown) of a set of one mask."""
    content = read_content(path)
    return to_ids(content, find_meaning([content], **options))


@pytest.fixture
def save(tmp_path):
    """save(image, kind="PNG", **options): the path of the file."""

    def write(image, kind="PNG", **options):
        image = image if isinstance(image, Image.Image) else Image.fromarray(image)
        path = tmp_path / f"mask.{kind.lower()}"
        image.save(path, kind, **options)
        return path

    return write


@pytest.fixture
def color_map(tmp_path):
    """color_map(text): the path of a colour map."""

    def write(text):
        path = tmp_path / "colors.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


IDS = np.array([[0, 1, 2], [2, 1, 255]], np.uint8)


# Kinds of files


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("mode", ["P", "L"])
def test_plain_ids_in_every_lossless_file(save, kind, mode):
    image = mask_to_image(IDS) if mode == "P" else Image.fromarray(IDS)
    # Pillow renumbers the palette of a GIF unless it is told not to.
    path = save(image, kind, **({"optimize": False} if kind == "GIF" else {}))
    ids, refusal, unknown = relabel(path)
    assert (refusal, unknown) == ("", {})
    assert ids.dtype == np.uint8
    assert ids.tolist() == IDS.tolist()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_one_bit(save, kind):
    path = save(Image.fromarray(np.array([[0, 1, 1], [1, 0, 0]], bool)), kind)
    assert relabel(path)[0].tolist() == [[0, 1, 1], [1, 0, 0]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_ids(save, kind):
    assert relabel(save(IDS.astype(np.uint16), kind))[0].tolist() == IDS.tolist()
    wide = np.array([[0, 1000, 2000, 60000]], np.uint16)
    assert relabel(save(wide, kind))[0].tolist() == [[0, 1, 2, 3]]


def test_floats_that_are_whole_numbers(save):
    assert relabel(save(IDS.astype(np.float32), "TIFF"))[0].tolist() == IDS.tolist()


def test_16_bit_values_that_are_too_many_for_ids_are_refused(save):
    values = (np.arange(300) * 5).astype(np.uint16)[None]
    ids, refusal, unknown = relabel(save(values))
    assert ids is None
    assert refusal == f"{len(unknown)} values stand for no class"
    assert set(unknown) == set(range(260, 1500, 5))


def test_negative_values_are_no_ids(save):
    ids, refusal, unknown = relabel(save(np.array([[-5, 0, 100, 100]], np.int32), "TIFF"))
    assert ids is None
    assert refusal == "1 values stand for no class"
    assert unknown == {-5: 1}


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_alpha(save, mode, kind):
    image = Image.fromarray(IDS).convert(mode)
    assert relabel(save(image, kind))[0].tolist() == IDS.tolist()
    image.putpixel((1, 1), (*image.getpixel((1, 1))[:-1], 254))
    assert relabel(save(image, kind))[:2] == (None, "partly transparent")


@pytest.mark.parametrize(
    ("image", "kind", "options", "refusal"),
    [
        (Image.new("L", (8, 8)), "JPEG", {}, "compressed with loss"),
        (Image.new("RGB", (8, 8)), "WEBP", {"lossless": True}, "compressed with loss"),
        (Image.new("L", (8, 8)), "TIFF", {"compression": "jpeg"}, "compressed with loss"),
        (Image.new("CMYK", (8, 8)), "TIFF", {}, "mode CMYK is neither ids nor colours"),
        (
            Image.new("F", (8, 8), 0.5),
            "TIFF",
            {},
            "its floats are no whole numbers, so no class ids",
        ),
    ],
)
def test_files_that_hold_no_ids(save, image, kind, options, refusal):
    path = save(image, kind, **options)
    assert relabel(path) == (None, refusal, {})


def test_files_that_can_not_be_read(tmp_path):
    (tmp_path / "mask.png").write_bytes(b"no mask")
    for name in ("mask.png", "missing.png"):
        assert read_content(tmp_path / name).refusal.startswith("can't be read: ")


# Values of a set


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        ([0, 255], [0, 1]),
        ([255], [1]),
        ([0], [0]),
        ([0, 1, 2], [0, 1, 2]),
        ([0, 1, 255], [0, 1, 255]),
        ([1, 2, 3], [1, 2, 3]),
        ([0, 50, 100], [0, 1, 2]),
        ([0, 50, 100, 255], [0, 1, 2, 255]),
        ([0, 128, 255], [0, 1, 2]),
        ([0, 127, 255], [0, 1, 2]),
        ([0, 85, 170, 255], [0, 1, 2, 3]),
        ([0, 64, 128, 191, 255], [0, 1, 2, 3, 4]),
        ([0, 2, 3], [0, 2, 3]),  # one class that does not occur is not a gap
    ],
)
def test_what_values_stand_for(values, ids):
    content = values_of(*values)
    assert to_ids(content, find_meaning([content]))[0].tolist() == [ids]


def test_the_whole_set_decides():
    contents = [values_of(0, 255), values_of(0, 1, 255)]
    meaning = find_meaning(contents)
    assert [to_ids(one, meaning)[0].tolist() for one in contents] == [[[0, 255]], [[0, 1, 255]]]
    contents = [values_of(0, 50), values_of(0, 100)]
    meaning = find_meaning(contents)
    assert [to_ids(one, meaning)[0].tolist() for one in contents] == [[[0, 1]], [[0, 2]]]


def test_ids_that_num_classes_covers_stay():
    content = values_of(0, 15, 255)
    assert to_ids(content, find_meaning([content], num_classes=21))[0].tolist() == [[0, 15, 255]]
    assert to_ids(content, find_meaning([content], num_classes=15))[0].tolist() == [[0, 1, 255]]


def test_ids_beside_coloured_masks_stay():
    contents = [values_of(0, 15, 255), colors_of((128, 0, 0), (0, 128, 0), (224, 224, 192))]
    meaning = find_meaning(contents)
    assert to_ids(contents[0], meaning)[0].tolist() == [[0, 15, 255]]
    assert to_ids(contents[1], meaning)[0].tolist() == [[1, 2, 255]]


@given(st.lists(st.integers(0, 255), min_size=1, max_size=40))
def test_values_keep_their_order_and_are_never_merged(values):
    content = values_of(*values)
    ids, refusal, _ = to_ids(content, find_meaning([content]))
    assert refusal == ""
    pairs = sorted(set(zip(values, ids[0].tolist(), strict=True)))
    assert len({value for value, _ in pairs}) == len(pairs) == len({index for _, index in pairs})
    assert [index for _, index in pairs] == sorted(index for _, index in pairs)


# Anti-aliased edges


def soft_disc():
    image = Image.new("L", (240, 160))
    ImageDraw.Draw(image).ellipse([40, 32, 165, 131], fill=255)
    return np.array(image.resize((60, 40), Image.Resampling.BOX))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_soft_edges_become_void(save, mode, kind):
    grey = soft_disc()
    expected = np.where(grey == 0, 0, np.where(grey == 255, 1, 255))
    assert 20 < np.count_nonzero(expected == 255) < 200
    ids, refusal, _ = relabel(save(Image.fromarray(grey).convert(mode), kind))
    assert refusal == ""
    assert ids.tolist() == expected.tolist()


def test_soft_edges_beside_coloured_masks_are_no_colours():
    grey = soft_disc()
    soft = tuple(sorted(set(grey.ravel().tolist()) - {0, 255}))
    edges = MaskContent(colors=np.repeat(grey[..., None], 3, axis=2), smooth=soft)
    ids, refusal, unknown = to_ids(edges, find_meaning([edges, colors_of((128, 0, 0))]))
    assert ids is None
    assert refusal == "1 colours stand for no class"
    assert unknown == {"255 255 255": np.count_nonzero(grey == 255)}


# Colours


def test_voc_colours(save):
    ids = np.array([[0, 1, 20, 255]], np.uint8)
    assert relabel(save(voc_palette(256)[ids]))[0].tolist() == ids.tolist()


def test_unknown_colours_are_counted(save):
    colors = np.array([[(0, 0, 0), (1, 2, 3), (1, 2, 3), (255, 0, 0)]], np.uint8)
    assert relabel(save(colors)) == (
        None,
        "2 colours stand for no class",
        {"1 2 3": 2, "255 0 0": 1},
    )


def test_grey_colours_are_values(save):
    grey = np.array([[0, 50, 100, 255]], np.uint8)
    assert relabel(save(np.repeat(grey[..., None], 3, axis=2)))[0].tolist() == [[0, 1, 2, 255]]


def test_a_colour_map(color_map, save):
    path = color_map(
        "\ufeff# my classes\r\n0 0 0 background\r\n\r\n255,0,0 traffic light\r\n"
        "9 9 9\tvoid\r\n0 255 0   tree \r\n"
    )
    meaning = find_meaning([], path)
    assert meaning.codes == {0: 0, 0xFF0000: 1, 0x090909: 255, 0x00FF00: 2}
    assert meaning.names == ("background", "traffic light", "tree")
    colors = np.array([[(0, 255, 0), (9, 9, 9), (0, 0, 0), (255, 0, 0)]], np.uint8)
    assert relabel(save(colors), color_map=path)[0].tolist() == [[2, 255, 0, 1]]


def test_a_colour_map_of_greys_is_taken_at_its_word(color_map, save):
    path = color_map("200 200 200 a\n0 0 0 b\n100 100 100 c\n")
    grey = np.array([[0, 100, 200, 200]], np.uint8)
    ids = relabel(save(np.repeat(grey[..., None], 3, axis=2)), color_map=path)[0]
    assert ids.tolist() == [[1, 2, 0, 0]]


# Any mask

LABELS = st.lists(st.integers(0, 255), min_size=1, max_size=6, unique=True)
KINDS = [
    ("P", "PNG"), ("L", "PNG"), ("I;16", "PNG"), ("RGB", "PNG"), ("RGBA", "PNG"), ("LA", "PNG"),
    ("P", "BMP"), ("L", "BMP"), ("RGB", "BMP"), ("P", "TIFF"), ("L", "TIFF"), ("I;16", "TIFF"),
    ("RGB", "TIFF"), ("1", "PNG"), ("1", "TIFF"), ("L", "GIF"), ("CMYK", "TIFF"), ("F", "TIFF"),
    ("L", "JPEG"), ("RGB", "JPEG"), ("RGB", "WEBP"), ("PA", "TIFF"), ("I", "TIFF"),
]  # fmt: skip


def as_image(ids, mode):
    if mode == "P":
        return mask_to_image(ids)
    if mode == "I;16":
        return Image.fromarray(ids.astype(np.uint16))
    if mode == "I":
        return Image.fromarray(ids.astype(np.int32))
    if mode == "1":
        return Image.fromarray(ids > 0)
    if mode == "PA":
        return mask_to_image(ids).convert("PA")
    return Image.fromarray(ids).convert(mode)


@given(
    st.sampled_from(KINDS),
    LABELS,
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(0, 2**32 - 1),
)
def test_any_mask_gives_right_ids_or_a_refusal(save, kind, labels, height, width, seed):
    mode, form = kind
    ids = np.random.default_rng(seed).choice(np.array(labels, np.uint8), (height, width))
    # Pillow renumbers the palette of a GIF unless it is told not to.
    options = {"optimize": False} if form == "GIF" else {}
    content = read_content(save(as_image(ids, mode), form, **options))
    found, refusal, unknown = to_ids(content, find_meaning([content], num_classes=256))
    if found is None:
        assert refusal
        assert mode in ("CMYK", "PA") or form in ("JPEG", "WEBP")
        return
    assert form not in ("JPEG", "WEBP")
    assert (refusal, unknown) == ("", {})
    expected = (ids > 0).astype(np.uint8) if mode == "1" else ids
    if set(np.unique(expected).tolist()) in ({0, 255}, {255}):
        expected = (expected > 0).astype(np.uint8)
    soft = list(content.smooth)
    assert not soft or mode not in ("P", "1")
    keep = ~np.isin(expected, soft)
    assert (found[keep] == expected[keep]).all()
    assert (found[~keep] == 255).all()


def test_ignored_values_become_void_and_are_no_class():
    content = MaskContent(values=np.array([[0, 1, 11]]))
    meaning = find_meaning([content], ignore_labels=(11, 255))
    ids, refusal, _ = to_ids(content, meaning)
    assert refusal == ""
    assert ids.tolist() == [[0, 1, 255]]


def test_only_the_colours_of_known_classes_are_voc_s():
    # Class 200 of the palette is a colour that an edge may take by chance.
    content = MaskContent(colors=voc_palette(256)[[[0, 1, 200, 255]]])
    assert to_ids(content, find_meaning([content]))[1] == "1 colours stand for no class"
    ids, _, _ = to_ids(content, find_meaning([content], num_classes=201))
    assert ids.tolist() == [[0, 1, 200, 255]]
