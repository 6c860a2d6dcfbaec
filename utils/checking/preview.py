"""A picture of how masks are read: image, mask as it is, mask as it would be."""

import numpy as np
from PIL import Image

from errors import UserError
from utils.checking.content import read_content
from utils.checking.relabel import to_ids
from utils.images.channels import to_array
from utils.images.reading import read_to_show
from utils.plots import before_after_sheet

SHOWN = 8  # masks on a sheet
_LOOKED_AT = 200  # masks among which those that change are looked for


def preview(samples, meaning, path):
    """Draws the first masks that a reading changes; nothing if it changes none.

    Args:
        samples: list of `utils.data.voc.Sample`.
        meaning: `utils.checking.meaning.Meaning` of the set.
        path: PNG file to write.

    Returns:
        bool, whether there was anything to draw.

    Raises:
        OSError: if it can't be written.
    """
    rows = []
    for sample in samples[:_LOOKED_AT]:
        content = read_content(sample.mask_path)
        ids, refusal, _ = to_ids(content, meaning)
        if refusal or (content.values is not None and np.array_equal(content.values, ids)):
            continue
        try:
            rows.append((sample.name, read_to_show(sample.image_path), show_mask(sample), ids))
        except UserError:
            continue
        if len(rows) == SHOWN:
            break
    if rows:
        before_after_sheet(rows, path)
    return bool(rows)


def show_mask(sample):
    """A mask file as a viewer shows it: uint8 (H, W, 3) RGB."""
    with Image.open(sample.mask_path) as image:
        return to_array(image) if image.mode != "1" else np.array(image.convert("RGB"))
