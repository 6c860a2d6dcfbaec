"""Palettes of a set compared: whether a mask's numbers or its colours are the class ids.

Programs that make files smaller renumber palettes: the colours stay, the ids don't.
"""

from collections import Counter, defaultdict

from utils.checking.census import Doubt
from utils.checking.content import decode, encode, suggest_label_map
from utils.labels import VOC_CLASSES, VOID, voc_palette

_MAJORITY = 2 / 3  # share of the masks that must agree to renumber the others


def voc_codes(count):
    """{colour as 0xRRGGBB: class id} of the first VOC colours, and of void."""
    palette = encode(voc_palette(256))
    return {int(code): index for index, code in enumerate(palette[:count])} | {
        int(palette[VOID]): VOID
    }


def judge_palettes(meaning, census, num_classes=None, palette="auto"):
    """Decides whether palettes are read by their colours, and says so in `meaning`.

    Args:
        meaning: `utils.checking.meaning.Meaning`, which is changed.
        census: `utils.checking.census.Census`.
        num_classes: int or None.
        palette: str, as in `utils.checking.meaning.judge`.
    """
    if not census.palettes or palette == "ids":
        return
    differing = sorted(v for v, colors in census.palettes.items() if len(colors) > 1)
    displaced = _displaced(census, num_classes)
    if not differing and not displaced and palette == "auto":
        return
    codes = _codes(census, num_classes)
    files = census.palette_groups.total()
    kind = detail = ""
    if differing:
        value = differing[0]
        colors = ", ".join(decode(code) for code, _ in census.palettes[value].most_common(3))
        detail = f"the index {value} has the colours {colors} (r g b) in {files:,} masks" + (
            "" if codes else f". {suggest_label_map(_all_colors(census))}"
        )
        kind = "palettes_differ"
    elif displaced:
        value, owner = displaced[0]
        colors = decode(next(iter(census.palettes[value])))
        detail = (
            f"the index {value} has VOC's colour of {owner}, {VOC_CLASSES[owner]} ({colors}), in "
            f"{files:,} masks"
        )
        kind = "palette_renumbered"
    decided = bool(codes) and bool(differing or palette == "colours")
    if kind:
        meaning.doubts.append(Doubt(kind, detail, files, decided or palette == "colours"))
    if not decided:
        return
    meaning.by_color = True
    meaning.codes = codes
    known = (
        "VOC's"
        if codes.keys() <= set(voc_codes(num_classes or len(VOC_CLASSES)))
        else "those of most masks"
    )
    meaning.readings.append(
        f"The colours of palettes decide, {known}: their numbers differ over the set. --palette "
        "ids takes the numbers, --color_map FILE other classes."
    )


def _all_colors(census):
    """Counter of the colours of all palettes."""
    return sum(census.palettes.values(), Counter())


def _displaced(census, num_classes):
    """[(index, VOC id of its colour)] where all colours are VOC's, some at other indices."""
    known = voc_codes(min(num_classes or len(VOC_CLASSES), len(VOC_CLASSES)))
    found = {v: next(iter(colors)) for v, colors in census.palettes.items()}
    if len(set(found.values())) < len(found) or not set(found.values()) <= set(known):
        return []
    return [(v, known[c]) for v, c in sorted(found.items()) if known[c] not in (v, VOID)]


def _codes(census, num_classes):
    """{colour: id}: VOC's where all colours are, else what most masks have; None if unclear."""
    known = voc_codes(num_classes or len(VOC_CLASSES))
    colors = {code for counts in census.palettes.values() for code in counts}
    if colors <= set(known):
        return known
    by_color = defaultdict(Counter)
    for value, counts in census.palettes.items():
        for code, number in counts.items():
            by_color[code][value] += number
    ids = {code: counts.most_common(1)[0][0] for code, counts in by_color.items()}
    agree = sum(
        number
        for group, number in census.palette_groups.items()
        if all(ids[code] == value for value, code in group)
    )
    unique = len(set(ids.values())) == len(ids)
    enough = agree >= _MAJORITY * census.palette_groups.total() and agree > 1
    return ids if unique and enough else None
