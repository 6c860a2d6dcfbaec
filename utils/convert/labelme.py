"""labelme's JSON files, versions 3 to 5, as images and masks.

A shape covers the very pixels that labelme's own export gives it: the same calls of Pillow
with the same line width and point size. Later shapes paint over earlier ones.

Source: labelme, utils/shape.py and label_file.py of v3.16.7, v4.5.6 and v5.11.4.
"""

import base64
import io
import math
from functools import partial
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

from errors import UserError
from utils.convert.annotated_images import read_annotated_image
from utils.convert.annotations import Item, check_points, class_id, clean_label, read_json
from utils.convert.scan import Scan, Skips
from utils.convert.source import guess_json
from utils.images.channels import check_pixels

_LINE_WIDTH = 10
_POINT_RADIUS = 5
# How many points a shape may have. Some editors that write labelme's format give a
# rectangle its four corners, and an oriented one always has them.
_POINTS = {
    "polygon": range(3, 10**9),
    "rectangle": (2, 4),
    "oriented_rectangle": (4,),
    "circle": (2,),
    "line": (2,),
    "linestrip": range(2, 10**9),
    "point": (1,),
    "mask": (2,),
}


class Shape(NamedTuple):
    """One shape of a labelme file.

    Attributes:
        label: str.
        kind: str, a key of `_POINTS`.
        points: list of (x, y) in pixels.
        crop: bool (h, w) of a mask shape, whose first point is its upper left; else None.
        origin: str, for messages.
    """

    label: str
    kind: str
    points: list
    crop: np.ndarray | None
    origin: str


def is_labelme(data):
    """Whether the content of a JSON file is labelme's."""
    return isinstance(data, dict) and isinstance(data.get("shapes"), list)


guess_labelme = guess_json(is_labelme, "'shapes'")


def scan_labelme_files(source, options):
    """Looks through all JSON files; see `utils.convert.scan.Format`."""
    items, skips = [], Skips(options.strict)
    paths = source.need(".json")
    for path in tqdm(paths, "Reading the annotations", disable=None, leave=False):
        with skips.catching(path):
            items.append(scan_labelme(path, source.read(path), options.finder))
    labels = set().union(*(item.labels for item in items))
    return Scan(items, sorted(labels), [], skips.found)


def scan_labelme(path, data, finder):
    """Checks the content of a labelme file, and that there is an image to it.

    Args:
        path: Path of the JSON file, whose name the image and the mask get.
        data: its content.
        finder: ImageFinder.

    Returns:
        Item, which reads the file anew when it is loaded: with their images inside, all
        files together need not fit into memory.

    Raises:
        UserError: for anything that can't be converted.
    """
    if not is_labelme(data):
        raise UserError(f"{path} is not labelme's: it has no list 'shapes'. Move it away.")
    labels = frozenset(shape.label for shape in read_shapes(data, path))
    image_path = None if data.get("imageData") else _find_image(path, data, finder)
    return Item(path.stem, str(path), labels, partial(load_labelme, path, image_path))


def _find_image(path, data, finder):
    file_name = data.get("imagePath")
    if not isinstance(file_name, str) or not file_name:
        raise UserError(
            f"{path} has neither imageData nor imagePath: it names no image. Save it again "
            "in labelme."
        )
    found = finder.find(file_name, [path.parent])
    if found is None:
        raise UserError(
            f"{path} belongs to the image {file_name!r}, which is not in "
            f"{finder.image_dir or path.parent}, nor inside the file as imageData. Put it "
            "there, or set image_dir."
        )
    return found


def load_labelme(path, image_path, classes):
    """Reads a labelme file.

    Args:
        path: Path of the JSON file.
        image_path: Path of the image; None: it is inside the file.
        classes: tuple of str, the background first.

    Returns:
        (Image, uint8 (H, W) class ids).

    Raises:
        UserError: for anything that can't be converted.
    """
    data = read_json(path)
    shapes = read_shapes(data, path)
    declared = (data.get("imageHeight"), data.get("imageWidth"))
    # labelme embeds images already turned. Before 3.7 it turned none and embedded the
    # file as it was. Shapes are in pixels of what it showed, so the size decides.
    if image_path:
        image = read_annotated_image(image_path, declared, ("upright", "stored"), str(path))
    else:
        source = _decode_base64(data["imageData"], f"imageData of {path}")
        image = read_annotated_image(source, declared, ("stored", "upright"), str(path))
    size = (image.image.height, image.image.width)
    return image, paint_shapes(shapes, size, classes)


def read_shapes(data, path):
    """The shapes of a labelme file, in its order.

    Args:
        data: content of the file, for which `is_labelme` holds.
        path: for messages.

    Returns:
        list of Shape.

    Raises:
        UserError: for a shape that can't be drawn.
    """
    return [
        _read_shape(shape, f"{path}, shape {number}")
        for number, shape in enumerate(data["shapes"], 1)
    ]


def _read_shape(shape, origin):
    if not isinstance(shape, dict):
        raise UserError(f"{origin} is {str(shape)[:60]!r}. Expected label and points in braces.")
    label = clean_label(shape.get("label"), origin)
    origin = f"{origin} ({label})"
    kind = shape.get("shape_type") or "polygon"  # the only one until version 3.5
    if not isinstance(kind, str) or kind not in _POINTS:
        raise UserError(
            f"{origin} has the shape_type {kind!r}. Known are {', '.join(_POINTS)}. Draw it "
            "as one of these."
        )
    points = check_points(shape.get("points"), origin)
    if len(points) not in _POINTS[kind]:
        least = _POINTS[kind][0]
        expected = f"at least {least}" if isinstance(_POINTS[kind], range) else least
        raise UserError(
            f"{origin} is a {kind} of {len(points)} points. Expected {expected}. Draw it anew, "
            "or delete it."
        )
    crop = _read_crop(shape.get("mask"), points, origin) if kind == "mask" else None
    return Shape(label, kind, points, crop, origin)


def _read_crop(text, points, origin):
    """Decodes the image of a mask shape: bool (h, w), which fills its box."""
    try:
        with Image.open(io.BytesIO(_decode_base64(text, f"The mask of {origin}"))) as image:
            check_pixels(*image.size, f"of the mask of {origin}")
            crop = np.array(image).astype(bool)
    except UserError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads to
        raise UserError(f"The mask of {origin} can't be read: {error}") from error
    (left, top), (right, bottom) = points
    box = (bottom - top + 1, right - left + 1)  # the second point is inside
    # A mask that was moved by a fraction of a pixel keeps its size.
    if crop.ndim != 2 or any(abs(a - b) >= 1 for a, b in zip(crop.shape, box, strict=True)):
        raise UserError(
            f"The mask of {origin} has the shape {crop.shape}, but its points make a box of "
            f"{box} (height, width). Draw it anew."
        )
    return crop


def _decode_base64(text, name):
    try:
        # Some web editors put "data:image/png;base64," before it.
        return base64.b64decode(text.rpartition(",")[2])
    except (AttributeError, ValueError) as error:
        raise UserError(f"{name} is not base64 text: {error}. Save the file again.") from error


def paint_shapes(shapes, size, classes):
    """Paints shapes one over the other.

    Args:
        shapes: list of Shape.
        size: (height, width).
        classes: tuple of str, the background first.

    Returns:
        uint8 (height, width): class ids, 0 where no shape is, 255 for `__ignore__`.

    Raises:
        UserError: for a label that is not in the list.
    """
    mask = np.zeros(size, np.uint8)
    for shape in shapes:
        mask[draw_shape(shape, size)] = class_id(shape.label, classes, shape.origin)
    return mask


def draw_shape(shape, size):
    """The pixels of a shape, as labelme exports them: bool (height, width)."""
    if shape.kind == "mask":
        return _place_crop(shape, size)
    canvas = Image.new("L", size[::-1])
    draw, points = ImageDraw.Draw(canvas), shape.points
    if shape.kind in ("circle", "point"):
        (x, y), (rim_x, rim_y) = points[0], points[-1]
        # Not math.dist: its last digit may differ from labelme's.
        distance = math.sqrt((x - rim_x) ** 2 + (y - rim_y) ** 2)
        radius = distance if shape.kind == "circle" else _POINT_RADIUS
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], outline=1, fill=1)
    elif shape.kind == "rectangle" and len(points) == 2:
        (x0, x1), (y0, y1) = map(sorted, zip(*points, strict=True))
        draw.rectangle([x0, y0, x1, y1], outline=1, fill=1)
    elif shape.kind in ("line", "linestrip"):
        draw.line(points, fill=1, width=_LINE_WIDTH)
    else:
        draw.polygon(points, outline=1, fill=1)
    return np.array(canvas).astype(bool)


def _place_crop(shape, size):
    """A crop on an empty canvas; what lies beyond the edges is cut off."""
    left, top = np.rint(shape.points[0]).astype(int)
    height, width = shape.crop.shape
    canvas = np.zeros(size, bool)
    rows = slice(max(top, 0), max(top + height, 0))
    columns = slice(max(left, 0), max(left + width, 0))
    inside = canvas[rows, columns]
    above, before = max(-top, 0), max(-left, 0)
    inside |= shape.crop[above : above + inside.shape[0], before : before + inside.shape[1]]
    return canvas
