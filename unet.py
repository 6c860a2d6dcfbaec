"""Trained weights in; masks and images out.

from PIL import Image
from unet import Unet

unet = Unet("logs/best_miou_weights.weights.h5")
unet.detect_image(Image.open("img/street.jpg")).save("street.png")
"""

import dataclasses
import time
from functools import partial

import numpy as np
from PIL import Image

from errors import UserError
from nets import unet as networks
from nets.checks import check_input_shape, check_num_classes
from nets.precision import choose_precision, dtype_policy
from nets.weights.description import Description
from nets.weights.storage import load_weights, open_weights
from utils.data.masks import mask_to_image
from utils.images.arrays import from_array
from utils.images.channels import CONVERTED, MAX_PIXELS, channel_count, to_array, to_rgb
from utils.images.reading import read_image
from utils.labels import class_names, voc_palette
from utils.prediction.draw import check_mix_type, draw_mask, format_count
from utils.prediction.engines import Runner, check_engine
from utils.prediction.inference import check_tta, is_tiled, predict_mask, with_flips
from utils.prediction.legend import add_legend
from utils.prediction.stream import predict_all
from utils.prediction.tiles import predict_tiles, predict_windows

INPUT_SHAPE = (512, 512)  # upstream's, of files that don't say theirs


class Unet:
    """A trained network, ready to segment images.

    What the weights file says of itself need not be said again; an argument that
    contradicts it is refused, but for `input_shape`. A file from elsewhere (Keras 2 or 3,
    unet-pytorch) tells class count and backbone by its shapes, but not `input_shape`.

    Args:
        model_path: str or Path of a `.weights.h5` file, an `.h5` file of Keras 2 or a `.pth`
            file of unet-pytorch.
        num_classes: int, or None: as the file says.
        backbone: str, or None: as the file says.
        input_shape: (height, width) that images are letterboxed to, of any size; None: as the
            file says, 512x512 if it says nothing. Windows, where the file has them, become no
            larger than it.
        mix_type: what `detect_image` returns. 0: the mask's colours blended over the
            image; 1: the colours alone; 2: the image with a black background; 3: the
            image with outlines in the colours.
        precision: "auto": as in training, unless that is slow here; "float32", "mixed_bfloat16"
            or "mixed_float16".
        name_classes: one name per class, or None: as the file says.
        tile: bool. Whether an image larger than `input_shape` is segmented in overlapping
            tiles, unscaled, instead of being shrunk to it; None: above 50 million pixels.
        tta: "none"; "h": probabilities averaged over the image and its mirror image;
            "hv": over these and both upside down.
        max_pixels: int. Images of more are refused.
        engine: what runs the network: "keras", "onnxruntime", "openvino" (in float32, on the CPU);
            "auto": Keras, and for `predict_files` of many images another one where it is faster.

    Attributes:
        model: keras.Model from (B, height, width, in_channels) in [-1, 1] to probabilities.
        description: `nets.weights.description.Description` of what is loaded.
        report: `nets.weights.storage.LoadReport`, what became of each layer.
        precision_reason: str, why it computes in its number format.
        size_reason: str, that it predicts at another size than that of the training; "" if not.
        colors: uint8 (256, 3), RGB of each class id.

    Raises:
        UserError: for a file that is missing or no weights file, and for arguments that
            contradict it or make no sense.
    """

    def __init__(
        self,
        model_path="logs/best_epoch_weights.weights.h5",
        num_classes=None,
        backbone=None,
        input_shape=None,
        mix_type=0,
        precision="auto",
        name_classes=None,
        *,
        tile=None,
        tta="none",
        max_pixels=MAX_PIXELS,
        engine="auto",
    ):
        check_mix_type(mix_type)
        check_engine(engine, precision)
        check_tta(tta)
        self.mix_type = mix_type
        self.tile = tile
        self.max_pixels = max_pixels
        stored = open_weights(model_path, backbone)
        self.description = resolve_description(
            stored, num_classes, backbone, input_shape, name_classes
        )
        self.size_reason = describe_size(stored.description, self.description)
        described = self.description
        if engine not in ("auto", "keras") and precision == "auto":
            policy, self.precision_reason = choose_precision("float32", said=f"as {engine} needs")
        else:
            policy, self.precision_reason = choose_precision(precision, described.precision)
        with dtype_policy(policy):
            self.model = networks.build_blank(described, described.network_shape)
        self.report = load_weights(self.model, stored)
        self.colors = voc_palette(256)
        self._runner = Runner(self.model, described, engine)
        self._network = with_flips(self._runner, tta)

    @property
    def engine(self):
        """The engine that predicts, e.g. "keras"."""
        return self._runner.name

    def predict_array(self, image, progress=False):
        """Segments an image.

        Args:
            image: uint8 (H, W, in_channels), RGB if these are three; or other numbers, which
                become 8 bits as those of files do. It is not changed.
            progress: bool, whether to show a progress bar for an image in tiles.

        Returns:
            uint8 (H, W), class ids.

        Raises:
            UserError: for an array of another shape, or of numbers that are no brightness.
        """
        image = self._to_array(image)
        described = self.description
        if is_tiled(image.shape[:2], described.network_shape, self.tile):
            return predict_tiles(self._network, image, described.network_shape, progress=progress)
        if described.window:
            return predict_windows(
                self._network, image, described.input_shape, described.window, progress=progress
            )
        return predict_mask(self._network, image, described.input_shape)

    def predict_files(self, paths, batch_size=4, finish=None, title="", progress=False):
        """Segments image files in batches; reading and finishing run beside the network.

        Args:
            paths: sequence of paths.
            batch_size: int, images (or tiles) per call of the network.
            finish: callable of (path, pixels uint8 (H, W, in_channels), mask uint8 (H, W)), run in
                threads, e.g. to draw and save; it may write over both. None: returns
                (pixels, mask).
            title, progress: of the progress bar.

        Yields:
            `utils.prediction.stream.Outcome` (item, value, error) of each path, in order. `error`
            is the UserError of a file that can't be read.
        """
        self._runner.consider(len(paths))
        return predict_all(
            self._network,
            paths,
            self.description.input_shape,
            read=partial(
                read_image,
                max_pixels=self.max_pixels,
                in_channels=self.description.in_channels,
                value_range=self.description.value_range,
            ),
            finish=finish or (lambda _, pixels, mask: (pixels, mask)),
            batch_size=batch_size,
            tile=self.tile,
            window=self.description.window,
            title=title,
            progress=progress,
        )

    def draw(self, pixels, mask, legend=False, out=None):
        """Draws class ids over an image, as `mix_type` says.

        Args:
            pixels: uint8 (H, W, channels), shown as `utils.images.channels.to_rgb` does.
            mask: uint8 (H, W).
            legend: bool, whether to add class names and shares below.
            out: uint8 (H, W, 3) to draw into; or `pixels` itself, which is then written over
                if it is RGB. None: a new array.

        Returns:
            uint8 (H, W, 3); with a legend higher, and maybe wider.
        """
        shown = to_rgb(pixels)
        out = shown if out is pixels else out
        drawn = draw_mask(shown, mask, self.colors, self.mix_type, out)
        if legend:
            return add_legend(drawn, mask, self.colors, self.description.name_classes)
        return drawn

    def detect_image(self, image, count=False, name_classes=None, legend=False):
        """Segments an image and draws the result.

        Args:
            image: PIL.Image of any size and mode; turned upright by its EXIF. A network for
                more than three channels takes one with as many, such as RGBA for four. Or an
                array as for `predict_array`. Neither is changed.
            count: bool. Prints a table of pixels and share per class.
            name_classes: names for the table; None: those of the weights file.
            legend: bool, whether to add class names and shares below the image.

        Returns:
            PIL.Image, RGB, of the (upright) image's size; with a legend higher.

        Raises:
            UserError: for an image that can't be decoded, has too many pixels or not the
                network's channels.
        """
        pixels = self._to_array(image)
        mask = self.predict_array(pixels)
        if count:
            names = name_classes or self.description.name_classes
            print(format_count(mask, class_names(self.description.num_classes, names)))
        # The caller's own array is not drawn into.
        out = None if isinstance(image, np.ndarray) else pixels
        return Image.fromarray(self.draw(pixels, mask, legend, out=out))

    def get_miou_png(self, image):
        """Segments a PIL image; returns its class ids as a palette image of its size."""
        return mask_to_image(self.predict_array(self._to_array(image)))

    def _to_array(self, image):
        """A PIL image, or an array of any numbers, as uint8 (H, W, in_channels)."""
        channels = self.description.in_channels
        if isinstance(image, np.ndarray):
            return from_array(image, channels, self.max_pixels, self.description.value_range)
        if not isinstance(image, Image.Image):
            raise UserError(
                f"The image is a {type(image).__name__}. Expected a PIL.Image or a NumPy array; of "
                "a file, Image.open(path), or predict_files([path])."
            )
        if channels not in CONVERTED and channel_count(image) != channels:
            raise UserError(
                f"The network takes images with {channels} channels, but this one, of mode "
                f"{image.mode}, has {channel_count(image)}. Give the path of a TIFF file to "
                f"predict_files, or an array (height, width, {channels}) to predict_array."
            )
        return to_array(image, self.max_pixels, channels, self.description.value_range)

    def get_FPS(self, image, test_interval):
        """Times the way from pixels to class ids, after a warm-up.

        Args:
            image: PIL.Image.
            test_interval: int, how many times.

        Returns:
            float, seconds per image, on average.

        Raises:
            UserError: if test_interval is below 1.
        """
        stages = self.time_stages(image, test_interval)
        return float(np.mean(sum(stages.values())))

    def time_stages(self, image, test_interval):
        """Times each stage of segmenting an image, letterboxed, after a warm-up.

        Args:
            image: PIL.Image of any shape, or an array as for `predict_array`.
            test_interval: int, how many times.

        Returns:
            dict from "preprocess" (letterbox, normalize), "network" and "postprocess" (cut,
            resize, most probable class) to float64 (test_interval,), seconds.

        Raises:
            UserError: if test_interval is below 1.
        """
        if test_interval < 1:
            raise UserError(f"test_interval must be at least 1; got {test_interval}.")
        pixels = self._to_array(image)
        times = []
        for _ in range(test_interval + 1):
            stamps = []
            predict_mask(
                self._network,
                pixels,
                self.description.network_shape,
                mark=lambda stamps=stamps: stamps.append(time.perf_counter()),
            )
            times.append(stamps)
        seconds = np.diff(times[1:], axis=1)  # the first compiled the network
        return dict(zip(("preprocess", "network", "postprocess"), seconds.T, strict=True))


def resolve_description(stored, num_classes, backbone, input_shape, name_classes):
    """Joins what a weights file says of itself with what the caller says.

    Args:
        stored: `nets.weights.description.Stored`.
        num_classes, backbone, input_shape, name_classes: as for `Unet`.

    Returns:
        Description.

    Another `input_shape` than the file's is taken: the network is convolutional, and pads.

    Raises:
        UserError: if they contradict each other, or the file holds no whole network.
    """
    size = tuple(input_shape[:2]) if input_shape else None
    given = {
        "num_classes": num_classes,
        "backbone": backbone,
        "name_classes": tuple(name_classes) if name_classes else None,
    }
    inferred, described = stored.infer(), stored.description
    if "num_classes" not in inferred:
        raise UserError(
            f"{stored.path} holds an encoder alone ({stored.kind}), which can't tell classes. "
            f"Train first: python train.py --model_path {stored.path}"
        )
    if described is None:
        shape = size or INPUT_SHAPE
        names = class_names(inferred["num_classes"], given["name_classes"])
        check_num_classes(inferred["num_classes"])
        described = Description(input_shape=shape, name_classes=names, **inferred)
    for name, value in given.items():
        stored.refuse_other(name, value, getattr(described, name))
    check_input_shape(size or described.input_shape, described.backbone)
    return resized(described, size) if size else described


def resized(described, size):
    """A Description for images of another (height, width)."""
    if not described.window:
        return dataclasses.replace(described, input_shape=size)
    window = tuple(min(sides) for sides in zip(described.window, size, strict=True))
    return dataclasses.replace(described, input_shape=size, window=window)


def describe_size(trained, used):
    """Says that images are predicted at another size than that of the training, or "".

    Args:
        trained: Description of the weights file, or None.
        used: Description.
    """
    if trained is None or trained.input_shape == used.input_shape:
        return ""
    here, there = ("{}x{}".format(*one.input_shape) for one in (used, trained))
    return f"Predicting at {here} (height x width) instead of the {there} of the training."
