"""Folders of annotations for tests: made, damaged, and converted by the script itself."""

import os
import random
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

import json_to_dataset
from errors import UserError
from json_to_dataset import ConvertConfig


def save(path, pixels, **given):
    """Saves uint8 (H, W) or (H, W, 3) under a path, whose folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **given)
    return path


def picture(path, size=(6, 8), seed=0):
    """Saves an image of noise."""
    return save(path, np.random.default_rng(seed).integers(0, 256, (*size, 3)))


def convert(folder, **given):
    """Converts a folder; returns (exit status, {name: mask as a list of lists}, classes)."""
    devkit = Path(folder).parent / "VOCdevkit"
    shutil.rmtree(devkit, ignore_errors=True)
    status = json_to_dataset.main(
        ConvertConfig(annotations=str(folder), VOCdevkit_path=str(devkit), num_workers=1, **given)
    )
    return status, masks_in(devkit / "VOC2007"), classes_in(devkit / "VOC2007")


def masks_in(folder):
    """{name: mask}; every mask has an image of its name and size, and no image stays without."""
    found = {}
    images = {path.stem: path for path in (folder / "JPEGImages").iterdir()}
    for path in (folder / "SegmentationClass").iterdir():
        mask = np.array(Image.open(path))
        assert Image.open(images.pop(path.stem)).size == mask.shape[::-1]
        found[path.stem] = mask.tolist()
    assert not images
    return found


def classes_in(folder):
    return (folder / "classes.txt").read_text(encoding="utf-8").splitlines()


def damage(folder, seed, extensions=()):
    """Changes one file of a folder, of one of the extensions, at random but the same each time."""
    generator = random.Random(seed)
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and (not extensions or path.suffix in extensions)
    )
    path = generator.choice(paths)
    data = bytearray(path.read_bytes())
    for _ in range(generator.randint(1, 3)):
        at = generator.randrange(len(data) + 1)
        change = generator.randrange(5)
        if change == 0:
            data[at : at + 1] = generator.choice([b"0", b"-", b",", b":", b"\n", b"\xff", b" "])
        elif change == 1:
            del data[at : at + generator.randint(1, 30)]
        elif change == 2:
            data[at:at] = data[at : at + generator.randint(1, 30)]
        elif change == 3:
            del data[at:]
        else:
            data[at:at] = bytes(generator.randrange(256) for _ in range(3))
    if generator.random() < 0.1:
        path.unlink()
    else:
        path.write_bytes(bytes(data))


def survives(folder, make, texts=(), seeds=range(200), **given):
    """Damages a folder again and again: a UserError and nothing left, or a whole data set.

    Args:
        folder: Path, which `make(folder)` fills.
        make: function.
        texts: extensions of text files; every other time one of these is damaged.
        seeds: iterable of int.
        given: settings.

    Returns:
        (how often there was a result, how often a refusal).
    """
    make(folder)
    beside = {*os.listdir(folder.parent)}
    contents = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    results = refusals = 0
    for seed in seeds:
        damage(folder, seed, texts if seed % 2 else ())
        try:
            convert(folder, **given)  # checks what it wrote
            results += 1
            assert {*os.listdir(folder.parent)} == {*beside, "VOCdevkit"}
        except UserError:
            refusals += 1
            assert {*os.listdir(folder.parent)} == beside
        for path, data in contents.items():
            if not path.exists() or path.read_bytes() != data:
                path.write_bytes(data)
    return results, refusals
