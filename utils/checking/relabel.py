"""Masks that are not class ids, made class ids, where that is safe.

What a value or a colour means is decided for the whole set, never for one mask alone: 0 and
255 in one mask may be background and void, in a set of them they are background and object.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from errors import UserError
from utils.checking.scan import smooth_values, thin_values
from utils.data.masks import read_label_ids, refused_mask
from utils.images.channels import check_pixels, load_image
from utils.images.header import holds_several
from utils.images.opening import open_header
from utils.labels import VOC_CLASSES, VOID, voc_palette

_COLOR_CODES = np.array([1 << 16, 1 << 8, 1])
_GREY_CODE = 0x010101  # times a grey value: its colour's code


@dataclass
class MaskContent:
    """The lossless content of a mask file.

    Attributes:
        values: integer (H, W), or None for colours.
        colors: uint8 (H, W, 3), or None for values.
        smooth: values along the edges of a smoothed mask.
        thin: values that hardly ever fill an area, smoothed or not.
        refusal: why it can't be used; "" if it can.
    """

    values: np.ndarray | None = None
    colors: np.ndarray | None = None
    smooth: tuple[int, ...] = ()
    thin: tuple[int, ...] = ()
    refusal: str = ""


def read_content(path):
    """Reads what a mask holds, whatever kind of lossless file it is.

    Returns:
        MaskContent.
    """
    try:
        with open_header(path) as image:
            check_pixels(*image.size, path)
            refused = refused_mask(image)
            if refused == "lossy":
                return MaskContent(refusal="compressed with loss")
            if holds_several(image):
                return MaskContent(
                    refusal="several images in one file: write all class ids into a single one"
                )
            if refused is None:
                return _values(read_label_ids(path), image.mode == "L")
            return _decode(image)
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads to
        return MaskContent(refusal=f"can't be read: {error}")


def _decode(image):
    if image.format in ("TIFF", "GIF") and image.info.get("compression") in ("jpeg", "tiff_jpeg"):
        return MaskContent(refusal="compressed with loss")
    load_image(image)
    if image.mode in ("P", "L", "1") or image.mode.startswith("I"):
        return _values(np.array(image).astype(np.int64), image.mode not in ("P", "1"))
    if image.mode not in ("RGB", "RGBA", "LA"):
        return MaskContent(refusal=f"mode {image.mode} is neither ids nor colours")
    pixels = np.array(image)
    if image.mode != "RGB" and (pixels[..., -1] != 255).any():
        return MaskContent(refusal="partly transparent")
    if image.mode == "LA":
        return _values(pixels[..., 0], True)
    colors = np.ascontiguousarray(pixels[..., :3])
    content = MaskContent(colors=colors)
    if (colors == colors[..., :1]).all():
        content.smooth, content.thin = smooth_values(colors[..., 0]), thin_values(colors[..., 0])
    return content


def _values(values, grey):
    content = MaskContent(values=values)
    if grey and values.min(initial=0) >= 0 and values.max(initial=0) <= 255:
        ids = values.astype(np.uint8)
        content.smooth, content.thin = smooth_values(ids), thin_values(ids)
    return content


@dataclass
class Meaning:
    """What the values and colours of a set stand for.

    Attributes:
        ids: dict from value to class id (255: void).
        codes: dict from colour, as 0xRRGGBB, to class id.
        names: class names of a colour map; () without one.
        smoothed: whether some mask was smoothed: thin values that are not classes are then edges
            in the other masks too.
    """

    ids: dict[int, int] = field(default_factory=dict)
    codes: dict[int, int] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    smoothed: bool = False


def find_meaning(contents, color_map="", num_classes=None, ignore_labels=(VOID,)):
    """Decides what values and colours stand for.

    Values: 0 and 255 alone are ids 0 and 1; values with wide gaps become 0, 1, 2, ... in
    order, with 255 kept as void, unless num_classes covers them or other masks of the set are
    in colours; all others stay. Colours: those of `color_map`, else VOC's;
    where all colours are grey and no map is given, they are values.

    Args:
        contents: iterable of MaskContent, of the whole set.
        color_map: path of a text file with lines `r g b name`; "": VOC's colours.
        num_classes: int, or None if it is not known; VOC's colours are then its 21.
        ignore_labels: values that are void.

    Returns:
        Meaning.
    """
    values, solid, codes = set(), set(), set()
    meaning = Meaning()
    for content in contents:
        meaning.smoothed |= bool(content.smooth)
        if content.values is not None:
            found = set(np.unique(content.values).tolist())
            values |= found - set(content.smooth)
            solid |= found - set(content.smooth or content.thin)
        elif content.colors is not None:
            edges = {value * _GREY_CODE for value in content.smooth}
            codes |= set(np.unique(_encode(content.colors)).tolist()) - edges
    if meaning.smoothed:
        values = solid
    if color_map:
        meaning.codes, meaning.names = read_color_map(color_map)
    elif codes and not all(_is_grey(code) for code in codes):
        palette = _encode(voc_palette(256))
        count = num_classes or len(VOC_CLASSES)
        meaning.codes = {int(code): index for index, code in enumerate(palette[:count])}
        meaning.codes[int(palette[VOID])] = VOID
    else:
        values |= {code & 255 for code in codes}
    ignored = set(ignore_labels) - {VOID}
    meaning.ids = _number(values - ignored, num_classes, keep=bool(codes and meaning.codes))
    meaning.ids |= dict.fromkeys(ignored, VOID)
    if not meaning.codes:
        meaning.codes = {v * _GREY_CODE: i for v, i in meaning.ids.items() if 0 <= v <= 255}
    return meaning


def _number(values, num_classes=None, keep=False):
    """{value: id} for the values of a set; keep: beside colours that are ids already."""
    values = sorted(value for value in values if value >= 0)
    if values in ([0, 255], [255]) and not keep:
        return {0: 0, 255: 1}
    objects = [value for value in values if value != VOID]
    keep = keep or (num_classes and objects and objects[-1] < num_classes)
    if not keep and objects and objects[-1] + 1 > 2 * len(objects) and len(objects) <= VOID:
        return {value: index for index, value in enumerate(objects)} | {VOID: VOID}
    return {value: value for value in values if 0 <= value <= 255}


def _encode(colors):
    return colors.astype(np.int64) @ _COLOR_CODES


def _is_grey(code):
    return code >> 16 == (code >> 8) & 255 == code & 255


def read_color_map(path):
    """Reads lines `r g b name`; the first line is class 0, and `void` as a name is void.

    Returns:
        (dict from 0xRRGGBB to class id, names of the classes).

    Raises:
        UserError: naming the line that is no such line, or a colour that stands twice.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The colour map {path} can't be read: {error}.") from error
    codes, names = {}, []
    for number, line in enumerate(lines, start=1):
        parts = line.replace(",", " ").split(maxsplit=3)
        if not parts or line.startswith("#"):
            continue
        channels = [int(part) for part in parts[:3] if part.isdecimal() and int(part) <= 255]
        if len(channels) != 3 or len(parts) != 4:
            raise UserError(
                f"{path}, line {number}: expected 'r g b name' with 0 to 255; got {line!r}."
            )
        code = int(_encode(np.array(channels)))
        if code in codes:
            raise UserError(f"{path}, line {number}: the colour {channels} stands twice.")
        if parts[3].strip().lower() == "void":
            codes[code] = VOID
        else:
            codes[code] = len(names)
            names.append(parts[3].strip())
    if not 2 <= len(names) <= 255:
        raise UserError(f"{path} must name 2 to 255 classes; it names {len(names)}.")
    return codes, tuple(names)


def to_ids(content, meaning):
    """Turns a mask's content into class ids.

    Returns:
        (uint8 (H, W) or None, why not, Counter of the colours or values without a meaning).
    """
    if content.refusal:
        return None, content.refusal, Counter()
    colored = content.colors is not None
    keys = _encode(content.colors) if colored else content.values
    table = dict(meaning.codes if colored else meaning.ids)
    thin = set(content.thin) - set(meaning.ids) if meaning.smoothed else set()
    edges = {value * (_GREY_CODE if colored else 1): VOID for value in {*content.smooth, *thin}}
    # A colour that the user named is a class even along edges.
    table = edges | table if colored and meaning.names else table | edges
    found, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    unknown = {
        int(key): int(count)
        for key, count in zip(found, counts, strict=True)
        if int(key) not in table
    }
    if unknown:
        kind = "colours" if colored else "values"
        named = {_name(key) if colored else key: count for key, count in unknown.items()}
        return None, f"{len(unknown)} {kind} stand for no class", Counter(named)
    ids = np.array([table[int(key)] for key in found], np.uint8)
    return ids[inverse].reshape(keys.shape), "", Counter()


def _name(code):
    return f"{code >> 16} {(code >> 8) & 255} {code & 255}"
