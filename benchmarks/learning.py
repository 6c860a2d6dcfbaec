"""How well starts and recipes learn: upstream's beside this project's.

    python benchmarks/learning.py --VOCdevkit_path isbi2012 --num_classes 2

Trains the same network on the same images for the same number of epochs, which is the same time,
and prints the training loss and the validation mIoU after each. Starts, as unet-keras' repo and
article and this project have them, and plans:

    repo               normal(0, 0.02) everywhere; cross-entropy without Dice
    article            Keras' default in the encoder, he_normal in the decoder
    scratch            he_normal everywhere: this project's without weights
    imagenet           this project's: ImageNet's features of unit size
    imagenet_exact     ImageNet's features as they are
    imagenet_upstream  ImageNet's weights as they are, on RGB in [-1, 1]
    imagenet_measured  as imagenet, the sizes measured on the training images
    plan               train.py with plan=auto and --time_limit, from what weights there are
    plan_scratch       the same from scratch

Of plans the best weights by mIoU are scored: mIoU, and the share of wrong pixels, at full size.
"""

import contextlib
import csv
import io
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import get_miou
import train
from utils.config import load_config, run_script, settings
from utils.data.voc import read_samples
from utils.images.reading import read_image
from utils.images.transforms import normalize

STARTS = (
    "repo", "article", "scratch",
    "imagenet", "imagenet_exact", "imagenet_upstream", "imagenet_measured",
    "plan", "plan_scratch",
)  # fmt: skip
_INITIALIZERS = {  # of the encoder and of the rest
    "repo": ("normal", "normal"),
    "article": ("glorot_uniform", "he_normal"),
}


@settings
class LearningConfig:
    # What to train
    VOCdevkit_path: str = "VOCdevkit"  # folder that holds VOC2007
    num_classes: int = 21  # classes + 1 for the background
    ignore_labels: tuple[int, ...] = (255,)  # mask values that are void
    train_count: int = 0  # images, the first of the list; 0: all
    val_count: int = 0  # the same of the validation
    width: int = 64  # filters of the first block
    decoder_norm: str = "none"  # none, batch, group

    # How
    starts: tuple[str, ...] = ("repo", "article", "scratch")  # one training each
    head: float = 1.0  # factor of the head's start weights
    seeds: tuple[int, ...] = (11,)  # one training of each start for each
    input_shape: tuple[int, int] = (192, 192)  # height, width of training images
    val_input_shape: tuple[int, int] | None = None  # of validation; None: input_shape
    scale: tuple[float, float] = (0.25, 2.0)  # least, most size of an image, in input_shape
    jitter: float = 0.3  # change of the aspect ratio
    epochs: int = 20  # in all
    freeze_epochs: int = 0  # of these with the encoder frozen
    batch_size: int = 4  # images per step
    optimizer_type: str = "adam"  # adam or sgd
    init_lr: float = 3e-4  # highest learning rate
    weight_decay: float = 0.0  # decoupled
    eval_period: int = 5  # epochs between two scores
    time_limit: float = 12.0  # minutes of a plan, which chooses all of this part but the seeds
    tta: str = "none"  # none, h, hv: a plan's network is scored with averages over flips too


def main(config=None):
    """Trains; `config` is a LearningConfig, or None to read the command line."""
    config = config or load_config(LearningConfig)
    for start in config.starts:
        for seed in config.seeds:
            with tempfile.TemporaryDirectory() as folder:
                begin = time.perf_counter()
                plan = start.startswith("plan")
                rows = (run_plan if plan else run)(config, start, seed, Path(folder))
            minutes = (time.perf_counter() - begin) / 60
            losses = ", ".join(f"{row['epoch']}: {float(row['loss']):.2f}" for row in rows)
            scores = [(row["epoch"], float(row["val_miou"])) for row in rows]
            scores = ", ".join(f"{epoch}: {score:.3f}" for epoch, score in scores if score == score)
            print(
                f"{start}, seed {seed}, {minutes:.1f} min; loss {losses}; mIoU {scores}", flush=True
            )


def run(config, start, seed, folder):
    """Trains once; returns the rows of its history."""
    weights = folder / "start.weights.h5"
    write_start(config, start, seed, weights)
    lists = {
        f"{split}_list": write_list(config.VOCdevkit_path, split, count, folder)
        for split, count in (("train", config.train_count), ("val", config.val_count))
    }
    names = (
        "VOCdevkit_path", "num_classes", "ignore_labels", "width", "decoder_norm", "input_shape",
        "val_input_shape", "scale", "jitter", "optimizer_type", "init_lr", "weight_decay",
        "eval_period",
    )  # fmt: skip
    options = train.TrainConfig(
        **{name: getattr(config, name) for name in names},
        **lists,
        model_path=str(weights),
        freeze_train=config.freeze_epochs > 0,
        freeze_epoch=config.freeze_epochs,
        freeze_batch_size=config.batch_size,
        unfreeze_epoch=config.epochs,
        unfreeze_batch_size=config.batch_size,
        dice_loss=start != "repo",
        save_dir=str(folder),
        save_period=0,
        seed=seed,
    )
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        train.main(options)
    print(*[line for line in output.getvalue().splitlines() if line.startswith("Loss before")])
    return read_history(folder)


def read_history(folder):
    """The rows of the only run in a folder."""
    (history,) = folder.glob("loss_*/history.csv")
    with open(history, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def run_plan(config, start, seed, folder):
    """Trains once by a plan and prints the scores of the best weights; returns its history."""
    begin = time.perf_counter()
    output = io.StringIO()
    names = ("VOCdevkit_path", "num_classes", "ignore_labels", "time_limit")
    with contextlib.redirect_stdout(output):
        train.main(
            train.TrainConfig(
                **{name: getattr(config, name) for name in names},
                plan="auto",
                model_path="auto" if start == "plan" else "",
                save_dir=str(folder),
                seed=seed,
            )
        )
        minutes = (time.perf_counter() - begin) / 60
    print(next(folder.glob("loss_*/plan.txt")).read_text(encoding="utf-8"))
    print(f"{minutes:.1f} min of {config.time_limit:g}")
    for tta in dict.fromkeys(("none", config.tta)):
        with contextlib.redirect_stdout(output):
            scores = get_miou.main(
                get_miou.MiouConfig(
                    model_path=str(folder / "best_epoch_weights.weights.h5"),
                    VOCdevkit_path=config.VOCdevkit_path,
                    miou_out_path=str(folder / f"miou_out_{tta}"),
                    tta=tta,
                )
            )
        print(f"tta {tta}: mIoU {scores.miou:.4f}, wrong pixels {1 - scores.accuracy:.4f}")
    return read_history(folder)


def write_list(VOCdevkit_path, split, count, folder):
    """Writes a list of the first `count` images of a set's own list; returns its path."""
    names = [sample.name for sample in read_samples(VOCdevkit_path, split)]
    names = names[: count or None]
    path = folder / f"{split}.txt"
    path.write_text("\n".join(names) + "\n", encoding="utf-8")
    return str(path)


def write_start(config, start, seed, path):
    """Writes the weights that a training starts from."""
    import keras

    from nets.unet import build, small_head
    from nets.weights.description import HEAD, Description
    from nets.weights.storage import load_weights, save_weights
    from utils.labels import class_names

    keras.utils.set_random_seed(seed)
    description = Description(
        config.num_classes, "vgg", config.val_input_shape or config.input_shape,
        class_names(config.num_classes), config.width, config.ignore_labels,
        decoder_norm=config.decoder_norm,
    )  # fmt: skip
    options = {"head_initializer": small_head()} if start.startswith("imagenet") else {}
    model = build(description, encoder_initializer="he_normal", **options)
    if start in _INITIALIZERS:
        for layer in model.layers:
            if hasattr(layer, "kernel"):
                encoder, rest = _INITIALIZERS[start]
                kind = encoder if layer.name.startswith("block") else rest
                draw = (
                    keras.initializers.RandomNormal(0, 0.02)
                    if kind == "normal"
                    else keras.initializers.get(kind)
                )
                layer.kernel.assign(draw(layer.kernel.shape))
    elif start != "scratch":
        load_weights(model, read_imagenet(config, start, model), allow_mismatch=True)
    head = model.get_layer(HEAD)
    head.kernel.assign(head.kernel * config.head)
    save_weights(model, path, description)


def read_imagenet(config, start, model):
    """ImageNet's weights of VGG16, adapted as `start` says."""
    from nets.weights.imagenet_files import find_imagenet
    from nets.weights.keras_files import read_keras
    from nets.weights.storage import open_weights

    stored, raw = open_weights("imagenet", "vgg"), read_keras(find_imagenet("vgg"))
    if start == "imagenet":
        return stored
    if start == "imagenet_upstream":
        return raw
    # Exact: only the first convolution differs from Keras', for images of [-1, 1].
    kernel, bias = stored.layers["block1_conv1"]
    size = 127.5 * np.linalg.norm(raw.layers["block1_conv1"][0]) / np.linalg.norm(kernel)
    stored.layers = raw.layers | {"block1_conv1": [kernel * size, bias * size]}
    if start == "imagenet_measured":
        before = 1.0
        for name, size in measure(config, stored, model).items():
            kernel, bias = stored.layers[name]
            stored.layers[name] = [kernel * before / size, bias / size]
            before = size
    return stored


def measure(config, stored, model):
    """{layer: root mean square of its features} over some of the training images."""
    import keras

    from nets.weights.storage import load_weights

    load_weights(model, stored, allow_mismatch=True)
    outputs = [model.get_layer(name).output for name in stored.layers]
    features = keras.Model(model.inputs, outputs)
    squares = []
    for sample in read_samples(config.VOCdevkit_path, "train")[::20]:
        image = normalize(read_image(sample.image_path))
        height, width = (side // 16 * 16 for side in image.shape[:2])
        found = features.predict_on_batch(image[None, :height, :width])
        squares.append([np.square(array, dtype=np.float64).mean() for array in found])
    return dict(zip(stored.layers, np.sqrt(np.mean(squares, axis=0)), strict=True))


if __name__ == "__main__":
    run_script(main)
