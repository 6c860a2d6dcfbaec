"""What a set's masks mean: each reading, its evidence, and when none is taken."""

import cv2
import numpy as np
import pytest

from errors import UserError
from utils.checking.content import MaskContent, edge_values
from utils.checking.meaning import find_meaning
from utils.checking.relabel import to_ids
from utils.labels import VOC_CLASSES, voc_palette

SIZE = 40


def grey(*areas, size=SIZE, background=0):
    """A grey mask with areas (value, top, left, height, width), as a file would give it."""
    values = np.full((size, size), background, np.uint8)
    for value, top, left, height, width in areas:
        values[top : top + height, left : left + width] = value
    smooth, thin = edge_values(values)
    return MaskContent(values=values, smooth=smooth, thin=thin)


def with_palette(ids, colors):
    """A palette mask of ids (H, W), with {index: (r, g, b)}."""
    codes = {index: (r << 16) + (g << 8) + b for index, (r, g, b) in colors.items()}
    return MaskContent(values=np.array(ids, np.uint8), palette=codes)


def convert(contents, border=False, **rules):
    """(ids of each mask, Meaning)."""
    meaning = find_meaning(contents, **rules)
    return [to_ids(content, meaning, border)[0] for content in contents], meaning


def kinds(meaning):
    return [doubt.kind for doubt in meaning.doubts]


def told(meaning, text):
    assert any(text in reading for reading in meaning.readings), meaning.readings


# Stray values


def test_a_stray_pixel_does_not_turn_the_foreground_into_void():
    contents = [grey((255, 4, 4, 20, 20)) for _ in range(4)]
    contents[2] = grey((255, 4, 4, 20, 20), (254, 9, 9, 1, 1))
    found, meaning = convert(contents)
    assert kinds(meaning) == ["stray_values"]
    told(meaning, "254: too few pixels for a class, made void")
    for content, ids in zip(contents, found, strict=True):
        expected = np.select([content.values == 255, content.values == 254], [1, 255], 0)
        assert (ids == expected).all()


def test_a_stray_value_far_above_the_ids_is_no_class():
    contents = [grey((1, 2, 2, 9, 9), (2, 20, 20, 9, 9)), grey((1, 2, 2, 9, 9), (200, 30, 5, 1, 2))]
    found, meaning = convert(contents)
    assert kinds(meaning) == ["stray_values"]
    assert [set(np.unique(ids).tolist()) for ids in found] == [{0, 1, 2}, {0, 1, 255}]


@pytest.mark.parametrize(
    ("contents", "options"),
    [
        # The next id may be a rare class.
        ([grey((1, 2, 2, 9, 9)), grey((2, 30, 5, 1, 2))], {}),
        # So may any below num_classes.
        ([grey((1, 2, 2, 9, 9)), grey((15, 30, 5, 1, 2))], {"num_classes": 21}),
        # An area is no stray, nor is what is more than a few pixels.
        ([grey((100, 2, 2, 9, 9)), grey((50, 30, 5, 3, 3))], {}),
        ([grey((100, 2, 2, 9, 9)), grey((50, 30, 5, 1, 10))], {}),
    ],
)
def test_what_is_rare_but_no_stray(contents, options):
    found, meaning = convert(contents, **options)
    assert meaning.doubts == []
    values = {value for content in contents for value in np.unique(content.values).tolist()}
    assert len(set(np.unique(found).tolist())) == len(values)


# 255 as void or class


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((128,), (1, 2)),
        ((127,), (1, 2)),
        ((85, 170), (1, 2, 3)),
        ((51, 102, 153, 204), range(1, 6)),
    ],
)
def test_255_among_evenly_spaced_values_is_a_class(values, expected):
    areas = [(value, 2, 2 + 7 * i, 6, 6) for i, value in enumerate((*values, 255))]
    (ids,), meaning = convert([grey(*areas)])
    assert kinds(meaning) == ["void_is_class"]
    told(meaning, "255 is a class")
    for (_, top, left, *_), index in zip(areas, expected, strict=True):
        assert (ids[top : top + 6, left : left + 6] == index).all()


def test_a_setting_says_that_it_is_void():
    content = grey((128, 2, 2, 9, 9), (255, 20, 20, 9, 9))
    for options in ({"ignore_labels": (255,)}, {"num_classes": 2}):
        (ids,), meaning = convert([content], **options)
        assert meaning.doubts == []
        assert ids[5, 5] == 1
        assert ids[25, 25] == 255


def test_a_setting_says_that_it_is_a_class():
    content = grey((1, 2, 2, 9, 9), (255, 20, 20, 9, 9))
    (ids,), meaning = convert([content], ignore_labels=())
    assert meaning.doubts == []
    assert (ids[5, 5], ids[25, 25]) == (1, 2)


def test_a_thin_border_of_255_is_void_whatever_the_other_values():
    content = grey((255, 2, 2, 14, 14), (100, 3, 3, 12, 12), (40, 25, 25, 9, 9))
    (ids,), meaning = convert([content])
    assert meaning.doubts == []
    assert (ids[8, 8], ids[28, 28], ids[2, 5]) == (2, 1, 255)


@pytest.mark.parametrize(
    "content",
    [
        grey((100, 2, 2, 9, 9), (40, 20, 2, 9, 9), (255, 20, 20, 9, 9)),  # no even steps, an area
        grey((1, 2, 2, 9, 9), (0, 20, 20, 9, 9), background=255),  # most of all
        grey((1, 2, 2, 3, 3), (255, 10, 2, 25, 25)),  # nearly all that is not background
    ],
)
def test_where_255_may_be_both_no_reading_is_taken(content):
    meaning = find_meaning([content])
    assert kinds(meaning) == ["void_or_class"]
    assert meaning.undecided.detail.startswith("255: ")
    assert find_meaning([content], ignore_labels=(255,)).undecided is None
    assert find_meaning([content], ignore_labels=()).undecided is None


def test_void_beside_objects_is_void():
    _, meaning = convert([grey((255, 2, 2, 14, 14), (1, 3, 3, 12, 12)), grey((2, 9, 9, 9, 9))])
    assert meaning.doubts == []
    assert meaning.ids[255] == 255


def test_0_and_255_that_may_be_the_other_way_round(tmp_path):
    content = grey((0, 2, 2, 9, 9), background=255)
    (ids,), meaning = convert([content])
    told(meaning, "255, 95% of the pixels, is class 1")
    assert (ids == (content.values > 0)).all()
    path = tmp_path / "map.txt"
    path.write_text("255 255 255 background\n0 0 0 object\n")
    (ids,), _ = convert([content], color_map=path)
    assert (ids == (content.values == 0)).all()


# Mixed conventions


def test_masks_of_0_and_255_among_masks_of_0_and_1():
    contents = [grey((255, 2, 2, 9, 9)), grey((1, 2, 2, 9, 9)), grey()]
    found, meaning = convert(contents)
    assert kinds(meaning) == ["mixed_conventions"]
    told(meaning, "255 is class 1 in the 1 masks")
    assert (found[0] == found[1]).all()
    assert found[0][5, 5] == 1


def test_a_coloured_mask_among_masks_of_0_and_255():
    colored = np.zeros((SIZE, SIZE, 3), np.uint8)
    colored[2:11, 2:11] = 128, 0, 0
    contents = [grey((255, 2, 2, 9, 9)), MaskContent(colors=colored)]
    found, meaning = convert(contents)
    assert kinds(meaning) == ["mixed_conventions"]
    assert (found[0] == found[1]).all()
    assert found[0][5, 5] == 1


def test_which_class_255_is_among_several_is_not_guessed():
    contents = [grey((255, 2, 2, 9, 9)), grey((1, 2, 2, 9, 9), (2, 20, 20, 9, 9))]
    meaning = find_meaning(contents)
    assert meaning.undecided.kind == "mixed_conventions"
    (first, _), meaning = convert(contents, ignore_labels=(255,))
    assert meaning.doubts == []
    assert first[5, 5] == 255


# Palettes


IDS = np.zeros((SIZE, SIZE), np.uint8)
IDS[2:12, 2:12], IDS[20:30, 20:30] = 1, 2
COLORS = {0: (0, 0, 0), 1: (250, 50, 83), 2: (51, 221, 255)}


def renumbered(order, colors=COLORS):
    """IDS as an optimizer of PNG files saves them: other numbers, the same colours."""
    order = np.array(order)
    return with_palette(order[IDS], {int(order[i]): color for i, color in colors.items()})


def test_colours_decide_where_they_agree_and_numbers_do_not():
    voc = {index: tuple(voc_palette(3)[index].tolist()) for index in range(3)}
    contents = [renumbered((0, 1, 2), voc), renumbered((2, 0, 1), voc), renumbered((1, 2, 0), voc)]
    found, meaning = convert(contents)
    assert kinds(meaning) == ["palettes_differ"]
    told(meaning, "The colours of palettes decide, VOC's")
    assert all((ids == IDS).all() for ids in found)


def test_the_palette_of_most_masks_decides():
    contents = [renumbered((0, 1, 2)) for _ in range(4)] + [renumbered((2, 0, 1))]
    found, meaning = convert(contents)
    told(meaning, "those of most masks")
    assert all((ids == IDS).all() for ids in found)


def test_unknown_colours_at_any_number_need_a_map(tmp_path):
    contents = [renumbered((0, 1, 2)), renumbered((2, 0, 1)), renumbered((1, 2, 0))]
    meaning = find_meaning(contents)
    assert meaning.undecided.kind == "palettes_differ"
    assert "        250 50 83 class_" in meaning.undecided.detail
    path = tmp_path / "map.txt"
    path.write_text("0 0 0 background\n250 50 83 cat\n51 221 255 dog\n")
    found, meaning = convert(contents, color_map=path)
    assert meaning.doubts == []
    assert all((ids == IDS).all() for ids in found)
    found, meaning = convert(contents, palette="ids")
    assert meaning.doubts == []
    assert all((ids == one.values).all() for ids, one in zip(found, contents, strict=True))


def test_voc_s_colours_at_other_numbers_throughout():
    voc = {
        0: (0, 0, 0),
        1: tuple(voc_palette(16)[15].tolist()),
        2: tuple(voc_palette(9)[8].tolist()),
    }
    contents = [renumbered((0, 1, 2), voc)] * 2
    meaning = find_meaning(contents)
    assert meaning.undecided.kind == "palette_renumbered"
    assert "VOC's colour of 15, person" in meaning.undecided.detail
    (ids, _), meaning = convert(contents, palette="colours")
    assert meaning.undecided is None
    assert (ids == np.array([0, 15, 8])[IDS]).all()
    (ids, _), meaning = convert(contents, palette="ids")
    assert meaning.doubts == []
    assert (ids == IDS).all()
    (ids, _), meaning = convert(contents, color_map="voc")
    assert (ids == np.array([0, 15, 8])[IDS]).all()
    assert meaning.names == VOC_CLASSES


@pytest.mark.parametrize(
    "colors",
    [
        {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0)},  # VOC's own
        {0: (0, 0, 0), 1: (1, 1, 1), 2: (2, 2, 2)},  # grey
        {0: (0, 0, 0), 1: (0, 0, 0), 2: (0, 0, 0)},  # no colours
        COLORS,  # the user's own
    ],
)
def test_palettes_that_agree_are_left_alone(colors):
    contents = [renumbered((0, 1, 2), colors)] * 2
    found, meaning = convert(contents)
    assert (meaning.doubts, meaning.readings) == ([], [])
    assert all((ids == IDS).all() for ids in found)


# A colour map


def test_a_map_counts_for_grey_masks_too(tmp_path):
    path = tmp_path / "map.txt"
    path.write_text("0 0 0 background\n128 128 128 liver\n255 255 255 tumour\n")
    content = grey((128, 2, 2, 9, 9), (255, 20, 20, 9, 9))
    (ids,), meaning = convert([content], color_map=path)
    assert (ids == np.array([0, 1, 2])[content.values // 127]).all()
    assert meaning.names == ("background", "liver", "tumour")


def test_a_background_that_is_not_first_is_0(tmp_path):
    path = tmp_path / "labelmap.txt"
    path.write_text("# label:color_rgb:parts:actions\ncat:250,50,83::\nbackground:0,0,0::\n")
    colors = np.array([[(0, 0, 0), (250, 50, 83)]], np.uint8)
    (ids,), meaning = convert([MaskContent(colors=colors)], color_map=path)
    assert ids.tolist() == [[0, 1]]
    told(meaning, "It became id 0")


def test_grey_ids_beside_colours_stay_ids(tmp_path):
    path = tmp_path / "map.txt"
    path.write_text("0 0 0 background\n250 50 83 cat\n")
    found, meaning = convert([grey((1, 2, 2, 9, 9), (255, 20, 20, 2, 9))], color_map=path)
    assert (found[0][5, 5], found[0][20, 22]) == (1, 255)
    told(meaning, "Grey values stay")


# One colour, transparency


def test_one_colour_beside_black_is_the_foreground():
    colors = np.zeros((SIZE, SIZE, 3), np.uint8)
    colors[2:9, 2:9] = 255, 0, 0
    (ids,), meaning = convert([MaskContent(colors=colors)])
    assert (ids == (colors[..., 0] > 0)).all()
    told(meaning, "255 0 0, the only one beside black")


def test_colours_that_are_no_class_are_told_with_the_lines_to_write():
    colors = np.zeros((SIZE, SIZE, 3), np.uint8)
    colors[2:9, 2:9], colors[12:18, 2:8] = (255, 0, 0), (9, 9, 200)
    meaning = find_meaning([MaskContent(colors=colors)])
    told(meaning, "        0 0 0 background\n        255 0 0 class_1\n        9 9 200 class_2")


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (250, 50, 83)])
def test_what_is_not_transparent_is_foreground(color):
    inside = np.zeros((SIZE, SIZE), bool)
    inside[5:20, 5:20] = True
    colors = np.zeros((SIZE, SIZE, 3), np.uint8)
    colors[inside] = color
    (ids,), meaning = convert([MaskContent(colors=colors, clear=~inside)])
    assert (ids == inside).all()
    told(meaning, "What is not transparent")


def test_soft_edges_of_transparency_are_void():
    clear, soft = np.zeros((2, SIZE, SIZE), bool)
    clear[:, :10], soft[:, 10] = True, True
    colors = np.full((SIZE, SIZE, 3), 255, np.uint8)
    (ids,), _ = convert([MaskContent(colors=colors, clear=clear, soft=soft)])
    assert ids[0].tolist() == [0] * 10 + [255] + [1] * 29


def test_grey_transparency_with_two_values():
    values = np.zeros((SIZE, SIZE), np.uint8)
    values[5:20, 5:20] = 255
    clear = np.zeros((SIZE, SIZE), bool)
    clear[30:] = True
    (ids,), _ = convert([MaskContent(values=values, clear=clear)])
    assert (ids == (values > 0)).all()


# Instances


def cells(count, size=64):
    """A mask of `count` squares with the ids 1, 2, 3, ..."""
    values = np.zeros((size, size), np.int64)
    for index in range(count):
        row, column = divmod(index, 8)
        values[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = index + 1
    return MaskContent(values=values)


def test_ids_of_single_objects_are_recognized():
    contents = [cells(9), cells(14), cells(3)]
    meaning = find_meaning(contents)
    assert meaning.undecided.kind == "instances"
    assert "2 masks count 9 to 14 values" in meaning.undecided.detail
    found, meaning = convert(contents, instances="binary")
    assert meaning.doubts == []
    for content, ids in zip(contents, found, strict=True):
        assert (ids == (content.values > 0)).all()


def test_classes_are_not_taken_for_objects():
    parts = [cells(9), cells(9)]
    for content in parts:  # each class in two pieces
        content.values[-1, :9] = np.arange(1, 10)
        content.values[40:48, 8 : 8 + 9] = np.arange(1, 10)
    assert kinds(find_meaning(parts)) == []
    assert kinds(find_meaning([cells(9), cells(9)])) == []  # as many in each: classes


def test_a_thousand_times_the_class():
    values = np.zeros((SIZE, SIZE), np.int64)
    for index, value in enumerate((7, 26000, 26001, 26002, 24000, 24001)):
        values[2:8, 6 * index : 6 * index + 6] = value
    content = MaskContent(values=values)
    meaning = find_meaning([content])
    assert meaning.undecided.kind == "instances"
    (ids,), _ = convert([content], instances="class")
    assert ids[4].tolist() == [1] * 6 + [3] * 18 + [2] * 12 + [0] * 4
    (ids,), _ = convert([content], instances="class", border=True)
    row = ids[4].tolist()
    assert row[:6] == [1] * 6  # no object: its edge stays
    assert row[6:36].count(0) == 4
    (ids,), _ = convert([content], instances="binary", ignore_labels=(7,))
    assert ids[4].tolist() == [255] * 6 + [1] * 30 + [0] * 4


def test_a_border_parts_objects_that_touch():
    (ids,), _ = convert([cells(16)], instances="binary", border=True)
    count, _ = cv2.connectedComponents(ids, connectivity=8)
    assert count - 1 == 16


@pytest.mark.parametrize("name", ["palette", "instances"])
def test_unknown_choices(name):
    with pytest.raises(UserError, match=f"{name} must be one of"):
        find_meaning([], **{name: "other"})
