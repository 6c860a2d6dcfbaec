"""Scores trained weights on the validation pictures: python get_miou.py

Prints IoU, recall and precision of each class, mIoU and accuracy, and writes them with
charts, a confusion matrix and the predicted masks into miou_out/.
"""

import csv
import json
from pathlib import Path

from errors import UserError
from nets.checks import check_num_classes
from utils.config import load_config, run_script, settings
from utils.lists import read_samples
from utils.voc import check_ignore_labels, class_names, read_label_ids


@settings
class MiouConfig:
    # Weights; what the file says of itself need not be said again
    model_path: str = "logs/best_epoch_weights.weights.h5"  # trained weights
    num_classes: int | None = None  # classes + 1 for the background; None: as the file says
    backbone: str | None = None  # encoder; None: as the file says
    input_shape: tuple[int, int] | None = None  # height, width; None: as the file says
    name_classes: tuple[str, ...] = ()  # names, the background first; empty: as the file says
    precision: str = "auto"  # auto, float32, mixed_bfloat16, mixed_float16; auto measures

    # Data
    VOCdevkit_path: str = "VOCdevkit"  # folder that holds VOC2007
    val_list: str = "val"  # list in ImageSets/Segmentation, or the path of a .txt file
    ignore_labels: tuple[int, ...] | None = None  # mask values left out; None: as in training

    # What to do
    miou_mode: int = 0  # 0: predict and score; 1: only predict; 2: only score what is predicted
    miou_out_path: str = "miou_out"  # where everything is written

    def check(self):
        """Raises UserError for values that make no sense."""
        if self.miou_mode not in (0, 1, 2):
            raise UserError(f"miou_mode must be 0, 1 or 2; got {self.miou_mode}.")
        check_ignore_labels(self.ignore_labels or ())
        if self.num_classes is not None:
            check_num_classes(self.num_classes)
        elif self.miou_mode == 2:
            raise UserError("miou_mode=2 reads no weights file: give num_classes.")


def main(config=None):
    """Evaluates; `config` is a MiouConfig, or None to read the command line.

    Returns:
        utils.metrics.Scores, or None with miou_mode 1.
    """
    config = config or load_config(MiouConfig)
    from utils.check import check_samples
    from utils.evaluate import evaluate, format_scores, scores_to_dict
    from utils.metrics import VOID, score
    from utils.plots import plot_bars, plot_confusion

    samples = read_samples(config.VOCdevkit_path, config.val_list)
    out = Path(config.miou_out_path)
    predictions = out / "detection-results"
    if config.miou_mode == 2:
        names = class_names(config.num_classes, config.name_classes)
        ignore_labels = (VOID,)
        predict = _stored_prediction(predictions)
    else:
        unet = _load_unet(config)
        names = unet.description.name_classes
        ignore_labels = unet.description.ignore_labels
        predict = _new_prediction(unet, predictions)
    if config.ignore_labels is not None:
        ignore_labels = config.ignore_labels
    # Before anything is written: a faulty mask leaves the results of an earlier run alone.
    check_samples([], samples, len(names), ignore_labels)
    if config.miou_mode == 1:
        for sample in samples:
            predict(sample)
        print(f"{len(samples)} predicted masks are in {predictions}.")
        return None
    matrix = evaluate(predict, samples, len(names), ignore_labels)
    scores = score(matrix)
    print(format_scores(scores, names))
    write_confusion_matrix(matrix, names, out / "confusion_matrix.csv")
    plot_confusion(matrix, names, out / "confusion_matrix.png")
    plot_bars(scores.iou, names, f"mIoU {scores.miou:.2%}", out / "mIoU.png")
    plot_bars(scores.recall, names, f"mean recall {scores.mean_recall:.2%}", out / "Recall.png")
    plot_bars(
        scores.precision,
        names,
        f"mean precision {scores.mean_precision:.2%}",
        out / "Precision.png",
    )
    results = {
        "model_path": None if config.miou_mode == 2 else config.model_path,
        "pictures": len(samples),
    }
    results |= {"ignore_labels": list(ignore_labels), **scores_to_dict(scores, names)}
    text = json.dumps(results, indent=2, ensure_ascii=False)
    (out / "results.json").write_text(text + "\n", encoding="utf-8")
    print(f"Masks, charts, confusion matrix and results.json are in {out}.")
    return scores


def _load_unet(config):
    # Imported here: TensorFlow takes seconds to load, and scoring stored masks does without.
    from unet import Unet

    unet = Unet(
        config.model_path,
        config.num_classes,
        config.backbone,
        config.input_shape,
        precision=config.precision,
        name_classes=config.name_classes,
    )
    print(unet.precision_reason)
    return unet


def _new_prediction(unet, folder):
    """A function that predicts a sample's mask and stores it as a palette PNG."""
    from utils.image import read_image
    from utils.voc import mask_to_image

    def predict(sample):
        folder.mkdir(parents=True, exist_ok=True)
        mask = unet.predict_array(read_image(sample.image_path))
        mask_to_image(mask).save(folder / f"{sample.name}.png")
        return mask

    return predict


def _stored_prediction(folder):
    """A function that reads a sample's predicted mask from a folder of class-id PNGs."""
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}. Put the predicted masks there.")

    def read(sample):
        path = folder / f"{sample.name}.png"
        if not path.is_file():
            raise UserError(f"There is no prediction {path}. Every picture of the list needs one.")
        return read_label_ids(path)

    return read


def write_confusion_matrix(matrix, names, path):
    """Writes the matrix as CSV: a row a true class, a column a predicted one."""
    with open(path, "w", newline="", encoding="utf-8-sig") as file:  # the BOM is for Excel
        writer = csv.writer(file)
        writer.writerow(["true \\ predicted", *names])
        writer.writerows([name, *row] for name, row in zip(names, matrix.tolist(), strict=True))


if __name__ == "__main__":
    run_script(main)
