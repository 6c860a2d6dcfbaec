"""Shows everything in under five minutes, without any data: python demo.py

Draws microscope-like images of cells into logs/demo/, then runs the project's own
scripts on them: voc_annotation.py, train.py, get_miou.py and predict.py. The training is planned
for the images, the machine and the time. Ends with a table of scores and a contact sheet of
images, truths and predictions.
"""

import time
from pathlib import Path

import numpy as np
from PIL import Image

import get_miou
import predict
import train
import voc_annotation
from utils.config import load_config, run_script, settings
from utils.data.masks import mask_to_image, read_label_ids
from utils.data.voc import read_samples
from utils.images.reading import read_image
from utils.images.sample import draw_cells

NAMES = ("background", "cell", "nucleus")


@settings
class DemoConfig:
    # What to draw
    folder: str = "logs/demo"  # where images, weights and results go
    images: int = 80  # how many
    size: tuple[int, int] = (112, 144)  # height, width
    seed: int = 1  # of the drawing

    # How to train
    minutes: float = 3.5  # that the training may take, planning included


def main(config=None):
    """Draws, trains, evaluates, predicts; `config` is a DemoConfig, or None."""
    config = config or load_config(DemoConfig)
    start = time.monotonic()
    folder = Path(config.folder)
    devkit, weights = folder / "VOCdevkit", folder / "best_epoch_weights.weights.h5"
    _title(f"1. Drawing {config.images} images into {devkit}")
    write_dataset(devkit, config.images, config.size, config.seed)
    _title("2. voc_annotation.py: which images train, which validate")
    voc_annotation.main(
        voc_annotation.AnnotationConfig(VOCdevkit_path=str(devkit), train_percent=0.85)
    )
    _title("3. train.py: the network, from scratch")
    train.main(
        train.TrainConfig(
            VOCdevkit_path=str(devkit),
            num_classes=len(NAMES),
            name_classes=NAMES,
            model_path="",
            plan="auto",
            time_limit=config.minutes,
            save_dir=str(folder),
            save_period=0,
            resume="never",
        )
    )
    _title("4. get_miou.py: scores on the validation images")
    miou_out = folder / "miou_out"
    scores = get_miou.main(
        get_miou.MiouConfig(
            model_path=str(weights), VOCdevkit_path=str(devkit), miou_out_path=str(miou_out)
        )
    )
    _title("5. predict.py: images in, coloured images out")
    samples = read_samples(devkit, "val")[:4]
    predict.main(
        predict.PredictConfig(
            model_path=str(weights),
            image=tuple(str(sample.image_path) for sample in samples),
            dir_save_path=str(folder / "img_out"),
        )
    )
    sheet = folder / "contact_sheet.png"
    write_contact_sheet(samples, miou_out / "detection-results", sheet)
    print(
        f"\nDone in {(time.monotonic() - start) / 60:.1f} minutes: mIoU {scores.miou:.2%} on "
        f"images that the network never saw.\nLook at {sheet}, {folder / 'img_out'} and "
        f"{miou_out}; the weights are {weights}."
    )
    return scores


def write_dataset(devkit, count, size, seed):
    """Draws a VOC folder of `count` images and masks of `size` (height, width)."""
    voc = Path(devkit) / "VOC2007"
    for name in ("JPEGImages", "SegmentationClass"):
        (voc / name).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        image, mask = draw_cells(size, np.random.default_rng((seed, index)))
        name = f"cells_{index:03d}"
        Image.fromarray(image).save(voc / "JPEGImages" / f"{name}.jpg", quality=95)
        mask_to_image(mask).save(voc / "SegmentationClass" / f"{name}.png")


def write_contact_sheet(samples, predictions, path):
    """Puts image, truth and stored prediction of each sample side by side."""
    from utils.plots import contact_sheet

    rows = [
        (
            sample.name,
            read_image(sample.image_path),
            read_label_ids(sample.mask_path),
            read_label_ids(Path(predictions) / f"{sample.name}.png"),
        )
        for sample in samples
    ]
    contact_sheet(rows, NAMES, path)


def _title(text):
    print(f"\n=== {text}", flush=True)


if __name__ == "__main__":
    run_script(main)
