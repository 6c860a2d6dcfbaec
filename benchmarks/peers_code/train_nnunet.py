"""Trains nnU-Net v2 in 2D by its default plan; started by benchmarks/peers.py.

As shipped: its plan, its augmentation, SGD with momentum 0.99 at 0.01. Instead of 1,000 epochs
of 250 steps, its polynomial schedule follows the clock, so that it ends with the time, which
its planning and preprocessing are part of. It trains on the images of train.txt alone (its fold
0 is given them), and predicts with the mirrored averages that are its default.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path

_DATASET, _NAME = 900, "Dataset900_peer"


def write_raw(folder, num_classes):
    """Writes the images in nnU-Net's form; returns how many of training and validation."""
    raw = folder / "raw" / _NAME
    for name in ("imagesTr", "labelsTr", "imagesTs"):
        (raw / name).mkdir(parents=True)
    import cv2

    counts, has_void = {}, False
    for split in ("train", "val"):
        paths = sorted((folder / split / "images").iterdir())
        counts[split] = len(paths)
        for path in paths:
            case = f"{split}_{path.stem}"
            shutil.copy(path, raw / "imagesTr" / f"{case}_0000.png")
            mask = cv2.imread(str(folder / split / "masks" / path.name), cv2.IMREAD_UNCHANGED)
            has_void |= bool((mask == 255).any())
            mask[mask == 255] = num_classes
            cv2.imwrite(str(raw / "labelsTr" / f"{case}.png"), mask)
            if split == "val":
                shutil.copy(path, raw / "imagesTs" / f"{path.stem}_0000.png")
    labels = {"background": 0} | {f"class {i}": i for i in range(1, num_classes)}
    labels |= {"ignore": num_classes} if has_void else {}
    description = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": labels,
        "numTraining": sum(counts.values()),
        "file_ending": ".png",
        "overwrite_image_reader_writer": "NaturalImage2DIO",
    }
    (raw / "dataset.json").write_text(json.dumps(description))


def train(folder, limit, seed):
    """Plans and trains until the time is over; returns the folder of the weights."""
    begin = time.monotonic()
    import numpy as np
    import torch
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess,
    )
    from nnunetv2.run.run_training import get_trainer_from_args

    torch.manual_seed(seed)
    np.random.seed(seed)
    extract_fingerprints([_DATASET], num_processes=2)
    plan_experiments([_DATASET])
    preprocess([_DATASET], configurations=["2d"], num_processes=[2])
    prepared = folder / "preprocessed" / _NAME
    cases = sorted(path.stem for path in (folder / "raw" / _NAME / "labelsTr").iterdir())
    parts = {part: [case for case in cases if case.startswith(part)] for part in ("train", "val")}
    (prepared / "splits_final.json").write_text(json.dumps([parts]))
    plans = json.loads((prepared / "nnUNetPlans.json").read_text())
    chosen = plans["configurations"]["2d"]
    print(f"nnU-Net's plan: batch {chosen['batch_size']}, patch {chosen['patch_size']}", flush=True)
    trainer = get_trainer_from_args(_NAME, "2d", 0, device=torch.device("cpu"))
    trainer.on_train_start()
    trainer.network.train()
    steps = 0
    while (elapsed := time.monotonic() - begin) < limit:
        rate = trainer.initial_lr * (1 - elapsed / limit) ** 0.9
        for group in trainer.optimizer.param_groups:
            group["lr"] = rate
        loss = trainer.train_step(next(trainer.dataloader_train))["loss"]
        steps += 1
        if steps % 10 == 0:
            print(f"step {steps}: {elapsed / 60:.1f} min, loss {float(loss):.3f}", flush=True)
    print(f"{steps} steps", flush=True)
    trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
    return Path(trainer.output_folder).parent


def predict(folder, trained):
    """Writes the validation images' masks."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(
        device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False
    )
    predictor.initialize_from_trained_model_folder(str(trained), (0,), "checkpoint_final.pth")
    predictor.predict_from_files(
        str(folder / "raw" / _NAME / "imagesTs"),
        str(folder / "predictions"),
        num_processes_preprocessing=1,
        num_processes_segmentation_export=1,
    )


def main():
    """Trains and writes the validation images' masks."""
    folder, num_classes, minutes, seed = sys.argv[1:5]
    folder = Path(folder)
    for name, part in (("raw", "raw"), ("preprocessed", "preprocessed"), ("results", "results")):
        os.environ[f"nnUNet_{name}"] = str(folder / part)
    os.environ.setdefault("nnUNet_n_proc_DA", "1")  # of two cores
    write_raw(folder, int(num_classes))
    predict(folder, train(folder, 60 * float(minutes), int(seed)))


if __name__ == "__main__":
    main()
