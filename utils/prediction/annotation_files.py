"""What labelme, COCO and CVAT files say, of the masks of images.

Class names are given without the background: `names[0]` is class 1. COCO and CVAT files hold
many images and are written one after the other, so that none but the last is in memory.

Source: labelme, label_file.py of v5; cocodataset.org/#format-data; docs.cvat.ai, CVAT for
images 1.1, and cvat/apps/dataset_manager/formats/cvat.py.
"""

import base64
import io
import json
import re
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from PIL import Image

from errors import UserError
from utils.labels import voc_palette
from utils.prediction.labelme_shapes import find_labelme_shapes
from utils.prediction.shapes import find_shapes

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def labelme_content(image_path, mask, names, tolerance):
    """What a labelme file of version 5 holds, ready for JSON.

    Args:
        image_path: str, the image as seen from the file's folder.
        mask: uint8 (H, W), class ids.
        names: sequence of str.
        tolerance: float, pixels by which outlines may be simplified.
    """
    labels = ("_background_", *names)
    shapes = [
        _labelme_shape(labels[value], outline)
        for value, outline in find_labelme_shapes(mask, tolerance)
    ]
    return {
        "version": "5.11.4",
        "flags": {},
        "shapes": shapes,
        "imagePath": image_path,
        "imageData": None,
        "imageHeight": mask.shape[0],
        "imageWidth": mask.shape[1],
    }


def _labelme_shape(label, outline):
    shape = {"label": label, "group_id": None, "description": "", "flags": {}}
    if isinstance(outline, np.ndarray):
        return shape | {"shape_type": "polygon", "points": outline.tolist(), "mask": None}
    left, top, crop = outline
    height, width = crop.shape
    buffer = io.BytesIO()
    Image.fromarray(crop.astype(np.uint8)).save(buffer, "PNG")
    return shape | {
        "shape_type": "mask",
        "points": [[left, top], [left + width - 1, top + height - 1]],  # the last is inside
        "mask": base64.b64encode(buffer.getvalue()).decode(),
    }


class CocoFile:
    """A COCO file of instances, as it is written.

    Args:
        file: text file, open for writing.
        names: sequence of str.
        tolerance: float, pixels by which outlines may be simplified.
    """

    def __init__(self, file, names, tolerance):
        self._file, self._tolerance = file, tolerance
        self._images, self._count = [], 0
        categories = [
            {"id": value, "name": name, "supercategory": ""} for value, name in enumerate(names, 1)
        ]
        file.write(f'{{"categories": {json.dumps(categories)},\n"annotations": [')

    def add(self, name, mask):
        """Writes the regions of an image: its name, and uint8 (H, W) class ids."""
        height, width = mask.shape
        number = len(self._images) + 1
        self._images.append({"id": number, "file_name": name, "height": height, "width": width})
        for shape in find_shapes(mask, self._tolerance):
            self._count += 1
            annotation = {
                "id": self._count,
                "image_id": number,
                "category_id": shape.class_id,
                "segmentation": _coco_outline(shape, mask.shape),
                "area": shape.area,
                "bbox": [shape.left, shape.top, shape.width, shape.height],
                "iscrowd": 0,  # 1 would mean a crowd, which is void to many readers
            }
            self._file.write(f"{',' if self._count > 1 else ''}\n{json.dumps(annotation)}")

    def finish(self):
        """Writes the end."""
        self._file.write(f'\n],\n"images": {json.dumps(self._images)}}}\n')


def _coco_outline(shape, size):
    if shape.crop is None:
        return [shape.points.ravel().tolist()]
    inside = np.zeros(size, bool)
    inside[shape.top : shape.top + shape.height, shape.left : shape.left + shape.width] = shape.crop
    return {"size": list(size), "counts": run_lengths(inside.T)}


def run_lengths(inside):
    """The lengths of runs of bool (H, W), row by row: False and True in turn, False first."""
    flat = inside.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff([0, *changes.tolist(), flat.size]).tolist()
    return [0, *runs] if flat[0] else runs


class CvatFile:
    """A file of "CVAT for images 1.1", as it is written; arguments as of `CocoFile`."""

    def __init__(self, file, names, tolerance):
        self._file, self._names, self._tolerance = file, names, tolerance
        self._count = 0
        colors = voc_palette(len(names) + 1)[1:]
        labels = "".join(
            f"<label><name>{escape(name)}</name><color>#{bytes(color).hex()}</color>"
            "<attributes></attributes></label>\n"
            for name, color in zip(names, colors, strict=True)
        )
        file.write(
            '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
            f"<meta><task><labels>\n{labels}</labels></task></meta>\n"
        )

    def add(self, name, mask):
        """Writes the regions of an image: its name, and uint8 (H, W) class ids."""
        height, width = mask.shape
        self._file.write(
            f'<image id="{self._count}" name={quoteattr(name)} width="{width}" height="{height}">\n'
        )
        self._count += 1
        for shape in find_shapes(mask, self._tolerance):
            kind, outline = _cvat_outline(shape)
            self._file.write(
                f"<{kind} label={quoteattr(self._names[shape.class_id - 1])} "
                f'source="auto" occluded="0" {outline} z_order="0"></{kind}>\n'
            )
        self._file.write("</image>\n")

    def finish(self):
        """Writes the end."""
        self._file.write("</annotations>\n")


def _cvat_outline(shape):
    """(element, its attributes) of a shape."""
    if shape.crop is None:
        return "polygon", 'points="{}"'.format(";".join(f"{x},{y}" for x, y in shape.points))
    runs = ", ".join(map(str, run_lengths(shape.crop)))
    place = ((name, getattr(shape, name)) for name in ("left", "top", "width", "height"))
    return "mask", " ".join([f'rle="{runs}"', *(f'{name}="{value}"' for name, value in place)])


def check_xml_name(name, what):
    """Raises UserError if XML can't hold a name."""
    found = _NOT_XML.search(name)
    if found:
        raise UserError(
            f"{what} {name!r} has the character {found.group()!r}, which XML files can't hold. "
            "Rename it, or set annotations to coco or labelme."
        )
