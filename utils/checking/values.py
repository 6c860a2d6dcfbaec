"""What the values of a set's grey masks stand for: gaps, strays, void, two conventions.

Part of `utils.checking.meaning`, which describes the rules.
"""

from utils.checking.census import Doubt
from utils.labels import VOID

_STRAY, _STRAY_SHARE = 9, 2e-5  # pixels, share of all, up to which a value is no class
_MOST_VOID = 0.5  # share of all pixels beyond which void is doubted
_VOID_TIMES = 50  # times the other classes' pixels beyond which void is doubted
_DECIDES = '--ignore_labels 255 says that it is void, --ignore_labels "" that it is a class'


def judge_values(meaning, census, values, num_classes, ignore_labels):
    """Fills in `meaning.ids` and `meaning.alone`.

    Args:
        meaning: `utils.checking.meaning.Meaning`, whose `codes` of coloured masks are known.
        census: `utils.checking.census.Census`.
        values: set of int, those to judge.
        num_classes, ignore_labels: as in `utils.checking.meaning.judge`.
    """
    keep = bool(meaning.codes)
    strays = _find_strays(census, values, num_classes, keep)
    values = values - strays
    void = _is_void(meaning, census, values, num_classes, ignore_labels, keep)
    meaning.ids = number(values, num_classes, void, keep)
    for value in sorted(strays):
        meaning.ids[value] = VOID
        detail = (
            f"value {value}: {census.pixels[value]} of {census.total:,} pixels, never an area, in "
            f"{census.example(value)}"
        )
        meaning.doubts.append(Doubt("stray_values", detail, census.images[value]))
    if strays:
        names = ", ".join(map(str, sorted(strays)))
        meaning.readings.append(
            f"{names}: too few pixels for a class, made void. If that is wrong, name every value "
            "in a --color_map."
        )
    _judge_alone(meaning, census, values, num_classes, ignore_labels)


def _find_strays(census, values, num_classes, keep):
    """Values of a few pixels, beside others that make sense without them."""
    most = max(_STRAY, _STRAY_SHARE * census.total)
    rare = {
        value
        for value in values - {0, VOID}
        if census.pixels[value] <= most and census.thin[value] == census.images[value] > 0
    }
    others = values - rare
    if not rare or keep or len(others) < 2:
        return set()
    objects = [value for value in values if value != VOID]
    if num_classes and max(objects) < num_classes:
        return set()
    return rare if _has_gaps(objects) or max(others - {VOID}) < min(rare) - 1 else set()


def _has_gaps(objects):
    """Whether values like 0, 50, 100 stand for ids 0, 1, 2."""
    return max(objects) + 1 > 2 * len(objects)


def number(values, num_classes, void, keep):
    """Numbers values that have wide gaps.

    Args:
        values: set of int.
        num_classes: int or None; values below it are ids.
        void: bool, whether 255 is void.
        keep: bool, whether values are ids in any case, as beside colours that are.

    Returns:
        {value: id}.
    """
    values = sorted(value for value in values if value >= 0)
    if values in ([0, VOID], [VOID]) and not void:
        return {0: 0, VOID: 1}
    objects = [value for value in values if value != VOID or not void]
    keep = keep or (num_classes and objects and objects[-1] < num_classes)
    if not keep and objects and _has_gaps(objects) and len(objects) <= VOID:
        numbered = {value: index for index, value in enumerate(objects)}
        return numbered | ({VOID: VOID} if void else {})
    return {value: value for value in values if 0 <= value <= VOID}


def _is_void(meaning, census, values, num_classes, ignore_labels, keep):
    """Whether 255 is void; adds to `meaning` how that was told."""
    if ignore_labels is not None:
        return VOID in ignore_labels
    if VOID not in values:
        return True
    objects = sorted(values - {VOID})
    share = census.pixels[VOID] / max(census.total, 1)
    if objects in ([0], []):
        if not keep and 0 in objects and share > _MOST_VOID:
            meaning.readings.append(
                f"255, {share:.0%} of the pixels, is class 1, 0 the background. If it is the "
                "other way round, give --color_map a file of two lines: '255 255 255 background' "
                "and '0 0 0 object'."
            )
        return keep
    others = sum(census.pixels[value] for value in objects if value > 0)
    if keep or (num_classes and objects[-1] < num_classes):
        doubtful = others and census.pixels[VOID] > _VOID_TIMES * others
    elif _is_even([*objects, VOID]) and len(objects) != num_classes:
        meaning.readings.append(
            f"255 is a class: {', '.join(map(str, objects))} and 255 are evenly spaced, in "
            f"{census.images[VOID]:,} of {census.files:,} masks. {_DECIDES}."
        )
        meaning.doubts.append(_doubt_of_void("void_is_class", census, share, objects))
        return False
    elif _has_gaps(objects) and not _is_even(objects) and len(objects) != num_classes:
        doubtful = census.thin[VOID] < 0.9 * census.images[VOID]
    else:
        doubtful = share > _MOST_VOID or census.pixels[VOID] > _VOID_TIMES * others
    if doubtful:
        meaning.doubts.append(_doubt_of_void("void_or_class", census, share, objects, False))
    return True


def _doubt_of_void(kind, census, share, objects, decided=True):
    detail = (
        f"255: {share:.1%} of the pixels in {census.images[VOID]:,} of {census.files:,} masks, "
        f"beside {', '.join(map(str, objects[:8]))}, for instance in {census.example(VOID)}"
    )
    return Doubt(kind, detail, census.images[VOID], decided)


def _is_even(values):
    """Whether values divide 0 to the last of them into equal parts, but for rounding."""
    steps = len(values) - 1
    if steps < 2 or values[0] != 0 or not _has_gaps(values):
        return False
    return all(abs(value - index * values[-1] / steps) <= 1 for index, value in enumerate(values))


def _judge_alone(meaning, census, values, num_classes, ignore_labels):
    """Masks of 0 and 255 beside others of 0 and 1, or of colours: two conventions in one set."""
    objects = values - {0, VOID}
    if VOID not in values or ignore_labels is not None:
        return
    alone = census.files_with(lambda found: VOID in found and found <= {0, VOID})
    both = census.files_with(lambda found: VOID in found and not found <= {0, VOID})
    known = objects | _used_ids(meaning, census) - {0, VOID}
    if not alone or both or not known:
        return
    detail = (
        f"{alone:,} masks hold 0 and 255 alone, such as {census.example(VOID)}; "
        f"{census.files - alone:,} others hold {', '.join(map(str, sorted(known)[:8]))}"
    )
    decided = known == {1}
    meaning.doubts.append(Doubt("mixed_conventions", detail, alone, decided))
    if decided:
        meaning.alone = {0: 0, VOID: 1}
        meaning.readings.append(
            f"255 is class 1 in the {alone:,} masks that hold nothing else than it and 0: no mask "
            "holds both 1 and 255. --ignore_labels 255 says that it is void."
        )


def _used_ids(meaning, census):
    """The ids of the colours that occur."""
    return {meaning.codes[code] for code in census.colors if code in meaning.codes}
