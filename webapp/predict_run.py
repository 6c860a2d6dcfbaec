"""The images of a visitor, segmented: the files of each, and what is needed to draw them anew."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from errors import UserError
from utils.data.masks import read_label_ids
from utils.data.voc import image_extensions
from utils.images.channels import to_rgb
from utils.images.notes import notes_on
from utils.images.reading import read_image
from utils.labels import voc_palette
from utils.prediction.output_paths import ResultNames
from utils.prediction.outputs import Outputs, Wanted
from webapp.postscript import refuse_postscript


class Layers(NamedTuple):
    """What can be seen of an image.

    Attributes:
        image: uint8 (H, W, 3).
        mask: uint8 (H, W), class ids.
        confidence: uint8 (H, W), the highest probability times 255.
    """

    image: np.ndarray
    mask: np.ndarray
    confidence: np.ndarray


class Run:
    """Images that were segmented at once, and their files.

    Args:
        folder: Path, empty.
        description: `nets.weights.description.Description` of the network.
        max_pixels: int, of an image.

    Attributes:
        folder, names: the folder; one name per class.
        results: list of `utils.prediction.output_paths.Result` of the images that are segmented.
        colors: uint8 (256, 3), RGB of each class, which the visitor may change.
        drawings: list of Path, those that were shown last.
        messages: list of str, what there is to say of images that could not be read, and others.
    """

    def __init__(self, folder, description, max_pixels):
        self.folder, self.names = folder, description.name_classes
        self.results, self.messages, self.drawings = [], [], []
        self.colors = voc_palette(256)
        self._read = lambda path: read_image(
            path, max_pixels, description.in_channels, description.value_range
        )
        self._value_range = description.value_range
        self._wanted = Wanted(
            str(folder), count=True, confidence=True, annotations="labelme", max_pixels=max_pixels
        )
        self._shown = None, None  # index and Layers of the image that is looked at

    @property
    def images(self):
        """Folder of the images: with labelme's files, which so find them."""
        return self.folder / "labelme"

    def segment(self, unet, uploads, on_progress, is_stopped=lambda: False):
        """Segments image files and writes their results as predict.py does.

        Args:
            unet: `unet.Unet`.
            uploads: list of str, paths; of what can't be read, `messages` tells.
            on_progress: callable of (images that are done, all).
            is_stopped: callable, asked after each image whether the rest is left out.
        """
        outputs = Outputs(self._wanted, self.images)
        planned = self._plan(self._without_programs(uploads))

        def finish(path, pixels, mask, details):
            result = planned[path]
            _link(path, result.image)
            outputs.add(result, pixels, mask, details)

        self.images.mkdir()
        paths, done = list(planned), []
        outcomes = unet.predict_files(paths, finish=finish, keep=outputs.keep)
        with outputs.writing(self.names):
            for outcome in outcomes:
                if outcome.error:
                    self.messages.append(_plain(str(outcome.error), outcome.item))
                else:
                    done.append(outcome.item)
                on_progress(len(done) + len(self.messages), len(set(uploads)))
                if is_stopped() and outcome.item != paths[-1]:
                    outcomes.close()
                    self.messages.append(f"Stopped: {len(done)} of {len(paths)} images are done.")
                    break
            self.results = [planned[path] for path in done]
            outputs.finish(self.results)
        for path in done:
            notes = notes_on([path], self._value_range)
            self.messages += [_plain(note, path) for note in notes]

    def _without_programs(self, uploads):
        accepted = []
        for path in uploads:
            try:
                refuse_postscript(path)
            except UserError as error:
                self.messages.append(f"{Path(path).name}: {error}")
            else:
                accepted.append(path)
        return accepted

    def _plan(self, uploads):
        """{path: Result}, each with its image in the folder of images, under a name of its own."""
        names, planned = ResultNames(self.folder), {}
        for path in map(Path, dict.fromkeys(uploads)):
            result = names.of(path)
            # Under another ending it could be one of labelme's own files.
            end = path.suffix if path.suffix.lower() in image_extensions() else ".png"
            planned[str(path)] = replace(result, folder=str(self.images), name=result.base + end)
        return planned

    def layers(self, index):
        """The Layers of an image, read from its files; the last one's are kept.

        Raises:
            UserError: if there is no such image.
        """
        known, layers = self._shown
        if index != known:
            if not (isinstance(index, int) and 0 <= index < len(self.results)):
                raise UserError("There is no such image. Choose one of the list.")
            result = self.results[index]
            with Image.open(result.confidence) as confidence:
                values = np.asarray(confidence)
            layers = Layers(to_rgb(self._read(result.image)), read_label_ids(result.mask), values)
            self._shown = index, layers
        return layers


def _link(path, target):
    """Puts a file under another name too, without a copy of its bytes where that can be."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)


def _plain(text, path):
    """A message with a file's name as the visitor knows it."""
    return text.replace(str(path), Path(path).name)
