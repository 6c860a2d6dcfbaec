"""Trained weights in; masks and images out.

from unet import Unet

unet = Unet("logs/best_epoch_weights.weights.h5")
for found in unet.predict(["street.jpg", "park.jpg"]):
    print(found.shares)
    found.draw(legend=True).show()

Keras, and TensorFlow with it, is imported when weights are loaded.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from errors import UserError
from nets.checks import check_weights_file
from utils.data.masks import mask_to_image
from utils.images.channels import MAX_PIXELS, to_rgb
from utils.images.reading import read_image
from utils.labels import class_names, voc_palette
from utils.messages import in_script
from utils.old_names import refuse_edits_of_unet
from utils.prediction.decide import Decision, Details, Keep, Sheet, resolve_thresholds
from utils.prediction.draw import check_mix_type, draw_mask, format_count
from utils.prediction.engines import Runner, check_engine
from utils.prediction.ensemble import WeightsPath, averaged, check_alike, find_weights
from utils.prediction.inference import check_tta, is_tiled, predict_mask, with_flips
from utils.prediction.inputs import ONE, ImageLike, to_pixels
from utils.prediction.legend import add_legend
from utils.prediction.predictor import Predictor
from utils.prediction.result import Prediction
from utils.prediction.stream import Outcome, predict_all
from utils.prediction.tiles import predict_tiles, predict_windows
from utils.quiet import quiet

if TYPE_CHECKING:
    import keras

    from nets.weights.description import Description
    from nets.weights.storage import LoadReport

Mask = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]
_LOADING = threading.Lock()  # Keras' number format, while networks are built, is global


class Unet:
    """A trained network, ready to segment images.

    What the weights file says of itself need not be said again; an argument that
    contradicts it is refused, but for `input_shape` and new names. A file from elsewhere (Keras
    2 or 3, unet-pytorch) tells class count and backbone by its shapes, but not `input_shape`.

    It may be used from several threads at once: the network takes their batches in turn.

    Args:
        model_path: str or Path of a `.weights.h5` file, an `.h5` file of Keras 2 or a `.pth`
            file of unet-pytorch. Several, or a text with wildcards (`fold*/best*.weights.h5`):
            their probabilities are averaged. They need the same classes, names, channels and
            sizes; backbones and widths may differ. What else is given holds for all.
        num_classes: int, or None: as the file says.
        backbone: str, or None: as the file says.
        input_shape: (height, width) that images are letterboxed to, of any size; None: as the
            file says, 512x512 if it says nothing. Windows, where the file has them, become no
            larger than it.
        mix_type: how images are drawn. 0: the mask's colours blended over the image, the
            background as it is; 1: the colours alone; 2: the image with a black background; 3:
            the image with outlines in the colours.
        precision: "auto": as in training, unless that is slow here; "float32", "mixed_bfloat16"
            or "mixed_float16".
        name_classes: one name per class, in the order of the training; None: as the file says.
        tile: bool. Whether an image larger than `input_shape` is segmented in overlapping
            tiles, unscaled, instead of being shrunk to it; None: above 50 million pixels.
        tta: "none"; "h": probabilities averaged over the image and its mirror image;
            "hv": over these and both upside down.
        max_pixels: int. Images of more are refused.
        engine: what runs the network: "keras", "onnxruntime", "openvino" (in float32, on the CPU);
            "auto": Keras, and for many images at once another one where it is faster.
        threshold: dict, {name or id of a class: probability from which on, and only then, a pixel
            is of it}, as `utils.prediction.decide.Decision` says. None: the most probable class.
        min_region: int, pixels. Smaller regions take the class around them, as
            `utils.prediction.small_regions` says; 0: all stay.

    Attributes:
        paths: list of Path, the weights files.
        models: list of keras.Model, one for each of them, from (B, height, width, in_channels) in
            [-1, 1] to probabilities.
        descriptions: list of `nets.weights.description.Description` of what is loaded.
        reports: list of `nets.weights.storage.LoadReport`, what became of each layer.
        precision_reason: str, why it computes in its number format.
        size_reason: str, that it predicts at another size than that of the training; "" if not.
        colors: uint8 (256, 3), RGB of each class id.
        decision: `utils.prediction.decide.Decision`, how probabilities become classes.

    Raises:
        UserError: for a file that is missing or no weights file, for arguments that
            contradict it or make no sense, for several files that don't fit each other, and for
            settings that were written into this file.
    """

    def __init__(
        self,
        model_path: WeightsPath | Sequence[WeightsPath] = "logs/best_epoch_weights.weights.h5",
        num_classes: int | None = None,
        backbone: str | None = None,
        input_shape: Sequence[int] | None = None,
        mix_type: int = 0,
        precision: str = "auto",
        name_classes: Sequence[str] | None = None,
        *,
        tile: bool | None = None,
        tta: str = "none",
        max_pixels: int = MAX_PIXELS,
        engine: str = "auto",
        threshold: Mapping[str, float] | None = None,
        min_region: int = 0,
    ) -> None:
        refuse_edits_of_unet(Unet)
        check_mix_type(mix_type)
        check_engine(engine, precision)
        check_tta(tta)
        self.mix_type = mix_type
        self.tile = tile
        self.max_pixels = max_pixels
        self.paths = find_weights(model_path)
        for path in self.paths:
            if str(path) != "imagenet":  # which is said to be no trained network
                check_weights_file(path)  # before the seconds that Keras takes to be imported
        with quiet() if in_script() else nullcontext():  # TensorFlow greets
            from nets.trained import describe_size, load_trained, resolve_description
            from nets.weights.storage import open_weights
        files = [open_weights(path, backbone) for path in self.paths]
        self.descriptions = [
            resolve_description(stored, num_classes, backbone, input_shape, name_classes)
            for stored in files
        ]
        check_alike(self.descriptions, self.paths)
        thresholds = resolve_thresholds(threshold or {}, self.description.name_classes)
        self.decision = Decision(thresholds, min_region)
        pairs = list(zip(files, self.descriptions, strict=True))
        self.size_reason = _lines(describe_size(one.description, used) for one, used in pairs)
        with _LOADING:
            loaded = [load_trained(*pair, precision, engine) for pair in pairs]
        self.models = [one.model for one in loaded]
        self.reports = [one.report for one in loaded]
        self.precision_reason = _lines(one.precision_reason for one in loaded)
        self.colors: npt.NDArray[np.uint8] = voc_palette(256)
        self._runners = [Runner(one.model, one.description, engine) for one in loaded]
        self._network = with_flips(averaged(self._runners), tta)

    @property
    def model(self) -> "keras.Model":
        """The network, if there is one alone; UserError if there are several."""
        if len(self.models) > 1:
            raise UserError(
                f"model_path names {len(self.models)} weights files, whose probabilities are "
                "averaged, so there is no single network. Give the path of one file, or see "
                "`models`."
            )
        return self.models[0]

    @property
    def description(self) -> "Description":
        """What is loaded; of several files the first one's, which all share what matters here."""
        return self.descriptions[0]

    @property
    def report(self) -> "LoadReport | str":
        """What became of each layer; as text a table, and for several files all their tables."""
        return self.reports[0] if len(self.reports) == 1 else _lines(map(str, self.reports))

    @property
    def engine(self) -> str:
        """The engine that predicts, e.g. "keras"."""
        return ", ".join(dict.fromkeys(runner.name for runner in self._runners))

    @overload
    def predict(  # type: ignore[overload-overlap]  # a path is text, and one image
        self, images: ImageLike, batch_size: int = 4
    ) -> Prediction: ...

    @overload
    def predict(self, images: Iterable[ImageLike], batch_size: int = 4) -> list[Prediction]: ...

    def predict(
        self, images: ImageLike | Iterable[ImageLike], batch_size: int = 4
    ) -> Prediction | list[Prediction]:
        """Segments an image, or several in batches.

        Args:
            images: path of a file, PIL.Image, or array (H, W, in_channels) as for
                `predict_array`; or several of them, of any sizes. None is changed.
            batch_size: int, images (or tiles) per call of the network.

        Returns:
            `utils.prediction.result.Prediction`; of several images a list, in order. Each keeps
            its image: for thousands of files, `predict_files` keeps none.

        Raises:
            UserError: for an image that can't be read or does not fit the network; of several,
                the message says which.
        """
        predictor = Predictor(
            self._network,
            self.description,
            self.tile,
            self.max_pixels,
            self.decision,
            self.mix_type,
        )
        if isinstance(images, ONE) or not isinstance(images, Iterable):  # which is then refused
            (outcome,) = predictor.predict([images], 1)
            return _value_of(outcome)
        several = list(images)
        for runner in self._runners:
            runner.consider(len(several))
        return [
            _value_of(outcome, f"Image {number} of {len(several)}: ")
            for number, outcome in enumerate(predictor.predict(several, batch_size), 1)
        ]

    def predict_array(self, image: Array, progress: bool = False) -> Mask:
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
        return self._predict(self._to_array(image), progress).mask

    def predict_details(
        self, image: Image.Image | Array, keep: Keep, progress: bool = False
    ) -> tuple[Mask, Details]:
        """Segments an image, and keeps more than its mask.

        Args:
            image, progress: as for `predict_array`.
            keep: `utils.prediction.decide.Keep`.

        Returns:
            (uint8 (H, W) of class ids, `utils.prediction.decide.Details`).

        Raises:
            UserError: as `predict_array`; and if what is kept would take too much memory.
        """
        image = self._to_array(image)
        keep.check_size(image.shape[:2], self.description.num_classes)
        sheet = self._predict(image, progress, keep)
        return sheet.mask, sheet.details

    def _predict(self, image: Mask, progress: bool, keep: Keep | None = None) -> Sheet:
        """The Sheet of uint8 (H, W, in_channels), finished."""
        network, described = self._network, self.description
        sheet = Sheet(image.shape[:2], self.decision, keep)
        if is_tiled(image.shape[:2], described.network_shape, self.tile):
            predict_tiles(network, image, described.network_shape, 1, progress, sheet)
        elif described.window:
            shape, window = described.input_shape, described.window
            predict_windows(network, image, shape, window, 1, progress, sheet)
        else:
            predict_mask(network, image, described.input_shape, sheet=sheet)
        return sheet

    def predict_files(
        self,
        paths: Sequence[Any],
        batch_size: int = 4,
        finish: Callable[..., Any] | None = None,
        title: str = "",
        progress: bool = False,
        keep: Keep | None = None,
    ) -> Iterator[Outcome]:
        """Segments image files in batches; reading and finishing run beside the network.

        Args:
            paths: sequence of paths.
            batch_size: int, images (or tiles) per call of the network.
            finish: callable of (path, pixels uint8 (H, W, in_channels), mask uint8 (H, W)), run in
                threads, e.g. to draw and save; it may write over both. None: returns
                (pixels, mask).
            title, progress: of the progress bar.
            keep: `utils.prediction.decide.Keep`, or None. With it, `finish` is given Details as
                well; an image of which they would take too much memory is an error of its own.

        Yields:
            `utils.prediction.stream.Outcome` (item, value, error) of each path, in order. `error`
            is the UserError of a file that can't be read.
        """
        for runner in self._runners:
            runner.consider(len(paths))
        described = self.description

        def read(path: Any) -> Any:
            pixels = read_image(path, self.max_pixels, described.in_channels, described.value_range)
            if keep:
                keep.check_size(pixels.shape[:2], described.num_classes)
            return pixels

        kept = keep.bytes_of_pixel(described.num_classes) if keep else 0
        outcomes: Iterator[Outcome] = predict_all(
            self._network,
            paths,
            described.input_shape,
            read=read,
            finish=finish or (lambda _, pixels, mask, *details: (pixels, mask, *details)),
            batch_size=batch_size,
            tile=self.tile,
            window=described.window,
            title=title,
            progress=progress,
            decision=self.decision,
            keep=keep,
            weight=1 + kept / (1 + described.in_channels),  # of pixels and mask
        )
        return outcomes

    def draw(self, pixels: Mask, mask: Mask, legend: bool = False, out: Mask | None = None) -> Mask:
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
        shown: Mask = to_rgb(pixels)
        out = shown if out is pixels else out
        drawn: Mask = draw_mask(shown, mask, self.colors, self.mix_type, out)
        if legend:
            drawn = add_legend(drawn, mask, self.colors, self.description.name_classes)
        return drawn

    def detect_image(
        self,
        image: Image.Image | Array,
        count: bool = False,
        name_classes: Sequence[str] | None = None,
        legend: bool = False,
    ) -> Image.Image:
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

    def get_miou_png(self, image: Image.Image | Array) -> Image.Image:
        """Segments a PIL image; returns its class ids as a palette image of its size."""
        shown: Image.Image = mask_to_image(self.predict_array(self._to_array(image)))
        return shown

    def _to_array(self, image: Image.Image | Array) -> Mask:
        """A PIL image, or an array of any numbers, as uint8 (H, W, in_channels)."""
        described = self.description
        return to_pixels(image, described.in_channels, self.max_pixels, described.value_range)

    def get_FPS(self, image: Image.Image | Array, test_interval: int) -> float:
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

    def time_stages(
        self, image: Image.Image | Array, test_interval: int
    ) -> dict[str, npt.NDArray[np.float64]]:
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
            stamps: list[float] = []
            predict_mask(
                self._network,
                pixels,
                self.description.network_shape,
                mark=lambda stamps=stamps: stamps.append(time.perf_counter()),
                sheet=Sheet(pixels.shape[:2], self.decision),
            )
            times.append(stamps)
        seconds = np.diff(times[1:], axis=1)  # the first compiled the network
        return dict(zip(("preprocess", "network", "postprocess"), seconds.T, strict=True))


def _lines(texts: Iterable[str]) -> str:
    """The texts that say something, each once, one a line."""
    return "\n".join(dict.fromkeys(text for text in texts if text))


def _value_of(outcome: Outcome, which: str = "") -> Prediction:
    if outcome.error:
        raise UserError(f"{which}{outcome.error}") from outcome.error
    return cast(Prediction, outcome.value)
