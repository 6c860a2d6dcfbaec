"""The Keras data set: VOC samples in, batches of images and class ids out."""

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np

from errors import UserError
from utils.data.masks import read_mask
from utils.distributed.devices import Devices
from utils.images.reading import read_image
from utils.images.transforms import Box, letterbox_image, letterbox_mask, normalize, tile_starts
from utils.labels import VOID
from utils.parallel import worker_count

_AHEAD = 2  # batches made ahead of the one that is asked for


class UnetDataset(keras.utils.PyDataset):
    """Batches for `Model.fit` and `Model.evaluate`.

    With `augment` it is a training set: shuffled and augmented anew in each epoch, every
    draw from a generator of its own per (seed, epoch, sample), so that the result is the
    same whatever the number of workers. Without, it is a validation set: every sample once,
    in order, letterboxed. The last batch may be smaller.

    Several devices need batches that they can share equally. The last one is filled up with
    images that it holds already, their masks all void: no image is left out, the loss and
    its gradients stay those of the batch, and what a batch normalization sees are images.

    Keras sees one worker: threads of this class make samples ahead instead. Keras' own
    workers would carry batches of one epoch into the next one on some backends.

    Args:
        samples: list of `utils.data.voc.Sample`.
        input_shape: (height, width) of the batches.
        batch_size: int.
        num_classes: int.
        augment: `utils.data.augment.Augment` or a callable like it; None: validation.
        ignore_labels: mask values that count as void.
        in_channels: int, channels of an image, as for `utils.images.reading.read_image`.
        value_range: as for `utils.images.scaling.to_8_bit`.
        seed: int.
        num_workers: int, threads; 0: one per processor.
        cache_bytes: int; decoded images and masks are kept up to this much memory.
        devices: `utils.distributed.devices.Devices`; this process makes their part of each
            batch. None: a single one.
        crops: int, times that a training set takes each image per epoch, augmented anew; a
            validation set takes it once.
        window: (height, width) of overlapping windows that a validation set cuts its
            letterboxed images into, one sample each; None: whole.
        weigh: callable from a mask, uint8 (H, W), as it goes into a batch, to what the loss of
            its pixels weighs more, float32 (H, W), such as
            `utils.data.borders.BorderWeights`; None: batches hold no weights.

    Attributes:
        count: int, samples of an epoch.
        waited: float, seconds of this epoch in which a batch was asked for and not ready.
        error: the exception that stopped the loading, or None.
    """

    def __init__(
        self,
        samples,
        input_shape,
        batch_size,
        num_classes,
        augment=None,
        *,
        ignore_labels=(VOID,),
        in_channels=3,
        value_range=None,
        seed=0,
        num_workers=0,
        cache_bytes=0,
        devices=None,
        crops=1,
        window=None,
        weigh=None,
    ):
        super().__init__(workers=1)
        self.samples = list(samples)
        self.input_shape = tuple(input_shape)
        self.batch_size = batch_size
        self.num_classes = num_classes
        self.augment = augment
        self.ignore_labels = tuple(ignore_labels)
        self.in_channels = in_channels
        self.weigh = weigh
        self.value_range = value_range
        self.seed = seed
        self.error = None
        self._pool = ThreadPoolExecutor(worker_count(num_workers), thread_name_prefix="dataset")
        self._pending = {}
        self._cache, self._lock = {}, threading.Lock()
        self._cache_room = cache_bytes
        self._devices = devices or Devices()
        self._windows = _window_boxes(self.input_shape, window) if window else [None]
        self._times = crops if augment else len(self._windows)  # that an epoch has each image
        self.count = len(self.samples) * self._times
        self.set_epoch(0)

    def set_epoch(self, epoch):
        """Chooses the epoch, which decides the order and the draws of a training set."""
        self.epoch = epoch
        self.waited = 0.0
        self._order = np.arange(self.count)
        if self.augment:
            np.random.default_rng((self.seed, epoch)).shuffle(self._order)
        for futures in self._pending.values():
            for future in futures:
                future.cancel()
        self._pending = {}

    def __len__(self):
        return math.ceil(self.count / self.batch_size)

    def __getitem__(self, index):
        """Makes a batch.

        Returns:
            (images, masks): float32 (B, H, W, in_channels) in [-1, 1], and uint8 (B, H, W) of class
            ids with 255 for void and padding; with `weigh`, (images, masks, weights), these
            float32 (B, H, W). Of several processes, this one's part of all.

        Raises:
            UserError: for an image or mask that can't be used. This and whatever else is
            raised, such as MemoryError, is kept in `error` too, since backends wrap what is
            raised while they draw data.
        """
        try:
            return self._make_batch(index)
        except Exception as error:
            self.error = error
            raise

    def batch_samples(self, index):
        """The samples of a batch of the current epoch, in the batch's order."""
        return [self.samples[position // self._times] for position in self._batch_positions(index)]

    def _make_batch(self, index):
        for ahead in range(index, min(index + 1 + _AHEAD, len(self))):
            if ahead not in self._pending:
                self._pending[ahead] = [
                    self._pool.submit(self.load_sample, self.epoch, int(position))
                    for position in self._own_part(self._filled(self._batch_positions(ahead)))
                ]
        start = time.perf_counter()
        loaded = [future.result() for future in self._pending.pop(index)]
        self.waited += time.perf_counter() - start
        batch = tuple(np.stack(arrays) for arrays in zip(*loaded, strict=True))
        positions = self._batch_positions(index)
        filling = self._own_part(np.arange(len(self._filled(positions)))) >= len(positions)
        for values, nothing in zip(batch[1:], (VOID, 0), strict=False):
            values[filling] = nothing
        return batch

    def _batch_positions(self, index):
        return self._order[index * self.batch_size : (index + 1) * self.batch_size]

    def _filled(self, positions):
        missing = -len(positions) % self._devices.count
        return np.resize(positions, len(positions) + missing)  # begins anew at its end

    def _own_part(self, values):
        return np.split(values, self._devices.processes)[self._devices.process]

    def load_sample(self, epoch, position):
        """Makes one sample: what a batch holds, of one image."""
        image, mask = self._decoded(position // self._times)
        if self.augment:
            rng = np.random.default_rng((self.seed, epoch, position))
            image, mask = self.augment(image, mask, self.input_shape, rng)
        else:
            image, _ = letterbox_image(image, self.input_shape)
            mask = letterbox_mask(mask, self.input_shape, VOID)
            window = self._windows[position % self._times]
            if window:
                image, mask = image[window.slices], mask[window.slices]
        image = normalize(np.ascontiguousarray(image))
        return (image, mask, self.weigh(mask)) if self.weigh else (image, mask)

    def _decoded(self, position):
        """The image and mask of a sample as they are, from the cache if they are there."""
        if position in self._cache:
            return self._cache[position]
        sample = self.samples[position]
        try:
            image = read_image(
                sample.image_path, in_channels=self.in_channels, value_range=self.value_range
            )
            mask = read_mask(sample.mask_path, self.num_classes, self.ignore_labels)
        except (UserError, OSError) as error:
            if isinstance(error.__cause__, MemoryError):  # the readers blame the file
                raise error.__cause__ from None
            _check_folders(sample)
            raise
        if image.shape[:2] != mask.shape:
            raise UserError(
                f"The image {sample.image_path} and its mask differ in size: "
                f"{image.shape[:2]} and {mask.shape} (height, width)."
            )
        size = image.nbytes + mask.nbytes
        with self._lock:
            if size <= self._cache_room and position not in self._cache:
                self._cache_room -= size
                self._cache[position] = image, mask
        return image, mask


def _window_boxes(input_shape, window):
    """Where overlapping windows lie in an image of `input_shape`, as a list of Box."""
    rows, columns = (
        tile_starts(length, tile) for length, tile in zip(input_shape, window, strict=True)
    )
    return [Box(top, left, *window) for top in rows for left in columns]


def _check_folders(sample):
    """Raises UserError if a folder of the sample has gone, which says more than a lost file."""
    for path in (sample.image_path, sample.mask_path):
        gone = [folder for folder in path.absolute().parents if not folder.is_dir()]
        if gone:
            raise UserError(
                f"{path} can't be read: the folder {gone[-1]} is gone. Is the disk with the "
                "dataset still there? Bring it back and start again."
            )
