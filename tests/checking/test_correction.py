"""A corrected copy that is only asked for is the one that is written."""

import json

import numpy as np
import pytest
from PIL import Image

from utils.checking.fix import fix_dataset, plan_fix
from utils.checking.pairs import find_pairs
from utils.data.masks import read_label_ids


@pytest.fixture
def folder(voc_dir):
    """A VOC folder with a mask of 16 bits, a turned image, a name in capitals, and a mask alone."""
    folder = voc_dir / "VOC2007"
    masks, images = folder / "SegmentationClass", folder / "JPEGImages"
    ids = read_label_ids(masks / "val_a.png")
    Image.fromarray(ids.astype(np.uint16)).save(masks / "val_a.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.open(images / "train_b.jpg").transpose(Image.Transpose.ROTATE_90).save(
        images / "train_b.jpg", exif=exif
    )
    (masks / "val_b.png").rename(masks / "VAL_B.png")
    (images / "train_a.jpg").unlink()
    return folder


def test_the_plan_is_what_is_written(folder):
    before = sorted(folder.parent.rglob("*"))
    plan = plan_fix(find_pairs(folder))
    assert sorted(folder.parent.rglob("*")) == before
    assert fix_dataset(folder, find_pairs(folder)) == 0
    report = json.loads((folder.parent / "VOC2007_fixed" / "fix_report.json").read_text("utf-8"))
    outcomes = plan.outcomes
    assert [one.name for one in outcomes if one.mask_changed] == report["masks_changed"]
    assert report["masks_changed"] == ["val_a"]
    assert [one.name for one in outcomes if one.image_changed] == report["pictures_changed"]
    assert report["pictures_changed"] == ["train_b"]
    assert {o.name: o.left_out for o in outcomes if o.left_out} == report["left_out"]
    assert report["left_out"] == {"train_a.png": "it has no image"}
    assert plan.renamed == {"val_b"}
    assert len(plan.kept) == report["kept"] == 5


def test_a_needless_plan(voc_dir):
    plan = plan_fix(find_pairs(voc_dir))
    assert plan.is_needless
    assert len(plan.kept) == 6
