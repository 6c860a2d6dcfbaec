"""labelme's JSON files, versions 3 to 5, and those of programs that write the same.

Source: labelme, label_file.py of v3.16.7, v4.5.6 and v5.11.4.
"""

from functools import partial

from tqdm import tqdm

from errors import UserError
from utils.convert.annotated_images import read_annotated_image
from utils.convert.annotations import Item, read_json, shown
from utils.convert.encoded import decode_base64
from utils.convert.labelme_shapes import paint_shapes, read_shapes
from utils.convert.scan import Scan, Skips
from utils.convert.source import guess_json


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
            f"{path} belongs to the image {shown(file_name)}, which is not in "
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
        source = decode_base64(data["imageData"], f"imageData of {path}")
        image = read_annotated_image(source, declared, ("stored", "upright"), str(path))
    return image, paint_shapes(shapes, image.size, classes)
