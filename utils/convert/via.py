"""The VGG Image Annotator's JSON, versions 1 and 2: projects, or exported annotations.

The class of a region is one of its attributes. Later regions paint over earlier ones.

Source: robots.ox.ac.uk/~vgg/software/via (via.js of version 2).
"""

from collections import Counter
from functools import partial

from errors import UserError
from utils.convert.annotations import Item, clean_label, shown
from utils.convert.regions import FoundImage, boxes_note, labels_of, load_regions
from utils.convert.scan import Scan, Skips
from utils.convert.source import guess_json
from utils.convert.via_shapes import read_shape

_IMAGES = "_via_img_metadata"  # of projects; exports are what is behind it


def is_via(data):
    """Whether the content of a JSON file is a project or the annotations of VIA."""
    if not isinstance(data, dict):
        return False
    images = data.get(_IMAGES, data)
    first = next(iter(images.values()), None) if isinstance(images, dict) else None
    is_image = isinstance(first, dict) and "filename" in first and "regions" in first
    return is_image or (_IMAGES in data and images == {})


guess_via = guess_json(is_via, "'filename' and 'regions'")


def scan_via_files(source, options):
    """Looks through all JSON files; see `utils.convert.scan.Format`."""
    files, skips = {}, Skips(options.strict)
    for path in source.need(".json"):
        with skips.catching(path):
            data = source.read(path)
            if not is_via(data):
                raise UserError(f"{path} is not VIA's: it has no 'regions' of images. Move it.")
            files[path] = data
    attribute = options.class_attribute or _only_attribute(files)
    items, counts, labels = [], Counter(), {}
    for path, data in files.items():
        labels |= dict.fromkeys(_listed_labels(path, data, attribute))
        for number, image in enumerate(data.get(_IMAGES, data).values(), 1):
            name = image.get("filename") if isinstance(image, dict) else None
            origin = f"{name if isinstance(name, str) else f'image {number}'} in {path}"
            with skips.catching(origin):
                items.append(_scan_image(path, image, attribute, origin, options.finder, counts))
    used = set().union(*(item.labels for item in items))
    labels |= dict.fromkeys(sorted(used))
    empty, boxes = counts.pop("", 0), counts.pop("rect", 0)
    notes = [
        f"{count} regions of the shape {kind} were left out: they cover no area."
        for kind, count in counts.items()
    ]
    notes += boxes_note(boxes)
    if empty:
        notes.append(f"{empty} images without regions became background only.")
    return Scan(items, list(labels), notes, skips.found)


def _only_attribute(files):
    """The attribute that regions have, if it is one.

    Raises:
        UserError: if they have several, or none.
    """
    found = {}
    for data in files.values():
        for image in data.get(_IMAGES, data).values():
            regions = image.get("regions") if isinstance(image, dict) else None
            for region in _as_list(regions) or []:
                given = region.get("region_attributes") if isinstance(region, dict) else None
                for name, value in given.items() if isinstance(given, dict) else ():
                    found.setdefault(name, value)
    if len(found) > 1:
        examples = ", ".join(f"{name} (such as {shown(value)})" for name, value in found.items())
        raise UserError(
            f"Regions have {len(found)} attributes: {examples}. Set class_attribute to the one "
            "that names their class."
        )
    return next(iter(found), None)


def _as_list(regions):
    """VIA 1 numbers regions in an object, VIA 2 lists them; None for anything else."""
    regions = list(regions.values()) if isinstance(regions, dict) else regions
    return regions if isinstance(regions, list) else None


def _listed_labels(path, data, attribute):
    """The options that a project gives an attribute, in their order."""
    place = data
    for key in ("_via_attributes", "region", attribute, "options"):
        place = place.get(key) if isinstance(place, dict) else None
    names = place if isinstance(place, dict) else {}
    return [clean_label(name, f"{path}, options") for name in names if name]


def _scan_image(path, image, attribute, origin, finder, counts):
    if not isinstance(image, dict):
        raise UserError(f"{origin} is {shown(image)}. Expected filename and regions in braces.")
    listed = _as_list(image.get("regions"))
    if listed is None:
        raise UserError(
            f"{origin} has the regions {shown(image.get('regions'))}. Expected a list of them."
        )
    regions, own = [], Counter()
    for number, one in enumerate(listed, 1):
        place = f"{origin}, region {number}"
        shape = one.get("shape_attributes") if isinstance(one, dict) else None
        if not isinstance(shape, dict):
            raise UserError(f"{place} is {shown(one)}. Expected shape_attributes in braces.")
        region = read_shape(shape, partial(_label_of, one, attribute), place)
        if region is None or shape["name"] == "rect":
            own[shape["name"]] += 1
        if region is not None:
            regions.append(region)
    folders = [path.parent, path.parent / "images"]
    place = finder.need(image.get("filename"), folders, origin)
    counts.update(own)
    counts[""] += not listed
    # The files don't say how large images are; browsers show them upright.
    found = FoundImage(place, image["filename"], (None, None), origin)
    load = partial(load_regions, found, regions, ("upright",))
    return Item(place.stem, origin, labels_of(regions), load)


def _label_of(region, attribute, origin):
    """The class of a region."""
    given = region.get("region_attributes")
    value = given.get(attribute) if isinstance(given, dict) else None
    if isinstance(value, dict):  # of checkboxes
        value = [name for name, checked in value.items() if checked is True]
        if len(value) > 1:
            raise UserError(
                f"{origin} has {len(value)} values, {shown(value)}, for {attribute}, and a pixel "
                "one class. Leave one."
            )
        value = value[0] if value else None
    if value is None or value == "":
        raise UserError(
            f"{origin} has no {attribute or 'attribute'}, which would be its class. Give it one."
        )
    return clean_label(value, origin)
