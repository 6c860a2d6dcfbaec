"""Segments pictures: python predict.py, then type the path of a picture.

Or without typing: python predict.py --image street.jpg cell.png
"""

import os
import sys
from itertools import count
from pathlib import Path

from errors import UserError
from utils.config import load_config, run_script, settings
from utils.draw import check_mix_type

MODES = ("predict",)


@settings
class PredictConfig:
    # Weights; what the file says of itself need not be said again
    model_path: str = "logs/best_epoch_weights.weights.h5"  # trained weights
    num_classes: int | None = None  # classes + 1 for the background; None: as the file says
    backbone: str | None = None  # encoder; None: as the file says
    input_shape: tuple[int, int] | None = None  # height, width; None: as the file says
    name_classes: tuple[str, ...] = ()  # names, the background first; empty: as the file says
    precision: str = "auto"  # auto, float32, mixed_bfloat16, mixed_float16; auto measures

    # What to do
    mode: str = "predict"  # predict: one picture after the other
    image: tuple[str, ...] = ()  # pictures to segment instead of asking for paths
    mix_type: int = 0  # 0: colours over the picture; 1: colours alone; 2: background made black
    count: bool = False  # whether to print pixels and share of each class

    # Output
    dir_save_path: str = "img_out"  # where results are saved

    def check(self):
        """Raises UserError for values that make no sense."""
        if self.mode not in MODES:
            raise UserError(f"mode must be one of {', '.join(MODES)}; got {self.mode!r}.")
        check_mix_type(self.mix_type)


def main(config=None):
    """Predicts; `config` is a PredictConfig, or None to read the command line.

    Returns:
        int, exit status: 1 if a picture given in `image` could not be read, else 0.
    """
    config = config or load_config(PredictConfig)
    # Imported here: TensorFlow takes seconds to load, and --help does without.
    from unet import Unet

    unet = Unet(
        config.model_path,
        config.num_classes,
        config.backbone,
        config.input_shape,
        config.mix_type,
        config.precision,
        config.name_classes,
    )
    print(unet.precision_reason)
    results = ResultFiles(config.dir_save_path, config.image)
    if config.image:
        done = [predict_file(unet, path, results, config.count) for path in config.image]
        return 0 if all(done) else 1
    while path := ask_path():
        if predict_file(unet, path, results, config.count) and has_display():
            results.last.show()
    return 0


def ask_path():
    """Asks for a path; an empty line or the end of input gives ''."""
    try:
        # Pasted and dragged paths often come in quotes.
        return input("Input image filename: ").strip().strip("'\"")
    except EOFError:
        return ""


class ResultFiles:
    """Saves results as PNG under the pictures' names, never over a picture or each other.

    Args:
        folder: where to.
        pictures: paths of pictures still to be read.

    Attributes:
        last: PIL.Image saved last.
    """

    def __init__(self, folder, pictures=()):
        self.folder = Path(folder)
        self._pictures = {Path(picture).resolve() for picture in pictures}
        self.last = None
        self._sources = {}

    def save(self, result, picture):
        """Saves the result of a picture file; returns the path. The same picture again
        replaces its own result."""
        picture = Path(picture).resolve()
        self._pictures.add(picture)
        self.folder.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            end = "" if number == 1 else f"_{number}"
            target = self.folder / f"{picture.stem}{end}.png"
            owner = self._sources.get(target, picture)
            if target.resolve() not in self._pictures and owner == picture:
                break
        result.save(target)
        self._sources[target] = picture
        self.last = result
        return target


def predict_file(unet, path, results, with_counts):
    """Segments a picture file and saves the result.

    Returns:
        bool: whether it went well; if not, one line says why.
    """
    from utils.image import open_image

    try:
        result = unet.detect_image(open_image(path), count=with_counts)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return False
    print(f"saved {results.save(result, path)}")
    return True


def has_display():
    """Whether a window can be opened here."""
    if sys.platform.startswith("linux"):
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


if __name__ == "__main__":
    run_script(main)
