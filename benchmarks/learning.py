"""How well the start weights and the loss learn: upstream's beside this project's.

    python benchmarks/learning.py --VOCdevkit_path isbi2012 --num_classes 2

Trains the same network from scratch on the same pictures for the same number of epochs, which
is the same time, and prints the validation mIoU. Variants, as UNet-keras' repo and article
and this project have them:

    repo      normal(0, 0.02) everywhere; cross-entropy
    article   Keras' default in the encoder, he_normal in the decoder; cross-entropy + Dice
    here      he_normal everywhere; cross-entropy + Dice
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

import train
from utils.config import load_config, run_script, settings

VARIANTS = {  # initializer of the encoder, of the rest, whether Dice is added
    "repo": ("normal", "normal", False),
    "article": ("glorot_uniform", "he_normal", True),
    "here": ("he_normal", "he_normal", True),
}


@settings
class LearningConfig:
    # What to train
    VOCdevkit_path: str = "VOCdevkit"  # folder that holds VOC2007
    num_classes: int = 21  # classes + 1 for the background
    ignore_labels: tuple[int, ...] = (255,)  # mask values that are void
    width: int = 64  # filters of the first block

    # How
    input_shape: tuple[int, int] = (192, 192)  # height, width of training pictures
    val_input_shape: tuple[int, int] = (512, 512)  # of validation
    scale: tuple[float, float] = (2.4, 3.0)  # least, most size of a picture, in input_shape
    epochs: int = 20  # of each variant
    batch_size: int = 4  # pictures a step
    init_lr: float = 3e-4  # highest learning rate
    seeds: tuple[int, ...] = (11,)  # one run of each variant for each
    variants: tuple[str, ...] = tuple(VARIANTS)  # which to run


def main(config=None):
    """Trains; `config` is a LearningConfig, or None to read the command line."""
    config = config or load_config(LearningConfig)
    for seed in config.seeds:
        for name in config.variants:
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                scores = run_variant(config, name, seed, folder)
            minutes = (time.perf_counter() - start) / 60
            line = ", ".join(f"{epoch}: {score:.3f}" for epoch, score in scores)
            print(f"{name}, seed {seed}, {minutes:.1f} min; mIoU after epochs {line}", flush=True)


def run_variant(config, name, seed, folder):
    """Trains one variant; returns [(epoch, validation mIoU)]."""
    encoder, rest, dice = VARIANTS[name]
    weights = Path(folder) / "start.weights.h5"
    write_start(config, encoder, rest, seed, weights)
    options = train.TrainConfig(
        VOCdevkit_path=config.VOCdevkit_path,
        num_classes=config.num_classes,
        ignore_labels=config.ignore_labels,
        width=config.width,
        model_path=str(weights),
        freeze_train=False,
        input_shape=config.input_shape,
        val_input_shape=config.val_input_shape,
        unfreeze_epoch=config.epochs,
        unfreeze_batch_size=config.batch_size,
        init_lr=config.init_lr,
        dice_loss=dice,
        scale=config.scale,
        jitter=0.1,
        save_dir=folder,
        save_period=0,
        eval_period=max(config.epochs // 4, 1),
        seed=seed,
    )
    with contextlib.redirect_stdout(io.StringIO()):
        train.main(options)
    (history,) = Path(folder).glob("loss_*/history.csv")
    with open(history, encoding="utf-8") as file:
        rows = [(int(row["epoch"]), float(row["val_miou"])) for row in csv.DictReader(file)]
    return [(epoch, score) for epoch, score in rows if score == score]  # not NaN


def write_start(config, encoder, rest, seed, path):
    """Writes start weights drawn by the initializers of the encoder and of the rest."""
    import keras

    from nets.stored import Description
    from nets.unet import Unet
    from nets.weights import save_weights
    from utils.voc import class_names

    keras.utils.set_random_seed(seed)
    model = Unet((*config.val_input_shape, 3), config.num_classes, width=config.width)
    for layer in model.layers:
        if layer.weights:
            kind = encoder if layer.name.startswith("block") else rest
            draw = (
                keras.initializers.RandomNormal(0, 0.02)
                if kind == "normal"
                else keras.initializers.get(kind)
            )
            layer.kernel.assign(draw(layer.kernel.shape))
    names = class_names(config.num_classes)
    described = Description(
        config.num_classes, "vgg", config.val_input_shape, names, config.width, config.ignore_labels
    )
    save_weights(model, path, described)


if __name__ == "__main__":
    run_script(main)
