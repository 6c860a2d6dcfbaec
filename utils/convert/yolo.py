"""YOLO segmentation: data.yaml or classes.txt, images/ and labels/ with a text file per image.

    images/train/a.jpg, labels/train/a.txt   or   train/images/a.jpg, train/labels/a.txt
    a line: class x1 y1 x2 y2 x3 y3 ...      in parts of the image's width and height

Later lines paint over earlier ones. An image without a text file is background.

Source: docs.ultralytics.com/datasets/segment.
"""

import math
import re
from functools import partial

from errors import UserError
from utils.convert.annotations import Item, shown
from utils.convert.mask_files import by_stem, image_files
from utils.convert.rasterize import box_corners, fill_polygon
from utils.convert.regions import FoundImage, Region, labels_of, load_regions
from utils.convert.scan import Scan, Skips
from utils.convert.source import Source
from utils.convert.text import encoding_note, read_text
from utils.convert.yolo_names import read_yolo_names

_YAML = (".yaml", ".yml")
_NAME_FILES = ("classes.txt", "obj.names", "labels.txt")
_SLACK = 0.001  # what rounding may add to 0 and 1
_BOX = 4  # numbers of a box: centre, width and height


def guess_yolo(source):
    """What tells that the folder is YOLO's; see `utils.convert.scan.Format`."""
    source = _whole(source)
    labels, names = _find_labels(source), _find_names(source)
    if not labels or not names:
        return None
    first = next(iter(labels.values()))[0]
    return f"{source.show(names[0])} and the text files in {source.show(first.parent)}"


def _whole(source):
    """The folder of a data.yaml, where that alone is given; else the source itself."""
    is_yaml = source.path.suffix.lower() in _YAML and source.path.is_file()
    return Source(source.folder) if is_yaml else source


def _find_names(source):
    """The files of the class names, the one nearest to the top first: list of Path."""
    yamls = [path for path in source.having(*_YAML) if _has_names(path)]
    texts = [path for path in source.files if path.name.lower() in _NAME_FILES]
    return sorted(yamls or texts, key=lambda path: len(path.parts))


def _has_names(path):
    try:
        return re.search(rb"(?m)^names\s*:", path.read_bytes()) is not None
    except OSError:
        return False


def _find_labels(source):
    """{folders without labels/: [Path of a text file]}."""
    found = {}
    for path in source.having(".txt"):
        key = _key(path, source, "labels")
        if key is not None and path.name.lower() not in _NAME_FILES:
            found.setdefault(key, []).append(path)
    return found


def _key(path, source, word):
    """The folders of a path without the last one of that name; None if it has none."""
    folders = list(path.relative_to(source.folder).parts[:-1])
    for at in range(len(folders) - 1, -1, -1):
        if folders[at].lower() == word:
            return (*folders[:at], *folders[at + 1 :])
    return None


def scan_yolo(source, options):
    """Reads the text files; see `utils.convert.scan.Format`."""
    source = _whole(source)
    names, note = _read_names(source)
    labels, images = _find_labels(source), _find_images(source, options.finder.image_dir)
    if not labels or not images:
        raise UserError(
            f"{source.path} has no {'images' if labels else 'text files in a folder labels'}. "
            "Expected images/ and labels/, or train/images/ and train/labels/; or set image_dir."
        )
    items, notes, skips = [], [note] if note else [], Skips(options.strict)
    empty = 0
    for key in sorted(labels.keys() | images.keys()):
        if key not in labels:
            left_out = images[key]
            notes.append(
                f"{len(left_out)} images in {left_out[0].parent} are left out: no folder labels "
                "belongs to them."
            )
            continue
        for image, text in _pair(labels[key], images.get(key, []), skips):
            empty += text is None
            with skips.catching(text or image):
                items.append(_make_item(image, text, names, options.fill_boxes))
    if empty:
        notes.append(f"{empty} images have no text file and became background.")
    return Scan(items, list(names.values()), notes, skips.found)


def _pair(texts, images, skips):
    """(image path, text path or None) of a folder."""
    texts, images = by_stem(texts, "text files"), by_stem(images)
    strays = sorted(texts.keys() - images.keys())
    for stem in strays:
        skips.add(texts[stem], f"{texts[stem]} belongs to no image of that name.")
    if strays:  # they may belong to the images without one, which are then no background
        for stem in sorted(images.keys() - texts.keys()):
            reason = f"{images[stem]} has no text file, while {texts[strays[0]]} has no image."
            skips.add(images.pop(stem), f"{reason} Are they one under two names?")
    return [(path, texts.get(stem)) for stem, path in images.items()]


def _read_names(source):
    """({class number: name}, a note for the user or "")."""
    files = _find_names(source)
    if not files:
        raise UserError(
            f"{source.path} has neither a data.yaml with names nor a classes.txt. Put it there: it "
            "says what the class numbers mean."
        )
    names = read_yolo_names(files[0])
    for other in files[1:]:
        if read_yolo_names(other) != names:
            raise UserError(
                f"{files[0]} and {other} name different classes. Convert their folders one by one, "
                "or remove the one that does not count."
            )
    return names, encoding_note(files[0], read_text(files[0])[1])


def _find_images(source, image_dir):
    """{folders without images/: [Path]}; with image_dir, its folders."""
    found = {}
    place = Source(image_dir) if image_dir else source
    for path in image_files(place.files):
        key = _key(path, place, "images")
        if key is None and image_dir:
            key = path.relative_to(place.folder).parts[:-1]
        if key is not None:
            found.setdefault(key, []).append(path)
    return found


def _make_item(image, text, names, fill_boxes):
    regions = [] if text is None else read_yolo_labels(text, names, fill_boxes)
    origin = str(text or image)
    found = FoundImage(image, image.name, (None, None), origin)
    load = partial(load_regions, found, regions, ("upright",))
    return Item(image.stem, origin, labels_of(regions), load)


def read_yolo_labels(path, names, fill_boxes=False):
    """The outlines of a text file.

    Args:
        path: Path.
        names: {class number: name}.
        fill_boxes: bool, whether a line of four numbers, which is a box, fills it.

    Returns:
        list of Region.

    Raises:
        UserError: for a line that is no outline.
    """
    try:
        lines = read_text(path)[0].splitlines()
    except OSError as error:
        raise UserError(f"{path} can't be read: {error}.") from error
    return [
        _read_line(line.split(), names, fill_boxes, f"{path}, line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


def _read_line(fields, names, fill_boxes, origin):
    if not re.fullmatch(r"\d{1,9}", fields[0], re.ASCII) or int(fields[0]) not in names:
        raise UserError(
            f"{origin}: the class {shown(fields[0])} is none of the numbers {_span(names)} that "
            "have names. Correct it, or add the name."
        )
    numbers = [_read_number(field, origin) for field in fields[1:]]
    if len(numbers) == _BOX:
        if not fill_boxes:
            raise UserError(
                f"{origin} is a box, no outline: a class and four numbers. A box is rarely what "
                "the object covers. Draw outlines, or set fill_boxes to take the whole box."
            )
        x, y, width, height = numbers
        points = box_corners(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    elif len(numbers) < 6 or len(numbers) % 2:
        raise UserError(
            f"{origin} has {len(numbers)} numbers behind the class. Expected x and y of at least "
            "three points."
        )
    else:
        points = list(zip(numbers[::2], numbers[1::2], strict=True))
    return Region(names[int(fields[0])], partial(_draw, points), origin)


def _span(names):
    numbers = list(names)
    return f"{numbers[0]} to {numbers[-1]}"


def _read_number(field, origin):
    try:
        number = float(field)
    except ValueError:
        number = math.nan
    if not -_SLACK <= number <= 1 + _SLACK:
        raise UserError(
            f"{origin} has the number {shown(field)}. Expected 0 to 1: x as part of the image's "
            "width, y of its height."
        )
    return number


def _draw(points, size):
    """The pixels of an outline: bool (height, width)."""
    height, width = size
    return fill_polygon([(x * width, y * height) for x, y in points], size)
