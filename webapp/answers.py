"""What clients get for an image: PNG files and JSON, as bytes."""

import io
import json
import math

from PIL import Image

from utils.data.masks import mask_to_image
from utils.images.channels import to_rgb
from utils.prediction.draw import draw_mask, pixels_of_values
from utils.prediction.outputs import read_intensities
from utils.prediction.regions import find_regions
from utils.prediction.result import Prediction

MEDIA_TYPES = {"mask": "image/png", "overlay": "image/png", "json": "application/json"}


def make_answer(asked, unet, path, pixels, mask):
    """The answer to a request.

    Args:
        asked: with the attributes `format`, a key of MEDIA_TYPES, `mix_type` and `polygons`.
        unet: `unet.Unet`.
        path: Path of the image's file.
        pixels: uint8 (H, W, in_channels).
        mask: uint8 (H, W), class ids.

    Returns:
        bytes.
    """
    if asked.format == "mask":
        return _png(mask_to_image(mask))
    if asked.format == "overlay":
        drawn = draw_mask(to_rgb(pixels), mask, unet.colors, asked.mix_type)
        return _png(Image.fromarray(drawn), compress_level=1)  # half the time, a bit larger
    found = _describe(unet, path, pixels, mask)
    if asked.polygons:
        found["polygons"] = _list_polygons(unet, pixels, mask)
    return json.dumps(found, ensure_ascii=False, allow_nan=False).encode()


def _png(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def _describe(unet, path, pixels, mask):
    """Size, classes and regions, ready for JSON."""
    names = unet.description.name_classes
    counts = pixels_of_values(mask, minlength=len(names)).tolist()
    image = read_intensities(path, pixels, unet.max_pixels)
    regions = [one for one in find_regions(mask, len(names), image) if one.class_id]
    return {
        "width": mask.shape[1],
        "height": mask.shape[0],
        "classes": [
            {"class_id": index, "class": name, "pixels": count, "share": count / mask.size}
            for index, (name, count) in enumerate(zip(names, counts, strict=True))
        ],
        "regions": [_region(one, names, label) for label, one in enumerate(regions, 1)],
    }


def _region(region, names, label):
    """A Region with its class's name and the label that it has in the table of regions."""
    values = region._asdict()
    if not math.isfinite(region.intensity):  # which JSON has no word for
        values["intensity"] = None
    return {"class": names[region.class_id], "label": label} | values


def _list_polygons(unet, pixels, mask):
    names = unet.description.name_classes
    found = Prediction(pixels, mask, names, visit=lambda each: None)  # its probabilities are gone
    return [
        {
            "class_id": one.class_id,
            "class": one.name,
            "outer": one.outer.tolist(),
            "holes": [hole.tolist() for hole in one.holes],
        }
        for one in found.polygons()
    ]
