"""Supervisely's projects: meta.json, and datasets with the folders ann/ and img/.

Later objects paint over earlier ones.

Source: docs.supervisely.com, Supervisely annotation format; supervisely, geometry/*.py.
"""

from collections import Counter
from functools import partial

from errors import UserError
from utils.convert.annotations import Item, clean_label, read_json, shown
from utils.convert.regions import FoundImage, boxes_note, labels_of, load_regions
from utils.convert.scan import Scan, Skips
from utils.convert.source import guess_json
from utils.convert.supervisely_shapes import DRAWN, read_object

_META = "meta.json"
_NO_AREA = ("line", "polyline", "point", "graph", "cuboid", "cuboid_2d", "oriented_bbox_line")


def is_supervisely(data):
    """Whether the content of a JSON file is Supervisely's, of an image."""
    return (
        isinstance(data, dict)
        and isinstance(data.get("objects"), list)
        and isinstance(data.get("size"), dict)
    )


guess_supervisely = guess_json(is_supervisely, "'objects' and 'size'")


def scan_supervisely_files(source, options):
    """Looks through the JSON files of ann/; see `utils.convert.scan.Format`."""
    items, counts, skips = [], Counter(), Skips(options.strict)
    labels = dict.fromkeys(_meta_labels(source))
    files = [path for path in source.need(".json") if path.name != _META]
    # Exports have other JSON files beside these folders.
    in_folders = [path for path in files if path.parent.name == "ann"]
    for path in in_folders or files:
        with skips.catching(path):
            items.append(_scan_file(path, source.read(path), options.finder, counts))
    used = set().union(*(item.labels for item in items))
    labels |= dict.fromkeys(sorted(used))
    notes = [
        f"{count} objects of the type {kind} were left out: they cover no area."
        for kind, count in counts.items()
        if kind in _NO_AREA
    ]
    notes += boxes_note(counts["rectangle"])
    return Scan(items, list(labels), notes, skips.found)


def _meta_labels(source):
    """The names of the classes that can cover an area, in the order of the project."""
    above = [source.folder, *source.folder.resolve().parents[:2]]
    listed = [path for path in source.files if path.name == _META]
    found = listed + [folder / _META for folder in above if (folder / _META).is_file()]
    if not found:
        return []
    data = read_json(found[0])
    classes = data.get("classes") if isinstance(data, dict) else None
    if not isinstance(classes, list) or not all(isinstance(one, dict) for one in classes):
        raise UserError(
            f"{found[0]} has the classes {shown(classes)}. Expected a list of them. Export the "
            "project again, or move the file away."
        )
    covering = [one for one in classes if one.get("shape") not in _NO_AREA]
    return [clean_label(one.get("title"), f"{found[0]}, classes") for one in covering]


def _scan_file(path, data, finder, counts):
    if not is_supervisely(data):
        raise UserError(
            f"{path} is not Supervisely's: it lacks the list 'objects' or the 'size' in braces. "
            "Move it away."
        )
    regions, own = [], Counter()
    for number, one in enumerate(data["objects"], 1):
        origin = f"{path}, object {number}"
        if not isinstance(one, dict):
            raise UserError(f"{origin} is {shown(one)}. Expected braces.")
        kind = one.get("geometryType") or one.get("shape")
        if not isinstance(kind, str) or kind not in (*DRAWN, *_NO_AREA):
            raise UserError(
                f"{origin} has the geometryType {shown(kind)}. Known are {', '.join(DRAWN)}. "
                "Convert it in Supervisely, or delete it."
            )
        own[kind] += 1
        if kind in _NO_AREA:
            continue
        label = clean_label(one.get("classTitle"), origin)
        regions.append(read_object(one, kind, label, f"{origin} ({label})"))
    size = (data["size"].get("height"), data["size"].get("width"))
    folders = [path.parent.parent / "img", path.parent]
    place = finder.need(_image_name(path), folders, str(path))
    counts.update(own)
    image = FoundImage(place, place.name, size, str(path))
    load = partial(load_regions, image, regions, ("upright", "stored"))
    return Item(place.stem, str(path), labels_of(regions), load)


def _image_name(path):
    """a.jpg of a.jpg.json."""
    return path.name[: -len(path.suffix)]
