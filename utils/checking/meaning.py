"""What the values and colours of a set's masks stand for, and on what evidence.

It is decided for the whole set, never for one mask alone: 0 and 255 in one mask may be background
and void, in a set of them they are background and object. A reading that is a guess is told, and
a setting decides otherwise; where the evidence speaks for two readings, none is taken.
"""

from dataclasses import dataclass, field

import numpy as np

from errors import check_choice
from utils.checking.census import Census, Doubt
from utils.checking.content import GREY_CODE, decode, encode, suggest_label_map
from utils.checking.palettes import judge_palettes, voc_codes
from utils.checking.values import judge_values, number
from utils.label_maps import read_label_map
from utils.labels import VOC_CLASSES, VOID

PALETTES = ("auto", "ids", "colours")
INSTANCES = ("", "binary", "class")
VOC_MAP = "voc"  # a colour map by name
THOUSAND = 1000  # Cityscapes' ids of instances: 1000 x class + number


@dataclass
class Meaning:
    """What the values and colours of a set stand for.

    Attributes:
        ids: dict from value to class id (255: void).
        alone: dict from value to class id for masks that hold no other values; {}: as `ids`.
        codes: dict from colour, as 0xRRGGBB, to class id.
        opaque: dict from colour or value to class id in masks that are partly transparent; {}:
            as the others.
        by_color: bool, whether the colours of palettes decide, not their indices.
        names: class names of a colour map; () without one.
        smoothed: whether some mask was smoothed: thin values that are not classes are then edges
            in the other masks too.
        instances: str, as the setting of this name.
        readings: list of str, what was guessed, on what evidence, and what decides otherwise.
        doubts: list of Doubt.
    """

    ids: dict[int, int] = field(default_factory=dict)
    alone: dict[int, int] = field(default_factory=dict)
    codes: dict[int, int] = field(default_factory=dict)
    opaque: dict[int, int] = field(default_factory=dict)
    by_color: bool = False
    names: tuple[str, ...] = ()
    smoothed: bool = False
    instances: str = ""
    readings: list[str] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)

    @property
    def undecided(self):
        """The first Doubt for which a setting must decide, or None."""
        return next((doubt for doubt in self.doubts if not doubt.decided), None)


def find_meaning(
    contents, color_map="", num_classes=None, ignore_labels=None, *, palette="auto", instances=""
):
    """Decides what values and colours stand for, from the masks themselves.

    Args:
        contents: iterable of `utils.checking.content.MaskContent`, of the whole set.
        color_map, num_classes, ignore_labels, palette, instances: as in `judge`.

    Returns:
        Meaning.
    """
    census = Census()
    for content in contents:
        if not content.refusal:
            census.add(content.summarize())
    return judge(
        census, color_map, num_classes, ignore_labels, palette=palette, instances=instances
    )


def judge(
    census, color_map="", num_classes=None, ignore_labels=None, *, palette="auto", instances=""
):
    """Decides what values and colours stand for.

    Values: 0 and 255 alone are ids 0 and 1; values with wide gaps become 0, 1, 2, ... in
    order, unless num_classes covers them or other masks of the set are in colours; all others
    stay. 255 is void, unless it is one of evenly spaced values or nearly all there is. A value of a
    few pixels is no class. Colours: those of `color_map`, else VOC's; where all colours are grey
    and no map is given, they are values. What is not transparent is foreground.

    Args:
        census: `utils.checking.census.Census` of the whole set.
        color_map: path of a label map (`utils.label_maps`), or "voc"; "": VOC's colours for
            coloured masks alone. A map counts for grey masks and palettes too.
        num_classes: int, or None if it is not known; VOC's colours are then its 21.
        ignore_labels: values that are void; None: 255, if the masks use it so.
        palette: str. "colours" decide, or the "ids" that stand in the file; "auto": the ids,
            unless palettes differ and their colours don't.
        instances: str. "binary": each value above 0 is an object of class 1; "class": of class
            value // 1000; "": values are class ids.

    Returns:
        Meaning.

    Raises:
        UserError: for a colour map that can't be used, and for unknown choices.
    """
    check_choice("palette", palette, PALETTES)
    check_choice("instances", instances, INSTANCES)
    meaning = Meaning(smoothed=census.smoothed, instances=instances)
    if instances:
        meaning.ids = _instance_ids(census, instances, ignore_labels)
        return meaning
    _judge_instances(meaning, census)
    if color_map:
        _read_map(meaning, census, color_map)
        return meaning
    judge_palettes(meaning, census, num_classes, palette)
    values = census.values & census.grey if meaning.by_color else set(census.values)
    colors = census.colors + census.opaque if len(census.opaque) > 1 else census.colors
    if colors and not all(map(_is_grey, colors)):
        _judge_colors(meaning, census, colors, num_classes)
    else:
        values |= {code & 255 for code in colors}
    ignored = set(ignore_labels or ()) - {VOID}
    if values - ignored:
        judge_values(meaning, census, values - ignored, num_classes, ignore_labels)
    meaning.ids |= dict.fromkeys(ignored, VOID)
    if not meaning.codes:
        meaning.codes = {v * GREY_CODE: i for v, i in meaning.ids.items() if 0 <= v <= 255}
    _judge_opaque(meaning, census)
    return meaning


# Instances


def _judge_instances(meaning, census):
    """Values that are ids of objects, not of classes."""
    high = [value for value in census.values if value >= THOUSAND]
    classes = {value // THOUSAND for value in high}
    if len(high) > 2 * len(classes) and max(classes, default=0) < VOID:
        detail = (
            f"{len(high)} values such as {min(high)} and {max(high)} are {THOUSAND} x class + "
            f"number, of {len(classes)} classes"
        )
        meaning.doubts.append(Doubt("instances", detail, census.images[max(high)], False))
    like = sum(census.cells.values())
    if len(census.cells) > 1 or max(census.cells, default=0) > 20:
        detail = (
            f"{like:,} masks count {min(census.cells)} to {max(census.cells)} values from 1 on, "
            "each of one piece, as ids of objects"
        )
        meaning.doubts.append(Doubt("instances", detail, like, False))


def _instance_ids(census, instances, ignore_labels):
    """{value: id} for masks of instances."""
    void = set(ignore_labels or ())
    values = {value for value in census.values | {0} if value >= 0}
    if instances == "binary":
        return {value: VOID if value in void else int(value > 0) for value in values}
    classes = {value: value // THOUSAND if value >= THOUSAND else value for value in values}
    ids = number({c for v, c in classes.items() if v not in void}, None, False, False)
    return {v: VOID if v in void else ids[c] for v, c in classes.items() if v in void or c in ids}


# Colours


def _read_map(meaning, census, color_map):
    """Takes ids and names from a colour map, which counts for every kind of mask."""
    if str(color_map) == VOC_MAP:
        meaning.names, meaning.codes = VOC_CLASSES, voc_codes(len(VOC_CLASSES))
    else:
        found = read_label_map(color_map)
        colors = encode(np.array(list(found.ids)))
        meaning.names = found.names
        meaning.codes = dict(zip(map(int, colors), found.ids.values(), strict=True))
        meaning.readings += [found.note] * bool(found.note)
    meaning.by_color = True
    greys = {code & 255: index for code, index in meaning.codes.items() if _is_grey(code)}
    values = {value for value in census.values if value >= 0}
    if any(greys.get(value, VOID) != VOID for value in values - {0}):
        meaning.ids = greys
    elif values - {0} <= set(range(len(meaning.names))) | {VOID}:
        meaning.ids = {v: v for v in (*range(len(meaning.names)), VOID)} | {
            v: i for v, i in greys.items() if v == VOID
        }
        if values - {0, VOID} and not census.palettes:
            meaning.readings.append(
                f"Grey values stay: {color_map} names no grey but black, and they are ids below "
                f"{len(meaning.names)} already."
            )
    else:
        meaning.ids = greys


def _judge_colors(meaning, census, colors, num_classes):
    """Coloured masks without a map: VOC's colours, or one colour beside black."""
    known = voc_codes(num_classes or len(VOC_CLASSES))
    others = [code for code in colors if code not in known]
    first = others[0] if others else 0
    if others and set(colors) <= {0, first}:
        meaning.readings.append(
            f"The colour {decode(first)}, the only one beside black in "
            f"{census.color_files:,} masks, is class 1. A --color_map says otherwise."
        )
        known = {0: 0, first: 1}
    elif others:
        meaning.readings.append(
            f"{len(others)} colours are not VOC's and stand for no class. "
            + suggest_label_map(colors)
        )
    meaning.codes = known | meaning.codes


def _judge_opaque(meaning, census):
    """Masks with a transparent background: what is not transparent is foreground."""
    if len(census.opaque) == 1:
        code = next(iter(census.opaque))
        meaning.opaque = {code: 1} | ({code & 255: 1} if _is_grey(code) else {})
        meaning.readings.append(
            f"What is not transparent ({decode(code)}) is class 1, the transparent rest background."
        )
    elif census.opaque:
        meaning.readings.append("Transparent pixels are background.")


def _is_grey(code):
    return code >> 16 == (code >> 8) & 255 == code & 255
