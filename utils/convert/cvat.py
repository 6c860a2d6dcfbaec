"""CVAT's "CVAT for images 1.1": an XML file beside the images.

Shapes of a higher z_order paint over those of a lower one, later ones over earlier ones, and
boxes are filled, as in CVAT's own export of masks.

Source: docs.cvat.ai, XML annotation format 1.1.
"""

from collections import Counter
from functools import partial
from xml.etree import ElementTree

from errors import UserError
from utils.convert.annotations import Item, clean_label, shown
from utils.convert.cvat_shapes import DRAWN, read_shape
from utils.convert.regions import FoundImage, boxes_note, labels_of, load_regions
from utils.convert.scan import Scan, Skips

_HEAD = 4096  # bytes in which the name of the root stands
_NO_AREA = ("polyline", "points", "cuboid", "skeleton", "tag")


def guess_cvat(source):
    """See `utils.convert.scan.Format`."""
    for path in source.having(".xml"):
        with open(path, "rb") as file:
            head = file.read(_HEAD).replace(b"\0", b"")  # of UTF-16
        if b"<annotations" in head:
            return f"<annotations> in {source.show(path)}"
    return None


def scan_cvat_files(source, options):
    """Looks through all XML files; see `utils.convert.scan.Format`."""
    items, labels, counts, skips = [], {}, Counter(), Skips(options.strict)
    for path in source.need(".xml"):
        with skips.catching(path):
            root = read_xml(path)
            labels |= dict.fromkeys(_listed_labels(root, path))
            items += _scan_file(path, root, options.finder, skips, counts)
    used = set().union(*(item.labels for item in items))
    labels |= dict.fromkeys(sorted(used))
    notes = [
        f"{count} {kind} elements were left out: they cover no area."
        for kind, count in counts.items()
        if kind in _NO_AREA
    ]
    return Scan(items, list(labels), notes + boxes_note(counts["box"]), skips.found)


def read_xml(path):
    """The root element of an XML file of CVAT for images.

    Raises:
        UserError: for anything else.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ValueError, LookupError, ElementTree.ParseError) as error:
        raise UserError(f"{path} can't be read as XML: {error}. Export it again.") from error
    if root.tag != "annotations":
        raise UserError(
            f"{path} is not CVAT's: its root is <{shown(root.tag)[1:-1]}>, not <annotations>. Move "
            "it away."
        )
    if root.find("track") is not None:
        raise UserError(
            f"{path} has <track> elements: it is 'CVAT for video'. Export the task as 'CVAT for "
            "images 1.1'."
        )
    return root


def _listed_labels(root, path):
    """The labels that the file declares and that can cover an area, in its order."""
    for label in root.iterfind("meta//labels/label"):
        if label.findtext("type") not in _NO_AREA and label.find("parent") is None:
            yield clean_label(label.findtext("name"), f"{path}, labels")


def _scan_file(path, root, finder, skips, counts):
    items = []
    for number, image in enumerate(root.iterfind("image"), 1):
        name = image.get("name")
        origin = f"{name if name else f'image {number}'} in {path}"
        with skips.catching(origin):
            own = Counter()
            regions = _read_regions(image, origin, own)
            size = tuple(_read_side(image, side, origin) for side in ("height", "width"))
            place = finder.need(name, _folders(path, image.get("subset")), origin)
            found = FoundImage(place, name, size, origin)
            load = partial(load_regions, found, regions, ("upright", "stored"))
            items.append(Item(place.stem, origin, labels_of(regions), load))
            counts.update(own)
    return items


def _folders(path, subset):
    images = path.parent / "images"
    folders = [path.parent, images, path.parent.parent, path.parent.parent / "images"]
    return [images / subset, *folders] if subset else folders


def _read_side(image, side, origin):
    text = image.get(side)
    if text is None:
        return None
    if not text.isdecimal():
        raise UserError(f"{origin} has the {side} {shown(text)}. Expected a number of pixels.")
    return int(text[:20])


def _read_regions(image, origin, counts):
    """The shapes of an <image> as list of Region, the undermost first.

    Args:
        image: Element.
        origin: str.
        counts: Counter, which gets the boxes and what has no area.
    """
    layers = []
    for number, shape in enumerate(image, 1):
        if shape.tag in _NO_AREA or shape.tag == "box":
            counts[shape.tag] += 1
        if shape.tag in _NO_AREA:
            continue
        place = f"{origin}, shape {number}"
        if shape.tag not in DRAWN:
            known = ", ".join(DRAWN)
            raise UserError(f"{place} is a <{shape.tag}>. Known are {known}. Delete it.")
        layer = shape.get("z_order", "0")
        if not layer.removeprefix("-").isdecimal():
            raise UserError(f"{place} has the z_order {shown(layer)}. Expected a whole number.")
        label = clean_label(shape.get("label"), place)
        layers.append((int(layer[:20]), read_shape(shape, label, f"{place} ({label})")))
    return [region for _, region in sorted(layers, key=lambda one: one[0])]
