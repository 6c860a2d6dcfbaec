"""Single images of DICOM files, by the pydicom package where it is installed.

Their numbers are those of the device's units, such as Hounsfield: stored ones times the rescale
slope plus its intercept. The window of a viewer is not applied, since it differs from file to file;
the set's range is, as of any images of more than 8 bits (`utils.images.scaling`).
"""

import warnings
from contextlib import contextmanager
from textwrap import shorten

import numpy as np

from errors import UserError
from utils.images.channels import check_pixels
from utils.images.numbers import Numbers

_GREY, _COLOR = ("MONOCHROME1", "MONOCHROME2"), ("RGB", "YBR", "PALETTE")


def read_dicom_header(path):
    """((height, width), channels, whether it has more than 8 bits, whether 0 is white) of a file.

    Raises:
        UserError: if it is broken, or holds no single image.
    """
    with _opened(path, stop_before_pixels=True) as data:
        is_grey = data.PhotometricInterpretation in _GREY
        plain = data.BitsAllocated <= 8 and _rescale(data) == (1, 0)
        size = int(data.Rows), int(data.Columns)
        return size, 1 if is_grey else 3, is_grey and not plain, _is_inverted(data)


def read_dicom(path, max_pixels):
    """Reads a file's image as `utils.images.numbers.Numbers`, rescaled.

    Raises:
        UserError: if it is broken or has too many pixels, or is compressed in a way that needs
            another package.
    """
    with _opened(path) as data:
        check_pixels(data.Columns, data.Rows, path, max_pixels)
        values = data.pixel_array  # colours of print and television come as RGB
        if data.PhotometricInterpretation.startswith("PALETTE"):
            from pydicom.pixels import apply_color_lut

            values = apply_color_lut(values, data)
            values = (values >> 8).astype(np.uint8) if values.dtype == np.uint16 else values
        slope, intercept = _rescale(data)
        if (slope, intercept) != (1, 0):
            whole = float(slope).is_integer() and float(intercept).is_integer()
            values = (values * slope + intercept).astype(np.int32 if whole else np.float32)
        values = values.reshape(*values.shape[:2], -1)
        return Numbers(values, values.shape[2], _is_inverted(data))


def _is_inverted(data):
    return data.PhotometricInterpretation == "MONOCHROME1"


def _rescale(data):
    return float(data.get("RescaleSlope", 1) or 1), float(data.get("RescaleIntercept", 0) or 0)


@contextmanager
def _opened(path, **options):
    """A pydicom.Dataset of one image; whatever a broken file leads to is a UserError."""
    import pydicom

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd values in fields that nobody asks for
            data = pydicom.dcmread(path, **options)
            if "Rows" not in data:
                raise ValueError("it holds no image.")
            frames = int(data.get("NumberOfFrames", 1) or 1)
            if frames > 1:
                raise ValueError(f"it holds {frames} images. Write each to a file of its own.")
            if not data.PhotometricInterpretation.startswith(_GREY + _COLOR):
                raise ValueError(f"its colours are {data.PhotometricInterpretation}.")
            yield data
    except UserError:
        raise
    except Exception as error:
        reason = shorten(str(error) or type(error).__name__, 300)
        raise UserError(f"The image {path} can't be read: {reason}") from error
