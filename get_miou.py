"""Scores trained weights on the validation images: python get_miou.py

Prints the scores of each class and their means, and writes them into miou_out/: a page to
look at (report.html), results.json, a table of all images, charts, a confusion matrix and
the predicted masks. Masks of any other program can be scored too:
python get_miou.py --miou_mode 2 --predictions_path their_masks --num_classes 21
"""

import dataclasses
import time
from pathlib import Path

from errors import UserError, check_at_least, check_choice
from nets.checks import check_num_classes
from utils.config import load_config, run_script, settings
from utils.data.masks import mask_to_image, read_label_ids
from utils.data.voc import read_samples
from utils.files import name_key, whole_file, write_json
from utils.images.channels import MAX_PIXELS
from utils.labels import check_ignore_labels, class_names
from utils.prediction.decide import parse_thresholds
from utils.prediction.engines import check_engine
from utils.prediction.ensemble import Paths
from utils.prediction.inference import check_tta


@settings
class MiouConfig:
    # Weights; what the file says of itself need not be said again
    model_path: Paths = "logs/best_epoch_weights.weights.h5"  # trained weights; of several the mean
    num_classes: int | None = None  # classes + 1 for the background; None: as the file says
    backbone: str | None = None  # encoder; None: as the file says
    input_shape: tuple[int, int] | None = None  # height, width, any; None: as the file says
    name_classes: tuple[str, ...] = ()  # names, the background first; empty: as the file says
    precision: str = "auto"  # auto, float32, mixed_bfloat16, mixed_float16; auto: as trained
    engine: str = "auto"  # auto, keras, onnxruntime, openvino; auto: keras unless slower

    # How to predict
    batch_size: int = 4  # images the network takes at a time
    tta: str = "none"  # averages over flips; none, h: also mirrored, hv: and upside down
    tile: bool | None = None  # large ones in unscaled tiles; None: above 50 million pixels
    max_pixels: int = MAX_PIXELS  # images of more are refused
    threshold: tuple[str, ...] = ()  # CLASS:0.3: pixels are CLASS from there on, and only then
    min_region: int = 0  # pixels; smaller regions take the class around them

    # Data
    VOCdevkit_path: str = "VOCdevkit"  # folder that holds VOC2007
    val_list: str = "val"  # list in ImageSets/Segmentation, or the path of a .txt file
    ignore_labels: tuple[int, ...] | None = None  # mask values left out; None: as in training

    # What to do
    miou_mode: int = 0  # 0: predict and score; 1: only predict; 2: only score what is predicted
    predictions_path: str = ""  # masks for miou_mode 2; empty: miou_out_path/detection-results
    miou_out_path: str = "miou_out"  # where everything is written

    def check(self):
        """Raises UserError for values that make no sense."""
        check_choice("miou_mode", self.miou_mode, (0, 1, 2))
        if self.predictions_path and self.miou_mode != 2:
            raise UserError(
                f"predictions_path is read with miou_mode 2; got miou_mode {self.miou_mode}."
            )
        check_engine(self.engine, self.precision)
        check_tta(self.tta)
        check_at_least(self, 1, "batch_size", "max_pixels")
        check_at_least(self, 0, "min_region")
        parse_thresholds(self.threshold)
        if self.miou_mode == 2 and (self.threshold or self.min_region):
            raise UserError(
                "miou_mode 2 scores masks as they are stored: leave out threshold and min_region."
            )
        check_ignore_labels(self.ignore_labels or ())
        if self.num_classes is not None:
            check_num_classes(self.num_classes)
        elif self.miou_mode == 2:
            raise UserError("miou_mode=2 reads no weights file: give num_classes.")

    @property
    def predictions(self):
        """Path of the folder of predicted masks."""
        return Path(self.predictions_path or Path(self.miou_out_path) / "detection-results")


def main(config=None):
    """Evaluates; `config` is a MiouConfig, or None to read the command line.

    Returns:
        utils.evaluation.metrics.Scores, or None with miou_mode 1.
    """
    config = config or load_config(MiouConfig)
    from utils.checking.problems import format_brightness
    from utils.checking.report import check_samples
    from utils.evaluation.evaluate import evaluate
    from utils.evaluation.html_report import Evaluation
    from utils.evaluation.metrics import score
    from utils.evaluation.score_tables import find_other_classes, format_scores, score_image
    from utils.labels import VOID

    samples = read_samples(config.VOCdevkit_path, config.val_list)
    if config.miou_mode == 2:
        names, facts = class_names(config.num_classes, config.name_classes), {}
        ignore_labels, in_channels, value_range = (VOID,), None, None
        masks = _stored_masks(samples, config.predictions)
    else:
        unet = _load_unet(config)
        names = unet.description.name_classes
        facts = {"size": unet.size_reason, "decision": unet.decision.describe(names)}
        ignore_labels = unet.description.ignore_labels
        in_channels = unet.description.in_channels
        value_range = unet.description.value_range
        masks = _predictions(unet, samples, config)
    if config.ignore_labels is not None:
        ignore_labels = config.ignore_labels
    # Before anything is written: a faulty mask leaves the results of an earlier run alone.
    report = check_samples(
        [], samples, len(names), ignore_labels, in_channels=in_channels, value_range=value_range
    )
    if config.miou_mode != 2 and (notes := format_brightness(report)):
        print(notes)
    if report.classes and report.classes[-1] + 1 < len(names):
        print(
            f"note: the largest id of these masks is {report.classes[-1]}, and the predictions "
            f"have ids 0 to {len(names) - 1}. Are they made for the same classes?"
        )
    if config.miou_mode == 1:
        count = sum(1 for _ in masks)
        print(f"{count} predicted masks are in {config.predictions}.")
        return None
    images = []
    counts = evaluate(
        samples,
        masks,
        len(names),
        ignore_labels,
        boundary=True,
        on_image=lambda *image: images.append(score_image(*image)),
    )
    scores = score(counts)
    print(format_scores(scores, names))
    if warning := find_other_classes(scores, names):
        print(warning)
    facts, folder = _facts(config, len(samples), facts), config.predictions
    settings = dataclasses.asdict(config)
    write_results(config, Evaluation(facts, names, ignore_labels, scores, images, folder, settings))
    return scores


def _load_unet(config):
    from unet import Unet

    unet = Unet(
        config.model_path,
        config.num_classes,
        config.backbone,
        config.input_shape,
        precision=config.precision,
        name_classes=config.name_classes,
        tile=config.tile,
        tta=config.tta,
        max_pixels=config.max_pixels,
        engine=config.engine,
        threshold=parse_thresholds(config.threshold),
        min_region=config.min_region,
    )
    print(unet.report)
    print(unet.precision_reason)
    if unet.size_reason:
        print(unet.size_reason)
    return unet


def _predictions(unet, samples, config):
    """Yields the predicted mask of each sample, uint8 (H, W), in order; stores them too."""

    def store(path, _, mask):
        with whole_file(config.predictions / f"{path.stem}.png") as temporary:
            mask_to_image(mask).save(temporary)
        return mask

    paths = [sample.image_path for sample in samples]
    alone = config.miou_mode == 1  # scoring has a bar of its own
    for outcome in unet.predict_files(paths, config.batch_size, store, "Predicting", alone):
        if outcome.error:
            raise outcome.error
        yield outcome.value


def _stored_masks(samples, folder):
    """An iterator of the samples' predicted masks in a folder of class-id PNGs."""
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}. Put the predicted masks there.")
    stored = {name_key(path.name): path for path in folder.iterdir()}
    paths = [folder / f"{sample.name}.png" for sample in samples]
    # An exact name first: the folder may hold it in two Unicode forms.
    paths = [path if path.is_file() else stored.get(name_key(path.name), path) for path in paths]
    for path in paths:
        if not path.is_file():
            raise UserError(f"There is no prediction {path}. Every image of the list needs one.")
    return map(read_label_ids, paths)


def _facts(config, count, more):
    stored, weights = config.miou_mode == 2, config.model_path
    weights = weights if isinstance(weights, str) else ", ".join(weights)
    return {
        "masks" if stored else "weights": str(config.predictions) if stored else weights,
        "images": f"{count:,} of the list {config.val_list} in {config.VOCdevkit_path}",
        "date": time.strftime("%Y-%m-%d %H:%M"),
        **{name: text for name, text in more.items() if text},
    }


def write_results(config, evaluation):
    """Writes the files of an `utils.evaluation.html_report.Evaluation` into the output folder."""
    from utils.evaluation.html_report import find_run, write_html_report
    from utils.evaluation.score_tables import (
        scores_to_dict,
        write_confusion_matrix,
        write_images,
    )
    from utils.plots import plot_scores

    out, names, scores = Path(config.miou_out_path), evaluation.names, evaluation.scores
    write_confusion_matrix(scores.counts.matrix, names, out / "confusion_matrix.csv")
    write_images(evaluation.images, names, out / "pictures.csv")
    plot_scores(scores, names, out)
    model_path = None if config.miou_mode == 2 else config.model_path
    results = {
        "model_path": model_path,
        "pictures": len(evaluation.images),
        "ignore_labels": list(evaluation.ignore_labels),
        **scores_to_dict(scores, names),
    }
    if "size" in evaluation.facts:  # scores at another size than that of the training
        results["input_shape"] = list(config.input_shape)
    if "decision" in evaluation.facts:  # scores of other masks than those of the probabilities
        results["threshold"] = parse_thresholds(config.threshold)
        results["min_region"] = config.min_region
    write_json(out / "results.json", results)
    # Of several weights files each has a run of its own.
    run = find_run(model_path) if model_path and isinstance(model_path, str) else None
    write_html_report(evaluation, run, out / "report.html")
    print(f"The report is {out / 'report.html'}; scores, charts and masks are beside it.")


if __name__ == "__main__":
    run_script(main)
