"""The legend: complete, in order, and nothing overlaps or is cut off."""

import itertools
from typing import NamedTuple

import numpy as np
import pytest
from matplotlib import font_manager
from PIL import ImageDraw

from errors import UserError
from utils.fonts import FALLBACK_FONTS, MAIN_FONT, installed_fonts
from utils.labels import VOC_CLASSES, voc_palette
from utils.prediction import legend
from utils.prediction.legend import (
    add_legend,
    pick_font,
)

COLORS = voc_palette(256)


class Item(NamedTuple):
    kind: str  # "text" or "patch"
    what: object  # the text, or the colour
    box: tuple  # left, top, right, bottom
    size: tuple  # width and height of what it is drawn on


@pytest.fixture
def drawn(monkeypatch):
    """All that is drawn into the panel, as a list of Item."""
    items = []

    class Recorder(ImageDraw.ImageDraw):
        def text(self, xy, text, fill=None, font=None, anchor=None):
            box = self.textbbox(xy, text, font=font, anchor=anchor)
            items.append(Item("text", text, box, self.im.size))
            super().text(xy, text, fill=fill, font=font, anchor=anchor)

        def rectangle(self, xy, fill=None, outline=None, width=1):
            left, top, right, bottom = xy
            items.append(Item("patch", fill, (left, top, right + 1, bottom + 1), self.im.size))
            super().rectangle(xy, fill, outline, width)

    monkeypatch.setattr(legend.ImageDraw, "Draw", Recorder)
    return items


def make_mask(size, counts):
    """A mask with this many pixels of each class, the last class in the rest."""
    ids = np.repeat(np.arange(len(counts)), counts)
    return np.resize(np.pad(ids, (0, max(0, np.prod(size) - len(ids))), mode="edge"), size).astype(
        np.uint8
    )


def make_image(rng, size):
    return rng.integers(0, 256, (*size, 3)).astype(np.uint8)


LONG = "a name that is much longer than any name of a class ought to be, if one thinks of it"
NAMES = {
    "voc": VOC_CLASSES,
    "one": ("background",),
    "long": ("background", LONG, LONG.replace(" ", "_"), "x", LONG),
    "many": tuple(f"class number {index}" for index in range(150)),
    "letters": ("Ärger", "Дерево", "δέντρο", "Åge $x^2$ {y}"),
}
SIZES = [(8, 8), (64, 64), (360, 480), (480, 360), (900, 130), (130, 900), (1, 1), (1500, 1200)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", NAMES)
def test_all_is_there_and_nothing_overlaps(drawn, rng, size, kind):
    names = NAMES[kind][: np.prod(size)]
    image, mask = make_image(rng, size), np.resize(np.arange(len(names)), size)
    result = add_legend(image, mask.astype(np.uint8), COLORS, names)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result[: size[0], : size[1]], image)
    for item in drawn:
        left, top, right, bottom = item.box
        assert 0 < left < right < item.size[0]
        assert 0 < top < bottom < item.size[1]
    for one, other in itertools.combinations(drawn, 2):
        beside = one.box[2] <= other.box[0] or other.box[2] <= one.box[0]
        assert beside or one.box[3] <= other.box[1] or other.box[3] <= one.box[1]
    colors = {item.what for item in drawn if item.kind == "patch"}
    assert colors == {tuple(COLORS[index].tolist()) for index in range(len(names))}
    letters = "".join(item.what for item in drawn if item.kind == "text").replace(" ", "")
    assert all(name.replace(" ", "") in letters for name in names)


@pytest.mark.parametrize("size", SIZES)
def test_the_panel_is_all_of_the_canvas_that_is_not_white(drawn, rng, size):
    result = add_legend(make_image(rng, size), np.zeros(size, np.uint8), COLORS, ("sky",))
    panel_width, panel_height = drawn[0].size
    beside = size in [(480, 360), (900, 130), (1500, 1200)]
    if beside:
        assert result.shape == (size[0], size[1] + panel_width, 3)
        assert (result[panel_height:, size[1] :] == 255).all()
        rest = result[:, size[1] :]
    else:
        assert result.shape == (size[0] + panel_height, max(size[1], panel_width), 3)
        assert (result[: size[0], size[1] :] == 255).all()
        assert (result[size[0] :, panel_width:] == 255).all()
        rest = result[size[0] :]
    assert (rest == 0).all(axis=2).any()


def test_classes_are_in_order_of_their_share(drawn, rng):
    names = ("sky", "car", "road", "tree", "sign")
    mask = make_mask((100, 100), [3000, 500, 6000, 0, 7])
    mask[99, :10] = 255
    # The padding gives the last class 493, of which void takes 10.
    add_legend(make_image(rng, (100, 100)), mask, COLORS, names)
    rows = sorted((item for item in drawn if item.kind == "text"), key=lambda i: i.box[3])
    texts = [item.what for item in rows]
    assert set(texts) == {"road", "60.0%", "sky", "30.0%", "car", "5.0%", "sign", "4.9%"} | {
        "void",
        "0.1%",
    }
    # Each patch stands left of its name, in its row.
    patches = [item for item in drawn if item.kind == "patch"]
    assert [patch.what for patch in patches] == [
        tuple(COLORS[index].tolist()) for index in (2, 0, 1, 4, 255)
    ]
    assert [item.box[1::2] for item in patches] == sorted(item.box[1::2] for item in patches)
    for patch, name, share in zip(
        patches,
        ("road", "sky", "car", "sign", "void"),
        ("60.0%", "30.0%", "5.0%", "4.9%", "0.1%"),
        strict=True,
    ):
        of = {item.what: item.box for item in drawn if item.kind == "text"}
        assert patch.box[2] < of[name][0] < of[name][2] < of[share][0]
        for box in (of[name], of[share]):
            assert patch.box[1] < (box[1] + box[3]) / 2 < patch.box[3]


def test_patches_have_the_colours_of_the_classes():
    image = np.zeros((60, 90, 3), np.uint8)
    result = add_legend(image, make_mask((60, 90), [100, 100, 100]), COLORS, ("a", "b", "c"))
    for index in (1, 2):
        # 12 pixels a side, less the rim.
        assert (result[60:] == COLORS[index]).all(axis=2).sum() == 100


def test_a_class_of_few_pixels_is_not_said_to_have_none(drawn, rng):
    mask = np.zeros((100, 101), np.uint8)
    mask[5, 5] = 1
    add_legend(make_image(rng, (100, 101)), mask, COLORS, ("sky", "bird"))
    assert [item.what for item in drawn if item.kind == "text"] == [
        "sky",
        "100.0%",
        "bird",
        "<0.1%",
    ]


def test_letters_grow_with_the_image(drawn, rng):
    for side in (50, 480, 1000, 2000):
        add_legend(make_image(rng, (side, side)), np.zeros((side, side), np.uint8), COLORS, "a")
    heights = [item.box[3] - item.box[1] for item in drawn if item.kind == "patch"]
    # A fortieth of the side, and 12 at the least.
    assert heights == [12, 12, 25, 50]


def test_a_class_without_a_name_is_pointed_out(rng):
    mask = np.array([[0, 3]], np.uint8)
    message = "The mask holds class 3, but there are 2 names, for the classes 0 to 1"
    with pytest.raises(UserError, match=message):
        add_legend(make_image(rng, (1, 2)), mask, COLORS, ("sky", "car"))


# Fonts


def letters_of(family):
    return set(font_manager.get_font(font_manager.findfont(family)).get_charmap())


def test_the_first_font_that_has_all_letters_is_picked():
    families = (MAIN_FONT, "STIXNonUnicode", "STIXGeneral")
    assert pick_font("road Дерево\t", families) == MAIN_FONT
    only_stix = min(letters_of("STIXGeneral") - letters_of(MAIN_FONT))
    assert pick_font(f"road {chr(only_stix)}", families) == "STIXGeneral"
    assert pick_font(chr(0x10FFFE), families) is None


def test_the_main_font_comes_first_and_the_others_are_installed():
    first, *others = installed_fonts()
    assert first == MAIN_FONT
    assert set(others) <= set(FALLBACK_FONTS) & set(font_manager.get_font_names())


@pytest.mark.parametrize("name", ["道路", "road 道路", "", "  "])
def test_a_name_that_can_t_be_written_becomes_a_number(monkeypatch, drawn, rng, name):
    monkeypatch.setattr(legend, "installed_fonts", lambda: (MAIN_FONT,))
    mask = np.full((50, 50), 1, np.uint8)
    add_legend(make_image(rng, (50, 50)), mask, COLORS, ("sky", name))
    assert [item.what for item in drawn if item.kind == "text"] == ["class 1", "100.0%"]


def test_a_name_is_written_in_the_font_that_has_its_letters(monkeypatch, drawn, rng):
    monkeypatch.setattr(legend, "installed_fonts", lambda: (MAIN_FONT, "STIXGeneral"))
    name = chr(min(letters_of("STIXGeneral") - letters_of(MAIN_FONT)))
    mask = np.full((50, 50), 1, np.uint8)
    add_legend(make_image(rng, (50, 50)), mask, COLORS, ("sky", name))
    assert drawn[1].what == name
