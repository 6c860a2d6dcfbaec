"""A picture in, a mask of the picture's own size out: the one path from one to the other."""

import cv2
import numpy as np

from utils.image import letterbox_image, normalize


def predict_mask(model, image, input_shape):
    """Segments a picture.

    Letterboxes it, runs the network, cuts off the padding, resizes the probabilities to
    the picture's size (bilinear) and takes the most probable class of each pixel.

    Args:
        model: callable from float32 (1, height, width, 3) to probabilities as a NumPy
            array (1, height, width, num_classes), e.g. `keras.Model.predict_on_batch`.
        image: uint8 (H, W, 3) RGB.
        input_shape: (height, width) of the network.

    Returns:
        uint8 (H, W), class ids.
    """
    canvas, box = letterbox_image(image, input_shape)
    probabilities = model(normalize(canvas)[None])[0][box.slices]
    return most_probable(probabilities, image.shape[:2])


def most_probable(probabilities, size, strip=2**22):
    """Resizes probabilities (h, w, C) and takes the class of each pixel, in strips of rows.

    Strips keep the memory near `strip` floats, however large the picture and C are.

    Returns:
        uint8 of the given size, (height, width).
    """
    if probabilities.shape[:2] == tuple(size):
        return probabilities.argmax(axis=-1).astype(np.uint8)
    height, width = size
    mask = np.empty(size, np.uint8)
    rows = max(strip // (width * probabilities.shape[2]), 1)
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        resized = _resize_rows(probabilities, height, width, start, stop)
        mask[start:stop] = resized.argmax(axis=-1)
    return mask


def _resize_rows(probabilities, height, width, start, stop):
    """Rows start..stop of the bilinear resize to (height, width).

    Rows are interpolated by hand, between pixel centres as OpenCV does; columns by OpenCV.
    """
    source = (np.arange(start, stop) + 0.5) * (probabilities.shape[0] / height) - 0.5
    source = np.clip(source, 0, probabilities.shape[0] - 1)
    low = np.floor(source).astype(int)
    high = np.minimum(low + 1, probabilities.shape[0] - 1)
    weight = (source - low).astype(np.float32)[:, None, None]
    rows = probabilities[low] * (1 - weight) + probabilities[high] * weight
    parts = [  # OpenCV 5 takes at most 128 channels
        cv2.resize(np.ascontiguousarray(rows[..., first : first + 128]), (width, stop - start))
        for first in range(0, rows.shape[2], 128)
    ]
    return np.concatenate([part.reshape(stop - start, width, -1) for part in parts], axis=-1)
