"""Damaged masks: checked and copied, or named; never a traceback, never half a copy."""

import io

import numpy as np
import pytest
from PIL import Image

import voc_annotation
from errors import UserError
from utils.checking import fix
from utils.data.masks import mask_to_image
from utils.labels import voc_palette
from voc_annotation import AnnotationConfig


def encode(kind, size=24):
    ids = np.zeros((size, size), np.uint8)
    ids[2:12, 2:12], ids[14:22, 4:20] = 1, 2
    image = {
        "palette": lambda: mask_to_image(ids),
        "grey": lambda: Image.fromarray(ids * 100),
        "colour": lambda: Image.fromarray(voc_palette(3)[ids]),
        "alpha": lambda: Image.fromarray(np.dstack([ids] * 3 + [255 * (ids > 0)]).astype(np.uint8)),
        "deep": lambda: Image.fromarray(ids.astype(np.uint16) * 1000),
        "tiff": lambda: Image.fromarray(ids * 100),
    }[kind]()
    file = io.BytesIO()
    image.save(file, "TIFF" if kind == "tiff" else "PNG")
    return file.getvalue()


def mutate(data, rng):
    """Flips bytes, cuts, repeats or inserts."""
    data, way = bytearray(data), rng.integers(4)
    place = int(rng.integers(len(data)))
    if way == 0:
        for at in rng.integers(0, len(data), 1 + rng.integers(8)):
            data[at] = rng.integers(256)
    elif way == 1:
        del data[place:]
    elif way == 2:
        data[place:place] = data[place : place + 40]
    else:
        data[place:place] = rng.bytes(1 + int(rng.integers(20)))
    return bytes(data)


@pytest.mark.parametrize("kind", ["palette", "grey", "colour", "alpha", "deep", "tiff"])
def test_damaged_masks(tmp_path, kind, monkeypatch):
    # Charts take most of the time, and others test them.
    monkeypatch.setattr(fix, "before_after_sheet", lambda rows, path: None)
    monkeypatch.setattr(voc_annotation, "preview", lambda samples, meaning, path: False)
    rng = np.random.default_rng(sum(kind.encode()))
    folder = tmp_path / "VOC2007"
    for name in ("JPEGImages", "SegmentationClass"):
        (folder / name).mkdir(parents=True)
    for name in "ab":
        Image.new("RGB", (24, 24)).save(folder / "JPEGImages" / f"{name}.png")
        (folder / "SegmentationClass" / f"{name}.png").write_bytes(encode(kind))
    changed = folder / "SegmentationClass" / "b.png"
    statuses = set()
    for _ in range(34):
        changed.write_bytes(mutate(encode(kind), rng))
        for options in ({"check_only": True}, {"fix": True}):
            config = AnnotationConfig(VOCdevkit_path=str(tmp_path), num_workers=1, **options)
            try:
                statuses.add(voc_annotation.main(config))
            except UserError as error:
                assert str(error)
                statuses.add("error")
        copy = tmp_path / "VOC2007_fixed"
        if copy.exists():
            names = sorted(path.stem for path in (copy / "SegmentationClass").iterdir())
            assert names == sorted(path.stem for path in (copy / "JPEGImages").iterdir())
            for path in (copy / "SegmentationClass").iterdir():
                with Image.open(path) as mask:
                    assert mask.size == (24, 24)
                    mask.load()
            for path in sorted(copy.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            copy.rmdir()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["VOC2007"]
    assert len(statuses) > 1
