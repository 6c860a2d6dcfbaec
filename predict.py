"""Segments images: python predict.py, then type the path of an image.

Or without typing: python predict.py --image street.jpg 'cells/*.tif'
A folder:          python predict.py --mode dir_predict --dir_origin_path img
A share of it:     python predict.py --mode dir_predict --dir_origin_path img --part 3/16
A video:           python predict.py --mode video --video_path street.mp4 --video_save_path out.mp4
Speed:             python predict.py --mode fps --fps_image_path street.jpg
Other programs:    python predict.py --mode export --export_formats onnx
"""

import sys
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from errors import UserError, check_at_least, check_choice
from utils.config import load_config, run_script, settings, take
from utils.images.channels import CONVERTED, MAX_PIXELS, check_pixels, to_array
from utils.images.header import image_size
from utils.images.reading import read_image
from utils.images.sample import draw_cells
from utils.prediction.decide import parse_thresholds
from utils.prediction.draw import check_mix_type, format_count
from utils.prediction.engines import check_engine
from utils.prediction.ensemble import Paths
from utils.prediction.folder import Job, open_here, segment_folder
from utils.prediction.on_ray import open_on_ray
from utils.prediction.output_paths import ResultNames, expand_patterns
from utils.prediction.outputs import Outputs, Wanted
from utils.prediction.parts import parse_part
from utils.prediction.ray_cluster import check_ray
from utils.prediction.saving import save_result, say_notes
from utils.video.process import has_display, process_video

MODES = ("predict", "dir_predict", "video", "fps", "export")
_SAMPLE = "img/street.jpg"  # in place of which an image is drawn
_SAMPLE_SIZE = (480, 640)


@settings
class PredictConfig:
    # Weights; what the file says of itself need not be said again
    model_path: Paths = "logs/best_epoch_weights.weights.h5"  # trained weights; of several the mean
    num_classes: int | None = None  # classes + 1 for the background; None: as the file says
    backbone: str | None = None  # encoder; None: as the file says
    input_shape: tuple[int, int] | None = None  # height, width, any; None: as the file says
    name_classes: tuple[str, ...] = ()  # names, the background first; empty: as the file says
    precision: str = "auto"  # auto, float32, mixed_bfloat16, mixed_float16; auto: as trained
    engine: str = "auto"  # auto, keras, onnxruntime, openvino; auto: keras unless slower

    # What to do
    mode: str = "predict"  # predict: asked for or in image; dir_predict; video; fps; export
    image: tuple[str, ...] = ()  # images, or patterns in quotes, instead of asking for paths

    # How images are segmented
    tile: bool | None = None  # large ones in unscaled tiles; None: above 50 million pixels
    tta: str = "none"  # averages over flips; none, h: also mirrored, hv: and upside down
    batch_size: int = 4  # images the network takes at a time, in folders
    max_pixels: int = MAX_PIXELS  # images of more are refused
    threshold: tuple[str, ...] = ()  # CLASS:0.3: pixels are CLASS from there on, and only then
    min_region: int = 0  # pixels; smaller regions take the class around them

    # What comes out
    mix_type: int = 0  # 0: colours over the image, 1: alone, 2: background black, 3: outlines
    legend: bool = False  # whether to add class names and shares below the image
    count: bool = False  # whether to count pixels of classes, and list regions in a CSV file
    background_regions: bool = False  # whether that file lists those of the background too
    pixel_size: float | None = None  # a pixel's side in your unit, for that file; None: TIFF tags
    confidence: bool = False  # whether to save the highest probability of each pixel, times 255
    probabilities: str = ""  # file of those of all classes; npz, tif; "": none
    annotations: str = ""  # to correct, to measure; labelme, coco, cvat, labels, geojson; "": none
    annotation_tolerance: float = 1.0  # pixels by which they simplify outlines; 0: exact
    dir_save_path: str = "img_out"  # where results are saved

    # dir_predict
    dir_origin_path: str = "img"  # folder of images, with the folders in it
    resume: bool = False  # whether to skip images whose results are there already
    part: str = ""  # I/N: only the I-th of N shares, for jobs side by side; "": all
    ray: str = ""  # on Ray; local: workers here; auto, HOST:PORT: those of a cluster; "": without
    ray_workers: int = 0  # how many of them; 0: one a GPU, or else one for every 4 processors

    # video
    video_path: str = "0"  # file, number of a camera, or URL of a stream
    video_save_path: str = ""  # mp4 file to write
    video_fps: float | None = None  # frames per second of that file; None: as the source

    # fps
    fps_image_path: str = "img/street.jpg"  # image, of any shape; drawn if this one is missing
    test_interval: int = 100  # how many times

    # export
    export_path: str = "model_data/export"  # folder
    export_formats: tuple[str, ...] = ("savedmodel",)  # onnx onnx_float16 onnx_int8 openvino litert
    export_size: str = "fixed"  # fixed: input_shape; any: multiples of the encoder's stride
    VOCdevkit_path: str = "VOCdevkit"  # folder with VOC2007; onnx_int8 needs its validation images
    val_list: str = "val"  # list in ImageSets/Segmentation, or the path of a .txt file
    int8_images: int = 100  # how many of them it is calibrated and scored on, spread over the list
    int8_max_fall: float = 0.01  # mIoU, of 0 to 1, that it may lose; if it loses more it is refused

    def check(self):
        """Raises UserError for values that make no sense."""
        check_choice("mode", self.mode, MODES)
        check_choice("export_size", self.export_size, ("fixed", "any"))
        check_engine(self.engine, self.precision)
        check_mix_type(self.mix_type)
        take(Wanted, self).check(self.mode)
        parse_thresholds(self.threshold)
        check_at_least(self, 1, "batch_size", "max_pixels", "test_interval", "int8_images")
        check_at_least(self, 0, "min_region", "int8_max_fall", "ray_workers")
        for name in ("part", "ray"):
            if getattr(self, name) and self.mode != "dir_predict":
                raise UserError(
                    f"{name} is of a folder: mode must be dir_predict; got {self.mode!r}."
                )
        parse_part(self.part)
        if self.mode == "video" and not self.video_save_path and not has_display():
            raise UserError(
                "There is no display to show the video on: give video_save_path, an mp4 file."
            )


def main(config=None):
    """Predicts; `config` is a PredictConfig, or None to read the command line.

    Returns:
        int, exit status: 1 if an image could not be read, else 0.
    """
    config = config or load_config(PredictConfig)
    return {
        "predict": predict_images,
        "dir_predict": predict_folder,
        "video": predict_video,
        "fps": measure_speed,
        "export": export,
    }[config.mode](config)


def load_unet(config, precision=None):
    """The network, with what is asked of it."""
    unet = loader_of(config, precision)()
    print(unet.report)
    print(unet.precision_reason)
    if unet.size_reason:
        print(unet.size_reason)
    return unet


def loader_of(config, precision=None):
    """A callable that loads the network and that can be sent to other processes."""
    from unet import Unet

    engine = config.engine
    if config.mode == "export" or (config.ray and engine == "auto"):
        engine = "keras"  # "auto" would measure it on workers that disturb each other
    return partial(
        Unet,
        config.model_path,
        config.num_classes,
        config.backbone,
        config.input_shape,
        config.mix_type,
        precision or config.precision,
        config.name_classes,
        tile=config.tile,
        tta=config.tta,
        max_pixels=config.max_pixels,
        engine=engine,
        threshold=parse_thresholds(config.threshold),
        min_region=config.min_region,
    )


def predict_images(config):
    """Segments the images of `image`, or those that the user types."""
    images = expand_patterns(config.image)
    outputs = Outputs(take(Wanted, config))
    outputs.check_new([])
    unet = load_unet(config)
    names = ResultNames(config.dir_save_path, images)
    with outputs.writing(unet.description.name_classes):
        if images:
            drawn = [predict_image(config, unet, path, names, outputs) for path in images]
            say_notes(images, unet.description.value_range, outputs)
            return 0 if all(one is not None for one in drawn) else 1
        while path := ask_path():
            drawn = predict_image(config, unet, path, names, outputs)
            say_notes([path], unet.description.value_range, outputs)
            if drawn is not None and has_display():
                Image.fromarray(drawn).show()
    return 0


def ask_path():
    """Asks for a path; an empty line or the end of input gives ''."""
    try:
        # Pasted and dragged paths often come in quotes.
        return input("Input image filename: ").strip().strip("'\"")
    except EOFError:
        return ""


def predict_image(config, unet, path, names, outputs):
    """Segments an image file and saves the result.

    Returns:
        uint8 (H, W, 3), the coloured image; None if it could not be read, or has annotations
        already, which one line says.
    """
    try:
        pixels, details = read_for(unet, path, config.max_pixels), None
        if outputs.keep:
            mask, details = unet.predict_details(pixels, outputs.keep, progress=True)
        else:
            mask = unet.predict_array(pixels, progress=True)
        result = names.of(path)
        drawn = save_result(unet, outputs, result, pixels, mask, details, config.legend)
        if config.count:
            print(format_count(mask, unet.description.name_classes))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return None
    print(f"saved {result.drawn}")
    return drawn


def read_for(unet, path, max_pixels):
    """Reads an image file as the network takes it: uint8 (H, W, in_channels)."""
    described = unet.description
    return read_image(path, max_pixels, described.in_channels, described.value_range)


def predict_folder(config):
    """Segments all images of a folder, and of the folders in it, or a share of them."""
    job = take(Job, config, wanted=take(Wanted, config))
    if config.ray:
        check_ray()
        opened = open_on_ray(loader_of(config), job, config.ray, config.ray_workers)
    else:
        opened = open_here(lambda: load_unet(config), job)
    count, failed = segment_folder(job, opened)
    if failed:
        print(f"error: {len(failed)} of {count} images failed:", file=sys.stderr)
        print(*(f"  {error}" for error in failed.values()), sep="\n", file=sys.stderr)
    return 1 if failed else 0


def predict_video(config):
    """Segments every frame of a video."""
    unet = load_unet(config)
    channels = unet.description.in_channels
    if channels not in CONVERTED:
        raise UserError(
            f"The network takes images with {channels} channels, and a video has three. Give TIFF "
            "files with mode predict or dir_predict."
        )

    def draw(frame):
        pixels = to_array(Image.fromarray(frame), in_channels=1) if channels == 1 else frame
        return unet.draw(frame, unet.predict_array(pixels), config.legend)

    process_video(
        draw,
        config.video_path,
        config.video_save_path,
        config.video_fps,
        show=has_display() and not config.video_save_path,
    )
    return 0


def measure_speed(config):
    """Times the stages of segmenting an image, letterboxed to the network's size."""
    path = config.fps_image_path
    is_drawn = path == _SAMPLE and not Path(path).exists()
    height, width = _SAMPLE_SIZE if is_drawn else image_size(path)
    # Before the seconds that the network takes to load.
    check_pixels(width, height, path, config.max_pixels)
    unet = load_unet(config)
    if is_drawn:
        print(f"There is no {path}; an image of cells is drawn instead. Or set fps_image_path.")
        pixels, _ = draw_cells(_SAMPLE_SIZE, np.random.default_rng(0))
        pixels = pixels[..., np.arange(unet.description.in_channels) % 3]
    else:
        pixels = read_for(unet, path, config.max_pixels)
    stages = unet.time_stages(pixels, config.test_interval)
    stages["all"] = sum(stages.values())
    print(
        f"{width}x{height} pixels in, {config.test_interval} times\n"
        f"{'stage':<12} {'median ms':>10} {'p95 ms':>10} {'images/s':>11}"
    )
    for stage, seconds in stages.items():
        middle, high = np.percentile(seconds, (50, 95))
        print(f"{stage:<12} {1e3 * middle:>10.1f} {1e3 * high:>10.1f} {1 / middle:>11.1f}")
    return 0


def export(config):
    """Writes the network for other programs, each file checked against the network."""
    from utils.prediction.export import check_formats, export_model
    from utils.prediction.export_formats import INT8

    any_size = config.export_size == "any"
    check_formats(config.export_formats, any_size)
    # Before the seconds that the network takes to load.
    samples = spread_samples(config) if INT8 in config.export_formats else []
    unet = load_unet(config, precision="float32")
    model, described, options = unet.model, unet.description, {}
    if any_size:
        from nets.backbones import BACKBONES
        from nets.unet import build_blank

        model = build_blank(described)
        model.set_weights(unet.model.get_weights())
        options["multiple_of"] = BACKBONES[described.backbone].stride
    formats = tuple(one for one in config.export_formats if one != INT8)
    if formats:
        export_model(model, described, config.export_path, formats, unet.colors, **options)
    if samples:
        export_quantized(config, unet, samples)
    return 0


def spread_samples(config):
    """Validation samples, at most `int8_images`, spread evenly over the list."""
    from utils.data.voc import read_samples

    samples = read_samples(config.VOCdevkit_path, config.val_list)
    count = min(config.int8_images, len(samples))
    return [samples[index] for index in np.linspace(0, len(samples) - 1, count).round().astype(int)]


def export_quantized(config, unet, samples):
    """Writes the network in 8-bit integers, scored on samples as get_miou.py does."""
    from nets.unet import build_blank
    from utils.evaluation.evaluate import evaluate
    from utils.evaluation.metrics import score
    from utils.prediction.export_int8 import Validation, export_int8

    described = unet.description
    model = build_blank(described, described.network_shape, fused=False)
    model.set_weights(unet.model.get_weights())

    def miou_of(masks):
        counts = evaluate(samples, masks, described.num_classes, described.ignore_labels)
        return score(counts).miou

    paths = [sample.image_path for sample in samples]
    validation = Validation(paths, miou_of, config.int8_max_fall)
    export_int8(model, described, config.export_path, unet.colors, validation)


if __name__ == "__main__":
    run_script(main)
