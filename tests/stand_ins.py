"""Stand-ins for networks and images that several test modules use."""

import os
import signal
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
from PIL import Image

from nets.backbones import BACKBONES
from utils.evaluation.metrics import Counts, count_pixels
from utils.images.reading import read_image
from utils.labels import voc_palette
from utils.prediction.stream import predict_all

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


class FolderUnet:
    """A `Unet` as runs of folders use one: the brighter a pixel, the more probably a cell.

    Attributes:
        read: the images that were read, of the class.
    """

    precision_reason = report = size_reason = ""
    colors = voc_palette(256)
    description = SimpleNamespace(
        in_channels=3, name_classes=("nothing", "cell"), value_range=None, num_classes=2
    )
    read: ClassVar[list[str]] = []

    def __init__(self, *_, **__):
        pass

    def predict_files(self, paths, batch_size, finish, title, progress, keep=None):
        return predict_all(
            self.predict, paths, (20, 30), read=self.open, finish=finish, keep=keep,
            batch_size=batch_size,
        )  # fmt: skip

    def open(self, path):
        self.read.append(str(path))
        return read_image(path)

    def predict(self, batch):
        bright = (batch[..., :1] + 1) / 2
        return np.concatenate([1 - bright, bright], axis=-1)

    def draw(self, pixels, mask, legend, out):
        out[:] = self.colors[mask]
        return out


class MortalUnet(FolderUnet):
    """A FolderUnet whose process is killed at an image `fatal.png`, and once at `once.png`."""

    def open(self, path):
        killed = path.image.parent.parent / "killed"
        if path.name.endswith("once.png") and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if path.name.endswith("fatal.png"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().open(path)


def write_blocks(folder, count):
    """Writes images 000.png, 001.png, ...: grey blocks, the same whenever they are written."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        grey = np.random.default_rng(number).integers(0, 256, (4, 6))
        pixels = np.kron(grey, np.ones((5, 5))).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")


def files_in(folder):
    """{path below the folder: bytes} of all files, the hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
