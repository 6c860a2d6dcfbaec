"""The corrected copy: every fix checks clean, and the original stays as it was."""

import hashlib
import json
import os
import re
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageDraw

import voc_annotation
from errors import UserError
from utils.checking import fix
from utils.data.masks import mask_to_image, read_label_ids
from utils.labels import voc_palette
from voc_annotation import AnnotationConfig


@pytest.fixture
def folder(voc_dir):
    return voc_dir / "VOC2007"


@pytest.fixture
def masks(folder):
    return folder / "SegmentationClass"


@pytest.fixture
def images(folder):
    return folder / "JPEGImages"


def ids_of(path):
    with Image.open(path) as image:
        return np.array(image)


def hashes(base):
    """{path: hash} of all files, whatever their names."""
    return {
        path.relative_to(base): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in base.rglob("*")
        if path.is_file()
    }


def main(path, **given):
    return voc_annotation.main(
        AnnotationConfig(VOCdevkit_path=str(path), **{"num_workers": 1} | given)
    )


@pytest.fixture
def run_fix(voc_dir, folder, capsys):
    """run_fix(**settings): (status, printed text, folder of the copy); the original is compared."""

    def run(**given):
        before = hashes(voc_dir)
        capsys.readouterr()
        status = main(voc_dir, fix=True, **given)
        after = hashes(voc_dir)
        assert {path: after.get(path) for path in before} == before
        assert {path.parts[0] for path in set(after) - set(before)} <= {"VOC2007_fixed"}
        return status, capsys.readouterr().out, folder.with_name("VOC2007_fixed")

    return run


def assert_clean(copy, capsys, **given):
    """The copy checks without a fatal problem, and a second fix changes and writes nothing."""
    assert main(copy, **given) == 0
    assert "problem" not in capsys.readouterr().out
    before = hashes(copy.parent)
    assert main(copy, fix=True, **given) == 0
    assert "Nothing to fix: all " in capsys.readouterr().out
    assert hashes(copy.parent) == before


def soft_disc(size, value=255):
    """(grey mask with soft edges, where it is background, where it is object)."""
    image = Image.new("L", (size[1] * 4, size[0] * 4))
    ImageDraw.Draw(image).ellipse([40, 40, size[1] * 3, size[0] * 3], fill=value)
    grey = np.array(image.resize(size[::-1], Image.Resampling.BOX))
    return grey, grey == 0, grey == value


# Fixes


def as_0_255(ids):
    return Image.fromarray(np.where((ids == 0) | (ids == 255), 0, 255).astype(np.uint8))


def as_gaps(ids):
    table = np.arange(256, dtype=np.uint8)
    table[[1, 2]] = 50, 100
    return mask_to_image(table[ids])


def as_colors(ids):
    return Image.fromarray(voc_palette(256)[ids])


def as_grey_colors(ids):
    return Image.fromarray(ids).convert("RGB")


def as_alpha(ids):
    return Image.fromarray(ids).convert("RGBA")


def as_16_bit(ids):
    return Image.fromarray(ids.astype(np.uint16))


def same(ids):
    return ids


def objects_are_1(ids):
    return np.where((ids == 0) | (ids == 255), 0, 1)


@pytest.mark.parametrize(
    ("change", "expected", "moved"),
    [
        (as_0_255, objects_are_1, "values to ids: 0 -> 0, 255 -> 1\n"),
        (as_gaps, same, "values to ids: 0 -> 0, 50 -> 1, 100 -> 2, 255 -> 255\n"),
        (as_colors, same, ""),
        (as_grey_colors, same, ""),
        (as_alpha, same, ""),
        (as_16_bit, same, ""),
    ],
)
def test_fixes_of_all_masks(run_fix, masks, capsys, change, expected, moved):
    originals = {path.name: ids_of(path) for path in masks.iterdir()}
    for name, ids in originals.items():
        change(ids).save(masks / name)
    status, text, copy = run_fix()
    assert status == 0
    assert "6 pairs kept: 6 masks and 0 images changed; 0 left out.\n" in text
    assert moved in text
    assert moved or "values to ids" not in text
    for name, ids in originals.items():
        path = copy / "SegmentationClass" / name
        with Image.open(path) as image:
            assert (image.format, image.mode) == ("PNG", "P")
        assert read_label_ids(path).tolist() == expected(ids).tolist()
    assert_clean(copy, capsys)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_soft_edges_become_void(run_fix, masks, capsys, mode):
    sizes = {path.name: ids_of(path).shape for path in masks.iterdir()}
    discs = {name: soft_disc(size) for name, size in sizes.items()}
    for name, (grey, _, _) in discs.items():
        Image.fromarray(grey).convert(mode).save(masks / name)
    status, _, copy = run_fix()
    assert status == 0
    for name, (_, background, inside) in discs.items():
        ids = read_label_ids(copy / "SegmentationClass" / name)
        assert (ids[background] == 0).all()
        assert (ids[inside] == 1).all()
        assert (ids[~background & ~inside] == 255).all()
        assert (~background & ~inside).any()
    assert_clean(copy, capsys)


def test_a_colour_map(run_fix, masks, tmp_path, capsys):
    colors = np.zeros((256, 3), np.uint8)
    colors[[0, 1, 2, 255]] = (9, 9, 9), (255, 0, 0), (0, 255, 0), (255, 255, 255)
    path = tmp_path / "colors.txt"
    path.write_text("9 9 9 background\n255 0 0 cat\n0 255 0 big dog\n255 255 255 void\n")
    originals = {path.name: ids_of(path) for path in masks.iterdir()}
    for name, ids in originals.items():
        Image.fromarray(colors[ids]).save(masks / name)
    status, _, copy = run_fix(color_map=str(path))
    assert status == 0
    assert (copy / "classes.txt").read_text("utf-8") == "background\ncat\nbig dog\n"
    for name, ids in originals.items():
        assert read_label_ids(copy / "SegmentationClass" / name).tolist() == ids.tolist()
    assert_clean(copy, capsys)


def test_unknown_colours_are_listed_with_their_counts(run_fix, masks, capsys):
    for name, color, pixels in (("train_a", (1, 2, 3), 7), ("train_b", (1, 2, 3), 2)):
        colors = voc_palette(256)[ids_of(masks / f"{name}.png")]
        colors[20, 10 : 10 + pixels] = color
        colors[30, 5] = 250, 0, 0
        Image.fromarray(colors).save(masks / f"{name}.png")
    status, text, copy = run_fix()
    assert status == 0
    assert "4 pairs kept: 0 masks and 0 images changed; 2 left out.\n" in text
    assert "  left out: train_a: 2 colours stand for no class\n" in text
    assert (
        "without a class (name colours in a file for --color_map):\n"
        "  1 2 3: 9 pixels\n  250 0 0: 2 pixels\n"
    ) in text
    assert sorted(path.stem for path in (copy / "JPEGImages").iterdir()) == [
        "train_c",
        "train_d",
        "val_a",
        "val_b",
    ]
    assert_clean(copy, capsys)


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("drawn", ["upright", "as stored"])
def test_images_with_exif(run_fix, folder, images, masks, capsys, orientation, drawn):
    stored = np.zeros((40, 60, 3), np.uint8)
    stored[:20, :30] = 200, 0, 0
    stored[20:, :30] = 0, 200, 0
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = images / "train_a.jpg"
    Image.fromarray(stored).save(path, exif=exif, quality=100, subsampling=0)
    turns = orientation >= 5
    size = (60, 40) if turns and drawn == "upright" else (40, 60)
    ids = np.zeros(size, np.uint8)
    ids[5:20, 5:20] = 1
    ids[20:30] = 2
    mask_to_image(ids).save(masks / "train_a.png")

    status, text, copy = run_fix()
    assert status == 0
    assert "6 pairs kept: 0 masks and 1 images changed; 0 left out.\n" in text
    with Image.open(copy / "JPEGImages" / "train_a.png") as image:
        assert image.getexif().get(0x0112) is None
        fixed = np.array(image)
    # Where both ways fit, the image is shown upright, as all programs do.
    upright = {
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: np.rot90(stored, 2).transpose(1, 0, 2),
        8: np.rot90(stored),
    }[orientation]
    expected = stored if turns and drawn == "as stored" else upright
    assert fixed.shape == expected.shape == (*size, 3)
    assert np.abs(fixed.astype(int) - expected).max() < 30
    assert not (copy / "JPEGImages" / "train_a.jpg").exists()
    assert_clean(copy, capsys)


@pytest.mark.parametrize("name", ["Train_A.png", "train_a .png", "train_a.jpg.png", "train_a.bmp"])
def test_almost_pairs_are_renamed(run_fix, masks, capsys, name):
    ids = ids_of(masks / "train_a.png")
    with Image.open(masks / "train_a.png") as image:
        image.save(masks / name)
    (masks / "train_a.png").unlink()
    status, text, copy = run_fix()
    assert status == 0
    assert "6 pairs kept: " in text
    assert read_label_ids(copy / "SegmentationClass" / "train_a.png").tolist() == ids.tolist()
    assert (copy / "JPEGImages" / "train_a.jpg").exists()
    assert_clean(copy, capsys)


@pytest.mark.parametrize("end", ["_mask.png", "_label.tif", "-seg.bmp", "_segmentation.gif"])
def test_masks_named_by_a_rule_are_named_as_their_images(run_fix, masks, capsys, end):
    ids = {path.stem: ids_of(path).tolist() for path in masks.iterdir()}
    for path in sorted(masks.iterdir()):
        # Pillow renumbers the palette of a GIF unless it is told not to.
        options = {"optimize": False} if end.endswith(".gif") else {}
        with Image.open(path) as image:
            image.save(masks / f"{path.stem}{end}", **options)
        path.unlink()
    status, text, copy = run_fix()
    assert status == 0
    assert "The masks of 6 pairs are named as their images." in text
    copied = {path.name: read_label_ids(path).tolist() for path in copy.glob("*Class/*")}
    assert copied == {f"{name}.png": value for name, value in ids.items()}
    assert_clean(copy, capsys)


def test_other_unicode_forms_are_made_equal(run_fix, images, masks, capsys):
    composed, apart = "é한", "e\u0301\u1112\u1161\u11ab"
    (images / "train_a.jpg").rename(images / f"{composed}.jpg")
    (masks / "train_a.png").rename(masks / f"{apart}.png")
    # Another mask has a problem, so that there is something to do.
    Image.fromarray(ids_of(masks / "val_b.png").astype(np.uint16)).save(masks / "val_b.png")
    status, _, copy = run_fix()
    assert status == 0
    assert (copy / "SegmentationClass" / f"{composed}.png").is_file()
    assert (copy / "JPEGImages" / f"{composed}.jpg").is_file()
    assert_clean(copy, capsys)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
@pytest.mark.parametrize("name", ["a\nb", "caf\udce9"])
def test_names_that_a_list_can_t_hold_are_left_out(run_fix, images, masks, capsys, name):
    (images / f"{name}.jpg").write_bytes((images / "train_a.jpg").read_bytes())
    (masks / f"{name}.png").write_bytes((masks / "train_a.png").read_bytes())
    status, text, copy = run_fix()
    assert status == 0
    assert f"  left out: {name + '.jpg'!r}: a list can't hold the name\n" in text
    assert_clean(copy, capsys)


def test_a_place_where_no_copy_can_be_written(folder, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(fix.Path, "mkdir", refuse)
    monkeypatch.setattr(fix, "read_content", lambda _: pytest.fail("masks are read before"))
    with pytest.raises(UserError) as caught:
        main(folder.parent, fix=True)
    assert str(caught.value) == (
        f"{folder}_fixed can't be written: Permission denied. The copy goes beside the dataset: "
        f"copy {folder} to a place where you may write, and give that as VOCdevkit_path."
    )


@pytest.mark.parametrize("num_classes", [None, 21])
def test_ids_below_num_classes_stay(run_fix, masks, capsys, num_classes):
    for path in masks.iterdir():
        ids = ids_of(path)
        mask_to_image(np.where(ids == 2, 15, ids % 255).astype(np.uint8)).save(path)
        os.utime(path, (1, 1))
    # One mask has another problem, so that there is something to do.
    ids = ids_of(masks / "val_b.png")
    Image.fromarray(ids.astype(np.uint16)).save(masks / "val_b.png")
    _, _, copy = run_fix(num_classes=num_classes)
    fixed = read_label_ids(copy / "SegmentationClass" / "val_b.png")
    assert sorted(np.unique(fixed).tolist()) == ([0, 1, 15] if num_classes else [0, 1, 2])
    assert_clean(copy, capsys, num_classes=num_classes)


# What can't be fixed


def spoil(images, masks, problem):
    """Spoils val_b; returns why it is left out."""
    mask, image = masks / "val_b.png", images / "val_b.jpg"
    if problem == "broken mask":
        mask.write_bytes(mask.read_bytes()[:60])
        return r"val_b: can't be read: .+"
    if problem == "broken image":
        image.write_bytes(image.read_bytes()[:300])
        return r"val_b: The image .+val_b\.jpg can't be read: .+"
    if problem == "other size":
        mask_to_image(np.zeros((7, 9), np.uint8)).save(mask)
        return r"val_b: image \(90, 31\) and mask \(7, 9\) differ in size"
    if problem == "lossy":
        Image.new("L", (31, 90)).save(mask, "JPEG")
        return r"val_b: compressed with loss"
    if problem == "transparent":
        Image.new("RGBA", (31, 90), (0, 0, 0, 9)).save(mask)
        return r"val_b: partly transparent"
    if problem == "no mask":
        mask.unlink()
        return r"val_b\.jpg: it has no mask"
    if problem == "no image":
        image.unlink()
        return r"val_b\.png: it has no image"
    (images / "val_b.png").write_bytes(image.read_bytes())
    return r"val_b\.jpg and val_b\.png: one name stands for two files"


@pytest.mark.parametrize(
    "problem",
    [
        "broken mask",
        "broken image",
        "other size",
        "lossy",
        "transparent",
        "no mask",
        "no image",
        "two images",
    ],
)
def test_what_can_not_be_fixed_is_left_out_and_listed(run_fix, images, masks, capsys, problem):
    reason = spoil(images, masks, problem)
    status, text, copy = run_fix()
    assert status == 0
    assert "5 pairs kept: 0 masks and 0 images changed; 1 left out.\n" in text
    assert re.search(f"^  left out: {reason}$", text, re.MULTILINE), text
    report = json.loads((copy / "fix_report.json").read_text("utf-8"))
    assert [re.fullmatch(reason, f"{k}: {v}") is None for k, v in report["left_out"].items()] == [
        False
    ]
    assert report["kept"] == 5
    for name in ("JPEGImages", "SegmentationClass"):
        kept = sorted(path.stem for path in (copy / name).iterdir())
        assert kept == ["train_a", "train_b", "train_c", "train_d", "val_a"]
    assert_clean(copy, capsys)


def test_many_left_out_are_counted(run_fix, images, masks):
    for index in range(fix._LISTED + 2):
        Image.new("RGB", (4, 4)).save(images / f"x{index:02}.png")
        Image.new("L", (4, 5)).save(masks / f"x{index:02}.png")
    _, text, copy = run_fix()
    assert text.count("left out: ") == fix._LISTED
    assert "  and 2 more, all in fix_report.json\n" in text
    report = json.loads((copy / "fix_report.json").read_text("utf-8"))
    assert len(report["left_out"]) == fix._LISTED + 2


def test_nothing_that_could_be_kept(run_fix, masks):
    for path in masks.iterdir():
        path.write_bytes(b"no mask")
    status, text, copy = run_fix()
    assert status == 2
    assert text.endswith("Nothing could be kept, so nothing was written.\n")
    assert not copy.exists()


# The copy


def test_a_sound_folder_is_not_copied(run_fix, voc_dir):
    before = hashes(voc_dir)
    status, text, copy = run_fix()
    assert (status, text) == (0, "Nothing to fix: all 6 pairs are as they should be.\n")
    assert not copy.exists()
    assert hashes(voc_dir) == before


def test_what_is_right_is_copied_byte_by_byte(run_fix, images, masks):
    as_16_bit(ids_of(masks / "val_a.png")).save(masks / "val_a.png")
    before = {path.name: path.read_bytes() for path in [*images.iterdir(), *masks.iterdir()]}
    _, text, copy = run_fix()
    assert "6 pairs kept: 1 masks and 0 images changed; 0 left out.\n" in text
    files = [*(copy / "JPEGImages").iterdir(), *(copy / "SegmentationClass").iterdir()]
    after = {path.name: path.read_bytes() for path in files}
    assert set(after) == set(before)
    assert [name for name in before if after[name] != before[name]] == ["val_a.png"]


def test_lists_report_and_contact_sheet(run_fix, masks):
    for path in masks.iterdir():
        as_gaps(ids_of(path)).save(path)
    _, text, copy = run_fix()
    assert text.endswith(f"The corrected copy is {copy}; train with --VOCdevkit_path {copy}.\n")
    lists = {path.stem: path.read_text().split() for path in copy.glob("ImageSets/*/*.txt")}
    assert {name: len(names) for name, names in lists.items()} == {
        "train": 5,
        "val": 1,
        "trainval": 6,
        "test": 0,
    }
    report = json.loads((copy / "fix_report.json").read_text("utf-8"))
    assert report == {
        "kept": 6,
        "masks_changed": sorted(path.stem for path in masks.iterdir()),
        "pictures_changed": [],
        "left_out": {},
        "values_to_ids": {"0": 0, "50": 1, "100": 2, "255": 255},
        "colors_to_ids": {},
        "readings": [],
    }
    with Image.open(copy / "before_after.png") as sheet:
        colors = {color for _, color in sheet.convert("RGB").getcolors(1 << 24)}
    assert tuple(voc_palette(3)[1]) in colors
    assert tuple(voc_palette(51)[50]) in colors


def test_the_contact_sheet_shows_a_few(run_fix, images, masks, monkeypatch):
    shown = []
    monkeypatch.setattr(fix, "before_after_sheet", lambda rows, path: shown.extend(rows))
    for index in range(fix.SHOWN):
        Image.new("RGB", (4, 4)).save(images / f"a{index}.png")
        Image.new("I;16", (4, 4), index % 2).save(masks / f"a{index}.png")
    as_16_bit(ids_of(masks / "val_a.png")).save(masks / "val_a.png")
    run_fix()
    assert [row[0] for row in shown] == [f"a{index}" for index in range(fix.SHOWN)]


def test_the_folder_may_be_the_working_directory(folder, masks, monkeypatch):
    as_16_bit(ids_of(masks / "val_a.png")).save(masks / "val_a.png")
    monkeypatch.chdir(folder)
    assert main(".", fix=True) == 0
    assert (folder.parent / "VOC2007_fixed" / "SegmentationClass" / "val_a.png").exists()


# Interruptions


@pytest.mark.parametrize("error", [RuntimeError("disk on fire"), KeyboardInterrupt()])
@pytest.mark.parametrize(
    "where", ["find_meaning", "_write_mask", "_write_image", "write_lists", "before_after_sheet"]
)
def test_an_interruption_leaves_nothing(voc_dir, masks, monkeypatch, error, where):
    for path in masks.iterdir():
        as_gaps(ids_of(path)).save(path)
    before = hashes(voc_dir)
    calls = []

    def interrupt(*args, **options):
        calls.append(args)
        # The middle of the work, where there is one.
        if where.startswith("_write") and len(calls) < 3:
            return original(*args, **options)
        raise error

    original = getattr(fix, where)
    monkeypatch.setattr(fix, where, interrupt)
    with pytest.raises(type(error)):
        main(voc_dir, fix=True)
    assert hashes(voc_dir) == before
    assert [path.name for path in voc_dir.iterdir()] == ["VOC2007"]


def test_an_existing_target_is_refused(voc_dir, folder, masks):
    as_16_bit(ids_of(masks / "val_a.png")).save(masks / "val_a.png")
    target = folder.with_name("VOC2007_fixed")
    target.mkdir()
    (target / "mine.txt").write_text("mine")
    before = hashes(voc_dir)
    with pytest.raises(UserError) as caught:
        main(voc_dir, fix=True)
    assert str(caught.value) == (
        f"{target} exists already. Remove or rename it, then run this again."
    )
    assert hashes(voc_dir) == before


def test_a_faulty_colour_map_writes_nothing(voc_dir, tmp_path):
    (tmp_path / "colors.txt").write_text("0 0 0")
    with pytest.raises(
        UserError, match=r"colors\.txt, line 1: found '0 0 0'. Expected 'r g b name'"
    ):
        main(voc_dir, fix=True, color_map=str(tmp_path / "colors.txt"))
    assert [path.name for path in voc_dir.iterdir()] == ["VOC2007"]


def test_stray_blends_in_a_smoothed_set_are_no_classes(tmp_path, write_image, capsys):
    """Resampling leaves values that stand next to an equal one, or in a mask of few values."""
    rng = np.random.default_rng(0)
    for index in range(4):
        mask = np.zeros((64, 64), np.uint8)
        mask[10:40, 12 : 30 + 5 * index] = 255
        if index < 3:
            large = Image.fromarray(mask).resize((101, 101), Image.Resampling.BILINEAR)
            mask = np.array(large.resize((64, 64), Image.Resampling.BILINEAR))
        else:
            mask[50, 50] = 11  # alone, where nothing else tells it from a class
        folder = tmp_path / "VOC2007"
        write_image(folder / "SegmentationClass" / f"{index}.png", mask)
        noise = rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)
        write_image(folder / "JPEGImages" / f"{index}.png", noise)
    config = AnnotationConfig(VOCdevkit_path=str(tmp_path), fix=True)
    assert voc_annotation.main(config) == 0
    assert "values to ids: 0 -> 0, 255 -> 1" in capsys.readouterr().out
    fixed = [
        read_label_ids(tmp_path / "VOC2007_fixed" / "SegmentationClass" / f"{index}.png")
        for index in range(4)
    ]
    assert set(np.unique(fixed)) == {0, 1, 255}
    assert fixed[3][50, 50] == 255


def test_images_of_many_channels_are_copied_as_they_are(run_fix, images, masks, rng):
    (images / "train_a.jpg").unlink()
    (images / "train_b.jpg").unlink()
    five = images / "train_a.tif"
    tifffile.imwrite(five, rng.integers(0, 9, (40, 60, 5)).astype(np.uint16),
                     photometric="minisblack", planarconfig="contig")  # fmt: skip
    turned = images / "train_b.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    colors = rng.integers(0, 256, (40, 60, 4)).astype(np.uint8)
    Image.fromarray(colors).save(turned, exif=exif)  # upright it is 60x40, as its mask
    wrong = images / "train_c.tif"
    (images / "train_c.jpg").unlink()
    tifffile.imwrite(wrong, np.zeros((7, 8, 5), np.uint8),
                     photometric="minisblack", planarconfig="contig")  # fmt: skip
    mask_to_image(np.array(Image.open(masks / "train_a.png")) // 255 * 255).save(
        masks / "train_a.png"
    )
    status, text, copy = run_fix()
    assert status == 0
    assert "0 images changed; 1 left out" in text
    assert "train_c: image (7, 8) and mask (33, 80) differ in size" in text
    for path in (five, turned):
        assert (copy / "JPEGImages" / path.name).read_bytes() == path.read_bytes()
