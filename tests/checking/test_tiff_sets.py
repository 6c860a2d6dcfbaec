"""Sets of TIFF files of every kind: what trains also passes the check and gets into the copy."""

import numpy as np
import pytest
import tifffile
from PIL import Image

import voc_annotation
from errors import UserError
from utils.checking.problems import PROBLEMS
from utils.data.masks import mask_to_image, read_label_ids
from utils.images.reading import read_image
from voc_annotation import AnnotationConfig

IDS = np.zeros((20, 30), np.uint8)
IDS[5:15, 5:20] = 1
KINDS = [
    (dtype, photometric, planar)
    for dtype in ("uint8", "uint16", "int16", "float32")
    for photometric in ("rgb", "minisblack")
    for planar in (False, True)
]


@pytest.fixture
def base(tmp_path, rng):
    """A set of one file of each kind, with the same image of 0..255 times a factor."""
    folder = tmp_path / "VOC2007"
    (folder / "JPEGImages").mkdir(parents=True)
    (folder / "SegmentationClass").mkdir()
    for dtype, photometric, planar in KINDS:
        name = f"{dtype}_{photometric}_{planar}"
        colors = rng.integers(0, 256, (20, 30, 3)).astype(dtype)
        if dtype != "uint8":
            colors *= 16
        tifffile.imwrite(
            folder / "JPEGImages" / f"{name}.tif",
            np.ascontiguousarray(np.moveaxis(colors, -1, 0)) if planar else colors,
            photometric=photometric,
            planarconfig="separate" if planar else "contig",
        )
        mask_to_image(IDS).save(folder / "SegmentationClass" / f"{name}.png")
    return tmp_path


def test_the_check_takes_what_training_reads(base, capsys):
    assert voc_annotation.main(AnnotationConfig(str(base), num_workers=1)) == 0
    said = capsys.readouterr().out
    assert "problem" not in said
    for kind in ("uint16 (4)", "int16 (4)", "float32 (4)", ", 0 to 4080; read as 0..4095 (black"):
        assert kind in said


def test_the_corrected_copy_has_them_all(base, capsys):
    masks = base / "VOC2007" / "SegmentationClass"
    for path in masks.iterdir():
        Image.fromarray(IDS * 255).save(path)
    assert voc_annotation.main(AnnotationConfig(str(base), fix=True, num_workers=1)) == 0
    assert f"{len(KINDS)} pairs kept" in capsys.readouterr().out
    for path in (base / "VOC2007" / "JPEGImages").iterdir():
        copy = base / "VOC2007_fixed" / "JPEGImages" / path.name
        assert copy.read_bytes() == path.read_bytes()


def test_images_of_more_bits_are_not_cut_to_8_by_the_copy(tmp_path, rng):
    """Turned by EXIF against its mask, one of 8 bits is written anew; of 16, that loses bits."""
    folder = tmp_path / "VOC2007"
    for name in ("JPEGImages", "SegmentationClass"):
        (folder / name).mkdir(parents=True)
    for name in "ab":
        grey = rng.integers(0, 65536, (30, 20)).astype(np.uint16)
        exif = Image.Exif()
        exif[0x0112] = 6 if name == "a" else 1
        path = folder / "JPEGImages" / f"{name}.png"
        Image.fromarray(grey).save(path, exif=exif)
        size = read_image(path).shape[:2]
        ids = np.zeros(size[::-1] if name == "a" else size, np.uint8)
        ids[3:9, 3:9] = 255
        Image.fromarray(ids).save(folder / "SegmentationClass" / f"{name}.png")
    voc_annotation.main(AnnotationConfig(str(tmp_path), fix=True, num_workers=1))
    copies = tmp_path / "VOC2007_fixed" / "JPEGImages"
    assert [path.name for path in copies.iterdir()] == ["b.png"]
    original = folder / "JPEGImages" / "b.png"
    assert (copies / "b.png").read_bytes() == original.read_bytes()


def test_masks_of_several_pages_lose_no_classes_in_silence(base, capsys):
    """A class on each page, or on each frame: of those, the first alone would count."""
    masks = base / "VOC2007" / "SegmentationClass"
    first, second = sorted(masks.iterdir())[:2]
    pages = [Image.fromarray(IDS), Image.fromarray(IDS[::-1] * 2)]
    pages[0].save(first, save_all=True, append_images=pages[1:])
    pages[0].save(second.with_suffix(".tif"), save_all=True, append_images=pages[1:])
    second.unlink()
    with pytest.raises(UserError, match="not a class-id mask: it holds several images, of which"):
        read_label_ids(first)
    settings = {"num_workers": 1, "VOCdevkit_path": str(base)}
    assert voc_annotation.main(AnnotationConfig(**settings, check_only=True)) == 2
    assert f"problem: {PROBLEMS['mask_several'].title}: 1\n    {first}" in capsys.readouterr().out
    voc_annotation.main(AnnotationConfig(**settings, fix=True))
    said = capsys.readouterr().out
    for path in (first, second):
        assert f"left out: {path.stem}: several images in one file: write all class ids" in said
