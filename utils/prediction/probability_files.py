"""Probabilities as files: an archive of NumPy, or a TIFF with a page for each class."""

import numpy as np

from utils.files import whole_file

DTYPES = {"npz": "float16", "tif": "float32"}  # {kind of file: numbers in it}


def write_probabilities(path, probabilities, names):
    """Writes the probabilities of an image, whole or not at all.

    .npz: `probabilities`, (H, W, num_classes) as they are given, and `name_classes`, text
    (num_classes,); compressed. .tif: a page (H, W) of float32 for each class, named, as ImageJ
    stores channels, which napari and QuPath open too; not compressed.

    Args:
        path: Path; its extension decides.
        probabilities: float (H, W, num_classes).
        names: one name per class.

    Raises:
        OSError: if it can't be written.
    """
    with whole_file(path) as temporary:
        if path.suffix == ".npz":
            with open(temporary, "wb") as file:  # of a path, NumPy would change the extension
                np.savez_compressed(file, probabilities=probabilities, name_classes=np.array(names))
        else:
            _write_pages(temporary, probabilities, names)


def _write_pages(path, probabilities, names):
    import tifffile  # a fifth of a second

    height, width, classes = probabilities.shape
    tifffile.imwrite(
        path,
        (np.ascontiguousarray(probabilities[..., index]) for index in range(classes)),
        shape=(classes, height, width),
        dtype=np.float32,
        imagej=True,
        metadata={"axes": "CYX", "Labels": list(names), "mode": "grayscale", "min": 0, "max": 1},
    )
