"""Label Studio's own JSON export: tasks, each with its image and annotations.

Later regions paint over earlier ones. Turning an image in the editor (`image_rotation`)
changes no coordinates.

Source: labelstud.io/guide/task_format; label-studio, web/libs/editor (Image.js, *Region.jsx).
"""

import re
from collections import Counter
from functools import partial
from pathlib import PurePosixPath

from errors import UserError
from utils.convert.annotations import Item, clean_label, shown
from utils.convert.label_studio_regions import DRAWN, read_region
from utils.convert.regions import FoundImage, boxes_note, labels_of, load_regions
from utils.convert.scan import Scan, Skips
from utils.convert.source import guess_json

_ANNOTATIONS = ("annotations", "completions")  # the second before version 1.0
# What a value holds, by which a region of the tag <Labels> alone is known.
_KEYS = {"rle": "brush", "points": "polygon", "radiusX": "ellipse", "width": "rectangle"}
_UNKNOWN = ("bitmask", "vector")
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")  # what Label Studio puts before a file's name


def is_label_studio(data):
    """Whether the content of a JSON file is a task of Label Studio or a list of them."""
    listed = data if isinstance(data, list) else [data]
    return bool(listed) and _is_task(_as_task(listed[0]))


def _as_task(data):
    """A task; of what is stored in a cloud, one annotation with its task inside, the same."""
    inner = data.get("task") if isinstance(data, dict) and "result" in data else None
    return {**inner, "annotations": [data]} if isinstance(inner, dict) else data


def _is_task(task):
    return (
        isinstance(task, dict)
        and isinstance(task.get("data"), dict)
        and any(isinstance(task.get(key), list) for key in _ANNOTATIONS)
    )


guess_label_studio = guess_json(is_label_studio, "tasks with 'data' and 'annotations'")


def scan_label_studio_files(source, options):
    """Looks through all JSON files; see `utils.convert.scan.Format`."""
    items, counts, skips = [], Counter(), Skips(options.strict)
    for path in source.need(".json"):
        with skips.catching(path):
            data = source.read(path)
            if not is_label_studio(data):
                raise UserError(
                    f"{path} holds no tasks of Label Studio, each with 'data' and "
                    "'annotations'. Export the project as JSON, not as JSON-MIN, or move it away."
                )
            tasks = map(_as_task, data if isinstance(data, list) else [data])
            for number, task in enumerate(tasks, 1):
                key = task.get("id", number) if isinstance(task, dict) else number
                origin = f"{path}, task {shown(key)}"
                with skips.catching(origin):
                    item = _scan_task(path, task, origin, options.finder, counts)
                    items += [item] if item else []
    notes = [
        f"{count} results of the type {kind} were left out: they cover no area."
        for kind, count in counts.items()
        if kind and kind not in DRAWN
    ]
    notes += boxes_note(counts["rectangle"])
    if counts[""]:
        notes.append(f"{counts['']} tasks were left out: nobody has annotated them.")
    labels = set().union(*(item.labels for item in items))
    return Scan(items, sorted(labels), notes, skips.found)


def _scan_task(path, task, origin, finder, counts):
    """An Item, or None for a task without annotations."""
    if not isinstance(task, dict):
        raise UserError(f"{origin} is {shown(task)}. Expected braces.")
    results = _choose_results(task, origin)
    if results is None:
        counts[""] += 1
        return None
    own = Counter()
    kinds = _kinds_of(results, own, origin)
    found = [result for result, kind in zip(results, kinds, strict=True) if kind]
    file_name = _image_name(task, found, origin)
    place = _find(finder, file_name, path, origin)
    place_of, names = f"{origin} ({file_name})", _names_by_region(results)
    size, regions = (None, None), []
    for number, (result, kind) in enumerate(zip(results, kinds, strict=True), 1):
        if kind:
            own_origin = f"{place_of}, result {number}"
            label = _label_of(result, names, own_origin)
            size = _size_of(result, size, own_origin)
            regions.append(read_region(result, kind, label, f"{own_origin} ({label})"))
    counts.update(own)
    counts["rectangle"] += kinds.count("rectangle")
    image = FoundImage(place, file_name, size, place_of)
    load = partial(load_regions, image, regions, ("upright", "stored"))
    return Item(place.stem, place_of, labels_of(regions), load)


def _choose_results(task, origin):
    """The results of the one annotation that counts; None if there is none.

    Raises:
        UserError: if there are several.
    """
    listed = next((task[key] for key in _ANNOTATIONS if task.get(key) is not None), [])
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise UserError(f"{origin} has the annotations {shown(listed)}. Expected a list of them.")
    valid = [one for one in listed if not one.get("was_cancelled") and not one.get("skipped")]
    if len(valid) > 1:
        valid = [one for one in valid if one.get("ground_truth") is True] or valid
    if len(valid) > 1:
        keys = ", ".join(shown(one.get("id")) for one in valid[:5])
        raise UserError(
            f"{origin} has {len(valid)} annotations, {keys}, and a mask shows one. Delete the "
            "others, or mark one as ground truth."
        )
    if not valid:
        return None
    results = valid[0].get("result")
    if not isinstance(results, list):
        raise UserError(f"{origin} has the result {shown(results)}. Expected a list.")
    return results


def _kinds_of(results, counts, origin):
    """What kind of region each result is, a key of `DRAWN`; None for what is no region.

    Args:
        results: list.
        counts: Counter, which gets the types of what is no region.
        origin: str, for messages.
    """
    for result in results:
        if not isinstance(result, dict) or not isinstance(result.get("value"), dict):
            raise UserError(f"{origin} has the result {shown(result)}. Expected a value in braces.")
        if not isinstance(result.get("type"), str):
            kind = shown(result.get("type"))
            raise UserError(f"{origin} has a result of the type {kind}. Expected a text.")
    kinds = [_kind_by_type(result["type"], counts, origin) for result in results]
    drawn = {shown(one.get("id")) for one, kind in zip(results, kinds, strict=True) if kind}
    for number, result in enumerate(results):
        # The tags <Labels> and <Brush> write two results with one id; the first tag alone, one.
        if result["type"] == "labels" and shown(result.get("id")) not in drawn:
            keys = [key for key in _KEYS if key in result["value"]]
            kinds[number] = _KEYS[keys[0]] if keys else None
    return kinds


def _kind_by_type(kind, counts, origin):
    plain = kind.removesuffix("labels")
    if plain in DRAWN:
        return plain
    if plain in _UNKNOWN:
        known = ", ".join(f"{one}labels" for one in DRAWN)
        raise UserError(f"{origin} has a result of the type {kind!r}. Known are {known}.")
    if kind != "labels":
        counts[kind] += 1
    return None


def _names_by_region(results):
    """{id of a region: names} by the results that name a region."""
    return {
        shown(result.get("id")): result["value"]["labels"]
        for result in results
        if result["type"] == "labels" and "labels" in result["value"]
    }


def _label_of(result, names, origin):
    labels = result["value"].get(result["type"]) or names.get(shown(result.get("id")))
    if not isinstance(labels, list) or not labels:
        raise UserError(f"{origin} has no label. Give it one, or delete it.")
    if len(labels) > 1:
        raise UserError(
            f"{origin} has {len(labels)} labels, {shown(labels)}, and a pixel one class. Leave one."
        )
    return clean_label(labels[0], origin)


def _size_of(result, known, origin):
    """(height, width) by a result, which must be that of the results before."""
    size = (result.get("original_height"), result.get("original_width"))
    if not all(side is None or type(side) is int for side in size):
        raise UserError(f"{origin} has the size {shown(size)}. Expected whole numbers.")
    if None not in known and None not in size and size != known:
        raise UserError(
            f"{origin} is of an image of {size[1]}x{size[0]} pixels, those before it of one of "
            f"{known[1]}x{known[0]}. Annotate one image a task."
        )
    return size if None in known else known


def _image_name(task, regions, origin):
    """The value of a task's data that names its image."""
    data = task.get("data")
    if not isinstance(data, dict):
        raise UserError(f"{origin} has the data {shown(data)}. Expected names in braces.")
    targets = {shown(one.get("to_name")) for one in regions}
    if len(targets) > 1:
        raise UserError(f"{origin} has regions of {len(targets)} images. Annotate one a task.")
    sources = {one["source"][1:] for one in regions if isinstance(one.get("source"), str)} & set(
        data
    )
    texts = [key for key, value in data.items() if isinstance(value, str) and value]
    images = [key for key in texts if _has_extension(data[key])]
    for keys in (sources & set(texts), [key for key in texts if key == "image"], images, texts):
        if len(keys) == 1:
            return data[next(iter(keys))]
    raise UserError(f"{origin} has the data {shown(data)}. Expected one text that names its image.")


def _has_extension(text):
    return bool(re.fullmatch(r"\.\w{2,4}", PurePosixPath(text.partition("?")[0]).suffix))


def _find(finder, file_name, path, origin):
    """The image, also under the name that it had before it was uploaded."""
    folders = [path.parent, path.parent / "images", path.parent.parent]
    found = finder.find(file_name, folders) if isinstance(file_name, str) else None
    before = _UPLOADED.sub("", PurePosixPath(str(file_name)).name, count=1)
    found = found or finder.find(before, folders)
    return found or finder.need(file_name, folders, origin)
