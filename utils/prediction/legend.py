"""A legend for a drawn mask: each class's colour, name and share."""

import math
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from errors import UserError
from utils.fonts import MAIN_FONT, font_file, installed_fonts
from utils.labels import VOID
from utils.prediction.draw import pixels_of_values

_LEAST_SIZE = 12  # letters below this many pixels are hard to read
_LONGEST_LINE = 14  # of a name, in font sizes


class _Entry(NamedTuple):
    """One class as the legend shows it; the name in lines that fit its column."""

    color: tuple
    lines: list
    share: str
    font: ImageFont.FreeTypeFont


def pick_font(text, families):
    """The first of these font families that has all of a text's letters, or None."""
    needed = {ord(letter) for letter in text if not letter.isspace()}
    return next((name for name in families if needed <= font_file(name)[2]), None)


def add_legend(image, mask, colors, names):
    """Adds a panel with a colour patch, name and share of each class in the mask.

    The panel stands beside a tall image and below any other. Its letters grow with the
    image; where they do not fit, the canvas does: the image itself is never scaled.

    Args:
        image: uint8 (H, W, 3) RGB, as of `utils.prediction.draw.draw_mask`.
        mask: uint8 (H, W), class ids; 255 is listed as void.
        colors: uint8 (256, 3).
        names: one name per class. A name that no installed font can write is given as
            "class 3".

    Returns:
        uint8 (at least H, at least W, 3) RGB, with the image at the upper left. Shares are
        of all pixels, the most first.

    Raises:
        UserError: if the mask holds a class that has no name.
    """
    height, width = image.shape[:2]
    size = max(_LEAST_SIZE, round((height * width) ** 0.5 / 40))
    entries = _make_entries(mask, colors, names, size)
    # A column of less than ten lines is no use.
    if height > width and height >= 15 * size:
        panel, place = _draw_panel(entries, size, 0, height), (0, width)
    else:
        panel = _draw_panel(entries, size, width, max(height, width, 15 * size))
        place = (height, 0)
    bottom, right = place[0] + panel.shape[0], place[1] + panel.shape[1]
    canvas = np.full((max(height, bottom), max(width, right), 3), 255, np.uint8)
    canvas[:height, :width] = image
    canvas[place[0] : bottom, place[1] : right] = panel
    return canvas


def _make_entries(mask, colors, names, size):
    counts = pixels_of_values(mask)
    entries = []
    for class_id in sorted(np.flatnonzero(counts).tolist(), key=lambda index: -counts[index]):
        if class_id >= len(names) and class_id != VOID:
            raise UserError(
                f"The mask holds class {class_id}, but there are {len(names)} names, for the "
                f"classes 0 to {len(names) - 1}. Name every class, the background too."
            )
        name = names[class_id] if class_id < len(names) else "void"
        family = pick_font(name, installed_fonts())
        if not family or not name.split():
            name, family = f"class {class_id}", MAIN_FONT
        path, face, _ = font_file(family)
        font = ImageFont.truetype(path, size, index=face)
        color = tuple(colors[class_id].tolist())
        lines = _wrap(name, font, _LONGEST_LINE * size)
        entries.append(_Entry(color, lines, _format_share(counts[class_id] / mask.size), font))
    return entries


def _format_share(share):
    return "<0.1%" if share < 0.001 else f"{share:.1%}"


def _wrap(text, font, limit):
    """Lines of at most `limit` pixels, broken between words, or within one that is longer."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= limit:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if lines[-1] and font.getlength(lines[-1] + letter) > limit:
                lines.append("")
            lines[-1] += letter
    return lines


def _draw_panel(entries, size, width, most_height):
    """Draws the entries in rows and columns.

    Args:
        entries: list of _Entry.
        size: int, the font's.
        width: int; as many columns as fit into it are used, and more if they are needed
        most_height: int; to be no higher than this.

    Returns:
        uint8 (h, w, 3).
    """
    margin, gap, between = size // 2, size // 3, 3 * size // 2
    ascent, descent = np.max([entry.font.getmetrics() for entry in entries], axis=0).tolist()
    line = math.ceil(1.1 * (ascent + descent))
    cell = _cell_width(entries, size)

    def heights(columns):
        rows = [entries[i : i + columns] for i in range(0, len(entries), columns)]
        return [gap + line * max(len(entry.lines) for entry in row) for row in rows]

    columns = max(1, (width - 2 * margin + between) // (cell + between))
    while columns < len(entries) and sum(heights(columns)) + 2 * margin > most_height:
        columns += 1
    # No emptier last row than need be.
    columns = math.ceil(len(entries) / len(heights(columns)))
    tops = np.cumsum([margin, *heights(columns)]).tolist()
    panel_width = columns * (cell + between) - between + 2 * margin
    panel = Image.new("RGB", (panel_width, tops[-1] + margin), "white")
    draw = ImageDraw.Draw(panel)
    for index, entry in enumerate(entries):
        left = margin + index % columns * (cell + between)
        _draw_entry(draw, entry, (left, tops[index // columns] + ascent), (size, line, cell))
    return np.asarray(panel)


def _cell_width(entries, size):
    """The width of patch, longest name and longest share, and the spaces between them."""
    names = max(_width(entry.font, text) for entry in entries for text in entry.lines)
    return 5 * size // 2 + names + max(_width(entry.font, entry.share) for entry in entries)


def _width(font, text):
    return math.ceil(font.getlength(text))


def _draw_entry(draw, entry, place, sizes):
    """Draws patch, name and share; `place` is where the first line's baseline starts."""
    (left, base), (size, line, cell) = place, sizes
    bottom = base + size // 8
    patch = (left, bottom - size, left + size - 1, bottom - 1)
    # The grey rim shows a patch that is white.
    draw.rectangle(patch, fill=entry.color, outline="grey", width=max(1, size // 16))
    for number, text in enumerate(entry.lines):
        corner = (left + 3 * size // 2, base + number * line)
        draw.text(corner, text, fill="black", font=entry.font, anchor="ls")
    draw.text((left + cell, base), entry.share, fill="black", font=entry.font, anchor="rs")
