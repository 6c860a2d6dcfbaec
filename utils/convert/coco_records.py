"""What COCO's instance and panoptic files share: images, categories and the ids between them.

Source: cocodataset.org/#format-data; Datumaro, which writes CVAT's files
(coco_format/converter.py); label-studio-converter (converter.py).
"""

from typing import NamedTuple

from errors import UserError
from utils.convert.annotations import clean_label, shown
from utils.convert.regions import FoundImage
from utils.convert.scan import Scan

CROWDS = ("auto", "void", "class")


class CocoFile(NamedTuple):
    """What a COCO file holds.

    Attributes:
        categories: {name: id}, of those that are classes.
        items: list of Item, one per image.
        crowds: (regions with iscrowd=1 that become void, those that become their class).
    """

    categories: dict
    items: list
    crowds: tuple


def join_files(files, skips, crowd, notes=()):
    """Several files, such as Roboflow's for training and validation, as one Scan.

    Args:
        files: list of CocoFile.
        skips: Skips.
        crowd: str, the setting.
        notes: of the files.
    """
    ids = {}
    for file in files:
        for name, key in file.categories.items():
            ids.setdefault(name, key)
    labels = sorted(ids, key=lambda name: (isinstance(ids[name], str), ids[name], name))
    voids, others = (sum(file.crowds[index] for file in files) for index in (0, 1))
    counts = [
        f"{count} regions with iscrowd=1 became {meaning} (crowd={crowd!r})."
        for count, meaning in ((voids, "void"), (others, "their class"))
        if count
    ]
    items = [item for file in files for item in file.items]
    return Scan(items, labels, [*counts, *notes], skips.found)


def index_records(records, origin):
    """{id: record}; raises UserError for a record without an id, or with another's."""
    found = {}
    for number, record in enumerate(records, 1):
        key = record.get("id") if isinstance(record, dict) else None
        if isinstance(key, bool) or not isinstance(key, (int, str)):
            raise UserError(f"{origin}: entry {number} has no id. Export the file again.")
        if key in found:
            raise UserError(f"{origin}: the id {key!r} stands twice. Export the file again.")
        found[key] = record
    return found


def read_categories(data, path):
    """{id: name} in the order of the ids."""
    origin = f"{path}, categories"
    records = index_records(data["categories"], origin)
    names = {key: clean_label(one.get("name"), origin) for key, one in records.items()}
    return dict(sorted(names.items(), key=lambda item: (isinstance(item[0], str), item[0])))


def look_up(records, annotation, field, origin):
    """What an annotation's `image_id` or `category_id` stands for.

    Raises:
        UserError: if it has none, or one that the file does not list.
    """
    key = annotation.get(field)
    if key is None:
        raise UserError(f"{origin} has no {field}. Export the file again, or delete it.")
    if isinstance(key, (bool, list, dict)) or key not in records:
        other = _similar_id(records, key)
        but = (
            f", {_kind(key)}, but the file lists {shown(other)}, {_kind(other)}. Write both alike."
            if other is not None
            else ", which the file does not list. Export it again, or delete what has this id."
        )
        raise UserError(f"{origin} has the {field} {shown(key)}{but}")
    return records[key]


def _image_key(annotation, images, origin):
    """The id of the image that an annotation belongs to, even if it is not written alike.

    Returns:
        one of the keys of `images`, or None: it belongs to none of them.

    Raises:
        UserError: if it may belong to any of them.
    """
    if not isinstance(annotation, dict):
        raise UserError(f"{origin} is {shown(annotation)}. Expected braces.")
    key = annotation.get("image_id")
    if isinstance(key, bool) or not isinstance(key, (int, float, str)):
        look_up(images, annotation, "image_id", origin)
    return key if key in images else _similar_id(images, key)


def _similar_id(records, key):
    """The id that reads the same, "1" for 1 or 1 for "1"; or None."""
    other = None
    if isinstance(key, str) and key.strip().isdecimal() and len(key) < 20:
        other = int(key)
    elif isinstance(key, int) and not isinstance(key, bool):
        other = str(key)
    return other if other in records else None


def _kind(key):
    return "a text" if isinstance(key, str) else "a number"


def read_annotations(path, data, images, skips, read):
    """Reads a file's annotations, those of each image apart.

    Args:
        path: Path of the JSON file.
        data: its content.
        images: {id: record}.
        skips: Skips, which gets the annotations of no image, as one.
        read: function(annotation, record of its image, origin) -> anything.

    Returns:
        ({image id: list of what `read` gives}, {image id: UserError} of the images that have
        an annotation it refuses).

    Raises:
        UserError: for an annotation that may belong to any image.
    """
    found, broken, orphans = {key: [] for key in images}, {}, []
    for number, annotation in enumerate(data["annotations"], 1):
        origin = f"{path}, annotation {number}"
        key = _image_key(annotation, images, origin)
        try:
            image = look_up(images, annotation, "image_id", origin)
            found[key].append(read(annotation, image, origin))
        except UserError as error:
            if key is None:
                orphans.append((origin, error))
            else:
                broken.setdefault(key, error)
    if orphans:
        origin, error = orphans[0]
        more = f" So do {len(orphans) - 1} more annotations." if len(orphans) > 1 else ""
        skips.add(origin, f"{error}{more}")
    return found, broken


def count_crowds(regions):
    """(regions with iscrowd=1 that become void, those that become their class)."""
    voids = sum(region.is_crowd and region.is_void for region in regions)
    return voids, sum(region.is_crowd for region in regions) - voids


def used_categories(names, used, data):
    """{name: id} of the categories that are classes: not a parent of others that nothing has."""
    return {
        name: key for key, name in names.items() if name in used or not _is_parent(key, name, data)
    }


def _is_parent(key, name, data):
    """Whether a category stands for the others together, as Roboflow's category 0 does."""
    return key == 0 and any(
        one.get("supercategory") == name and one.get("name") != name for one in data["categories"]
    )


def find_images(path, images, finder, skips):
    """Finds the images of a file's list; those that are missing are left out.

    Args:
        path: Path of the JSON file.
        images: {id: record}.
        finder: ImageFinder.
        skips: Skips.

    Returns:
        {id: FoundImage}.

    Raises:
        UserError: if there is none of them.
    """
    # CVAT: annotations/instances_train.json beside images/train/.
    images_dir = path.parent.parent / "images"
    folders = [path.parent, path.parent / "images", path.parent.parent]
    folders += [images_dir, images_dir / path.stem.partition("_")[2]]
    found, missing = {}, []
    for key, image in images.items():
        file_name = image.get("file_name")
        if not isinstance(file_name, str) or not file_name:
            skips.add(path, f"{path}: the image with id {key!r} has no file_name. Add it.")
            continue
        place = finder.find(file_name, folders)
        if place is None:
            missing.append(file_name)
            continue
        size = (image.get("height"), image.get("width"))
        found[key] = FoundImage(place, file_name, size, f"{file_name} in {path}")
    places = finder.image_dir or ", ".join(map(str, folders))
    if missing and (skips.strict or not found):
        raise UserError(
            f"{path} names {len(missing)} images that are not there: {', '.join(missing[:5])}"
            f"{', ...' if len(missing) > 5 else ''}. Looked in {places}. Put them there, or set "
            "image_dir."
        )
    for file_name in missing:
        skips.add(file_name, f"{path} names {file_name}, which is not in {places}.")
    return found
