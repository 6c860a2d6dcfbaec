"""What TensorBoard shows of a training: curves, IoU of each class, and images.

    tensorboard --logdir logs

The files are written with the tensorboard package alone, so that it works on every backend.
"""

import math
import os
import socket
import time
from pathlib import Path

import cv2
import keras
import numpy as np

from utils.data.masks import read_mask
from utils.images.channels import to_rgb
from utils.images.reading import read_image
from utils.images.transforms import GREY, letterbox_box, resize_image, resize_mask
from utils.labels import VOID, void_white_palette
from utils.messages import say

_SCALARS = {
    "loss/train": "loss",
    "loss/validation": "val_loss",
    "miou/batch": "batch_miou",
    "miou/validation": "val_miou",
    "learning_rate": "learning_rate",
    "waiting": "waiting",
}
_SIDE = 480  # pixels of an image, at most
_GAP = 4  # pixels between two


class Board(keras.callbacks.Callback):
    """Writes TensorBoard's files: scalars each epoch; IoU and images when it is scored.

    Comes after the callbacks that score and that add to the logs. The step is the epoch, from
    1. A run that resumes does so in the same folder, in a file of its own; what an earlier
    file holds of its epochs is hidden. Without the tensorboard package nothing is written.

    Args:
        folder: Path of the run.
        scoring: object whose `scores` is this epoch's `utils.evaluation.metrics.Scores`, or None.
        names: class names.
        samples: list of `utils.data.voc.Sample`, the few images to show; each is shown as
            image, truth and prediction side by side.
        predict: callable from uint8 (H, W, in_channels) to class ids, uint8 (H, W).
        ignore_labels: mask values that are void; shown white.
        in_channels, value_range: of an image, as for `utils.images.reading.read_image`.
    """

    def __init__(
        self,
        folder,
        scoring,
        names,
        *,
        samples,
        predict,
        ignore_labels=(VOID,),
        in_channels=3,
        value_range=None,
    ):
        super().__init__()
        self.scoring = scoring
        self.names = names
        self.samples = samples
        self.predict = predict
        self.ignore_labels = ignore_labels
        self.in_channels = in_channels
        self.value_range = value_range
        try:
            self._events = EventFile(folder)
        except Exception as error:  # one that does not fit its protobuf raises all kinds
            say(f"No TensorBoard files: the tensorboard package can't be loaded ({error}).")
            self._events = None

    def on_epoch_end(self, epoch, logs=None):
        if self._events is None:
            return
        step = epoch + 1
        for tag, name in _SCALARS.items():
            self._events.add_scalar(tag, logs.get(name, math.nan), step)
        scores = self.scoring.scores
        if scores is not None:
            for name, iou in zip(self.names, scores.iou.tolist(), strict=True):
                self._events.add_scalar(f"iou/{name}", iou, step)
            for sample in self.samples:
                self._events.add_image(f"pictures/{sample.name}", self.draw(sample), step)
        self._events.flush()

    def draw(self, sample):
        """Draws image, truth and prediction of a sample side by side.

        Returns:
            uint8 (h, w, 3) RGB; each of the three at most 480 pixels high and wide.
        """
        true = read_mask(sample.mask_path, len(self.names), self.ignore_labels)
        image = read_image(
            sample.image_path, in_channels=self.in_channels, value_range=self.value_range
        )
        predicted = self.predict(image)
        box = letterbox_box(true.shape, (_SIDE, _SIDE))
        size = min((box.height, box.width), true.shape)  # what is small stays as it is
        colors = void_white_palette()
        gap = np.full((size[0], _GAP, 3), GREY, np.uint8)
        truth, prediction = (colors[resize_mask(mask, size)] for mask in (true, predicted))
        return np.hstack([resize_image(to_rgb(image), size), gap, truth, gap, prediction])


class EventFile:
    """A file of TensorBoard events.

    TensorBoard's own writer loads TensorFlow where it is installed, and its thread keeps
    errors such as a full disk to itself.

    Args:
        folder: Path; the file is made with the first event.

    Raises:
        ImportError: without the tensorboard package.
    """

    def __init__(self, folder):
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.folder = Path(folder)
        self._proto, self._summary = event_pb2, summary_pb2.Summary
        self._record_writer = RecordWriter
        self._path, self._waiting = None, []

    def add_scalar(self, tag, value, step):
        """Adds a number; NaN is left out."""
        if not math.isnan(value):
            self._add(step, tag=tag, simple_value=value)

    def add_image(self, tag, pixels, step):
        """Adds uint8 (H, W, 3) RGB."""
        encoded = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()
        height, width = pixels.shape[:2]
        image = self._summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=encoded
        )
        self._add(step, tag=tag, image=image)

    def flush(self):
        """Appends what was added to the file."""
        if not self._waiting:
            return
        if self._path is None:
            self._path = self._start_file()
        with open(self._path, "ab") as file:
            writer = self._record_writer(file)
            for event in self._waiting:
                writer.write(event.SerializeToString())
        self._waiting.clear()

    def _add(self, step, **value):
        summary = self._summary(value=[self._summary.Value(**value)])
        self._waiting.append(self._event(step=step, summary=summary))

    def _start_file(self):
        """Names the file and puts its head before what waits."""
        log = self._proto.SessionLog
        self._waiting[:0] = [
            self._event(file_version="brain.Event:2"),
            # Hides what an earlier file holds of this step and those after it.
            self._event(step=self._waiting[0].step, session_log=log(status=log.START)),
        ]
        self.folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads a folder's files in the order of their names.
        stamp = f"{time.time():017.6f}.{socket.gethostname()}.{os.getpid()}"
        return self.folder / f"events.out.tfevents.{stamp}"

    def _event(self, **values):
        return self._proto.Event(wall_time=time.time(), **values)
