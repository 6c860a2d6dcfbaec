"""Stand-ins for networks and images that several test modules use."""

import numpy as np

from nets.backbones import BACKBONES
from utils.evaluation.metrics import Counts, count_pixels

# {backbone: the name of its file of ImageNet weights}, of Keras and of torchvision
KERAS_FILES = {name: backbone.keras.name for name, backbone in BACKBONES.items()}
TORCH_FILES = {
    name: backbone.torchvision.name for name, backbone in BACKBONES.items() if backbone.torchvision
}
# {EXIF orientation: what makes the stored pixels upright}
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a.transpose(1, 0, 2), 2),
    8: np.rot90,
}
COLORS = np.eye(3, dtype=np.uint8) * 255  # class 0 is red, 1 green, 2 blue


class ColorNet:
    """A network that knows the class from the colour; it keeps what it was given."""

    def __call__(self, images):
        self.images = images
        probabilities = np.exp(3 * images)
        return probabilities / probabilities.sum(axis=-1, keepdims=True)


def blocks(height, width, side):
    """(image, mask) of random square blocks of the three classes."""
    rng = np.random.default_rng(5)
    ids = rng.integers(0, 3, (height // side + 1, width // side + 1)).astype(np.uint8)
    mask = np.kron(ids, np.ones((side, side), np.uint8))[:height, :width]
    return COLORS[mask], mask


def counts_of(matrix):
    """`Counts` of a confusion matrix [true, predicted], without void and boundaries."""
    nothing = Counts.zeros(len(matrix))
    return Counts(np.asarray(matrix), nothing.void, nothing.boundary)


def confusion_matrix(true, predicted, num_classes):
    """What `count_pixels` counts, without the pixels whose truth is void."""
    return count_pixels(true, predicted, num_classes)[:-1]
