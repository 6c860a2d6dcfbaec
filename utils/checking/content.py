"""What a mask file holds, whatever kind of lossless file it is: values or colours.

`utils.checking.meaning` decides for a whole set what they stand for.
"""

from collections import Counter
from dataclasses import dataclass, field

import cv2
import numpy as np

from utils.data.masks import read_label_ids, refused_mask
from utils.images.channels import check_pixels, load_image
from utils.images.header import holds_several
from utils.images.opening import open_header

GREY_CODE = 0x010101  # times a grey value: its colour's code
MOST_COLORS = 4096  # more of them are no mask
_COLOR_CODES = np.array([1 << 16, 1 << 8, 1])
_CELLS = 8  # ids in a file from which they may be those of single objects
_SAMPLED = 24  # ids of a file of which it is looked at whether they are one piece


@dataclass
class MaskSummary:
    """What a mask holds, in numbers.

    Attributes:
        counts: dict from each value, or each colour as 0xRRGGBB, to its pixels.
        colored: bool, whether these are colours.
        smooth: values that only stand between others along edges, as anti-aliasing leaves them.
        thin: values that hardly ever fill an area, smoothed or not.
        palette: dict from each value to its colour; {} for grey.
        clear: int, pixels that are wholly transparent, which `counts` leaves out.
        cells: bool, whether the values are 1, 2, 3, ... of one piece each, as ids of objects.
    """

    counts: dict[int, int] = field(default_factory=dict)
    colored: bool = False
    smooth: tuple[int, ...] = ()
    thin: tuple[int, ...] = ()
    palette: dict[int, int] = field(default_factory=dict)
    clear: int = 0
    cells: bool = False


@dataclass
class MaskContent:
    """The lossless content of a mask file.

    Attributes:
        values: integer (H, W), or None for colours.
        colors: uint8 (H, W, 3), or None for values.
        smooth, thin, palette: as in `MaskSummary`.
        clear: bool (H, W), wholly transparent pixels; None if there are none.
        soft: bool (H, W), partly transparent pixels along edges; None if there are none.
        refusal: why it can't be used; "" if it can.
    """

    values: np.ndarray | None = None
    colors: np.ndarray | None = None
    smooth: tuple[int, ...] = ()
    thin: tuple[int, ...] = ()
    palette: dict[int, int] = field(default_factory=dict)
    clear: np.ndarray | None = None
    soft: np.ndarray | None = None
    refusal: str = ""

    @property
    def keys(self):
        """int (H, W): the values, or the colours as 0xRRGGBB."""
        return self.values if self.colors is None else encode(self.colors)

    @property
    def shown(self):
        """bool (H, W), pixels that are not transparent at all; None: all are."""
        hidden = [mask for mask in (self.clear, self.soft) if mask is not None]
        return ~np.logical_or.reduce(hidden) if hidden else None

    def summarize(self):
        """The MaskSummary."""
        shown = self.shown
        keys = self.keys if shown is None else self.keys[shown]
        found, counts = np.unique(keys, return_counts=True)
        most = np.argsort(-counts, kind="stable")[:MOST_COLORS]
        return MaskSummary(
            dict(zip(found[most].tolist(), counts[most].tolist(), strict=True)),
            self.colors is not None,
            self.smooth,
            self.thin,
            self.palette,
            0 if self.clear is None else int(np.count_nonzero(self.clear)),
            self.colors is None and are_cells(self.values, found.tolist()),
        )


def encode(colors):
    """Colours, uint8 (..., 3), as numbers 0xRRGGBB."""
    return colors.astype(np.int64) @ _COLOR_CODES


def decode(code):
    """A colour as it stands in a colour map: "r g b"."""
    return f"{code >> 16} {(code >> 8) & 255} {code & 255}"


def suggest_label_map(colors, most=30):
    """What to write into a file for --color_map: a sentence and its lines.

    Args:
        colors: Counter of colours, 0xRRGGBB, that stand for no class yet.
        most: int, lines.
    """
    codes = [code for code, _ in Counter(colors).most_common(most) if code]
    lines = [
        f"{decode(code)} {'class_' * (index > 0)}{index or 'background'}"
        for index, code in enumerate([0, *codes])
    ]
    shown = "\n".join(f"        {line}" for line in lines)
    return f"Lines of a file for --color_map FILE, with your names:\n{shown}"


def read_content(path):
    """Reads what a mask holds.

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
                content = _values(read_label_ids(path), image.mode == "L")
                content.palette = palette_of(image, np.unique(content.values))
                return content
            return _decode(image)
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads to
        return MaskContent(refusal=f"can't be read: {error}")


def palette_of(image, values):
    """{value: colour} of a PIL image with a palette, for these values; {} for another image."""
    if image.mode != "P" or image.palette is None:
        return {}
    # `getpalette` would decode the whole image first.
    plain = image.palette.rawmode == "RGB" and isinstance(image.palette.palette, bytes)
    palette = image.palette.palette if plain else bytes(image.getpalette("RGB"))
    # As Python's own: of uint8, 3 * 255 is 253.
    colors = {value: palette[3 * value : 3 * value + 3] for value in map(int, values)}
    return {value: int.from_bytes(c, "big") for value, c in colors.items() if len(c) == 3}


def _decode(image):
    if image.format in ("TIFF", "GIF") and image.info.get("compression") in ("jpeg", "tiff_jpeg"):
        return MaskContent(refusal="compressed with loss")
    load_image(image)
    if image.mode in ("P", "L", "1") or image.mode.startswith("I"):
        content = _values(np.array(image).astype(np.int64), image.mode not in ("P", "1"))
        content.palette = palette_of(image, np.unique(content.values))
        return content
    if image.mode == "F":
        values = np.array(image)
        if not (np.isfinite(values).all() and (values == np.rint(values)).all()):
            return MaskContent(refusal="its floats are no whole numbers, so no class ids")
        return _values(values.astype(np.int64), False)
    if image.mode not in ("RGB", "RGBA", "LA"):
        return MaskContent(refusal=f"mode {image.mode} is neither ids nor colours")
    pixels = np.array(image)
    clear = soft = None
    if image.mode != "RGB" and (pixels[..., -1] != 255).any():
        clear = pixels[..., -1] == 0
        soft = ~clear & (pixels[..., -1] != 255)
        along_edges = clear.any() and 2 in edge_values(clear + 2 * soft.astype(np.uint8))[1]
        if soft.any() and not along_edges:
            return MaskContent(refusal="partly transparent")
    if image.mode == "LA":
        content = _values(pixels[..., 0], True)
    else:
        content = MaskContent(colors=np.ascontiguousarray(pixels[..., :3]))
        grey = content.colors[..., 0]
        if clear is None and (content.colors == grey[..., None]).all():
            content.smooth, content.thin = edge_values(grey)
    content.clear, content.soft = clear, soft
    return content


def _values(values, grey):
    content = MaskContent(values=values)
    if grey and values.min(initial=0) >= 0 and values.max(initial=0) <= 255:
        content.smooth, content.thin = edge_values(values.astype(np.uint8))
    return content


# Edges


def edge_values(ids, least=4):
    """Values of a mask that stand along edges only.

    Smooth are those that anti-aliasing left: where at least `least` values are never an area of
    their own and mostly stand between two others, as blends do, the mask was smoothed; then
    every thin value counts.

    Args:
        ids: uint8 (H, W).
        least: int; fewer such values are taken for thin objects.

    Returns:
        (smooth, thin): sorted tuples of int; thin ones hardly ever fill a window of 3x3 pixels,
        smooth is () if the mask was not smoothed.
    """
    present = np.bincount(ids.ravel(), minlength=256)
    low, high, inside = _neighbourhood(ids)
    return _smooth(ids, present, low, high, inside, least), _thin(present, inside)


def _smooth(ids, present, low, high, inside, least):
    if np.count_nonzero(present) < least + 2:
        return ()
    between = np.bincount(ids[(low < ids) & (ids < high)], minlength=256)
    blends = (present > 0) & (inside == 0) & (2 * between > present)
    if np.count_nonzero(blends) < least:
        return ()
    ends = np.flatnonzero(present)[[0, -1]]  # a blend lies between others
    return tuple(value for value in _thin(present, inside) if value not in ends)


def _neighbourhood(ids):
    """Least and largest value around each pixel, and how often each value fills its window."""
    window = np.ones((3, 3), np.uint8)
    low, high = cv2.erode(ids, window), cv2.dilate(ids, window)
    return low, high, np.bincount(ids[low == high], minlength=256)


def _thin(present, inside):
    """Chance makes a blend fill a window now and then: at most one pixel in fifty."""
    return tuple(int(value) for value in np.flatnonzero((present > 0) & (50 * inside < present)))


def are_cells(values, found):
    """Whether values count objects: 1, 2, 3, ... without a gap, each in one piece.

    Args:
        values: integer (H, W).
        found: list of the values that occur.

    Returns:
        bool; False for fewer than 8 of them, which classes may as well be.
    """
    objects = sorted(value for value in found if value > 0)
    if len(objects) < _CELLS or objects != list(range(1, len(objects) + 1)):
        return False
    step = max(len(objects) // _SAMPLED, 1)
    return all(_is_one_piece(values == value) for value in objects[::step])


def _is_one_piece(area):
    """Whether pixels hang together, but for the crumbs that drawing leaves."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(area.astype(np.uint8), connectivity=8)
    sizes = stats[1:, cv2.CC_STAT_AREA]
    return sizes.max() >= 0.95 * sizes.sum()
