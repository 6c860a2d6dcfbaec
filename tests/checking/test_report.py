"""Every problem by its name, made in a small folder; and the quick check before a training."""

import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageDraw

import voc_annotation
from errors import UserError
from utils.checking import scan
from utils.checking.content import MaskSummary
from utils.checking.problems import (
    PROBLEMS,
    class_weights,
    format_problems,
    format_report,
    report_to_dict,
)
from utils.checking.report import Report, check_samples, scan_into
from utils.checking.scan import Facts
from utils.data.masks import mask_to_image
from utils.data.voc import Sample, read_samples
from voc_annotation import AnnotationConfig


@pytest.fixture
def images(voc_dir):
    return voc_dir / "VOC2007" / "JPEGImages"


@pytest.fixture
def masks(voc_dir):
    return voc_dir / "VOC2007" / "SegmentationClass"


@pytest.fixture
def change(masks):
    """change(function, *names): rewrites the ids of these masks, or of all."""

    def rewrite(function, *names):
        for path in [masks / f"{name}.png" for name in names] or sorted(masks.iterdir()):
            with Image.open(path) as image:
                ids = np.array(image)
            mask_to_image(function(ids)).save(path)

    return rewrite


@pytest.fixture
def run(voc_dir, capsys):
    """run(**settings): (status, printed report, JSON report) of voc_annotation.main."""

    def check(**given):
        given = {"num_workers": 1, "check_only": True} | given
        status = voc_annotation.main(AnnotationConfig(VOCdevkit_path=str(voc_dir), **given))
        path = voc_dir / "VOC2007" / "ImageSets" / "Segmentation" / "check_report.json"
        return status, capsys.readouterr().out, json.loads(path.read_text("utf-8"))

    return check


def assert_problem(found, kind, count, *details):
    """The only problem, in the text, in the JSON, and as severe as it should be."""
    status, text, report = found
    fatal, title, remedy = PROBLEMS[kind]
    assert set(report["faults"]) == {kind}
    problem = report["faults"][kind]
    assert (problem["fatal"], problem["count"], problem["remedy"]) == (fatal, count, remedy)
    assert status == (2 if fatal else 0)
    assert f"{'problem' if fatal else 'note'}: {title}: {count:,}\n" in text
    assert f"  do: {remedy}" in text
    for detail in details:
        assert any(detail in line for line in problem["first"]), problem["first"]
        assert f"    {problem['first'][0]}\n" in text


def by_table(ids, **values):
    table = np.arange(256, dtype=np.uint8)
    for value, new in values.items():
        table[int(value[1:])] = new
    return table[ids]


TESTED = set()


def problem(kind):
    """Notes that a problem has a test."""
    TESTED.add(kind)
    return lambda function: function


# Problems


def test_a_sound_folder_with_a_255_border_is_clean(run):
    status, text, report = run(num_classes=3)
    assert status == 0
    assert report["faults"] == {}
    assert "problem" not in text
    assert "note" not in text
    assert report["values"]["255"]["void"]
    assert report["void_255"] == report["values"]["255"]["pixels"] > 0


@problem("picture_without_mask")
def test_images_without_mask(run, voc_dir, masks, write_list):
    (masks / "train_a.png").unlink()
    write_list(voc_dir, "train", ["train_b", "train_c", "train_d"])
    assert_problem(run(), "picture_without_mask", 1, "train_a.jpg")


@problem("mask_without_picture")
def test_masks_without_image(run, voc_dir, images, write_list):
    (images / "train_a.jpg").unlink()
    (images / "val_b.jpg").unlink()
    write_list(voc_dir, "train", ["train_b", "train_c", "train_d"])
    write_list(voc_dir, "val", ["val_a"])
    assert_problem(run(), "mask_without_picture", 2, "train_a.png", "val_b.png")


@problem("names_almost_pair")
@pytest.mark.parametrize("name", ["Train_A.png", "train_a .png", "train_a.jpg.png", "train_a.bmp"])
def test_names_that_almost_pair(run, masks, name):
    with Image.open(masks / "train_a.png") as image:
        image.save(masks / name)
    (masks / "train_a.png").unlink()
    assert_problem(run(), "names_almost_pair", 1, f"train_a.jpg and {name}")


@problem("names_pair_by_rule")
def test_names_that_pair_by_a_rule(run, masks):
    for path in sorted(masks.iterdir()):
        path.rename(masks / f"{path.stem}_mask.png")
    detail = "6 pairs: The masks have '_mask' behind the name, such as train_a and train_a_mask."
    status, text, report = run()
    assert status == 2
    assert report["faults"]["names_pair_by_rule"]["first"] == [detail]
    assert f"    {detail}\n  do: python voc_annotation.py --fix writes a corrected copy" in text


@problem("listed_without_image")
@pytest.mark.parametrize(
    ("lines", "detail"),
    [
        (
            ["train_b.jpg", "train_c.jpg", "train_d"],
            "train.txt: 2 of 3 lines, such as 'train_b.jpg'. Names stand without extension: write "
            "'train_b'.",
        ),
        (
            ["JPEGImages/train_b.jpg", "JPEGImages/train_c.jpg", "train_d"],
            "such as 'JPEGImages/train_b.jpg'. Names stand without folder and extension: write",
        ),
        (["TRAIN_B", "Train_C", "train_d"], "such as 'TRAIN_B'. Did you mean 'train_b.jpg'? Case"),
        (["train_b  1", "train_c -1"], "such as 'train_b  1'. Names stand alone, without a 1 or"),
        (
            ["train_b.jpg train_b.png", "train_c.jpg train_c.png"],
            "such as 'train_b.jpg train_b.png'. A line is one name, of the image and of its mask",
        ),
        (["zebra", "okapi", "train_a"], "such as 'zebra'. Add the file, or run voc_annotation.py"),
    ],
)
def test_lists_that_name_no_image(run, voc_dir, write_list, lines, detail):
    write_list(voc_dir, "train", lines)
    found = run()
    assert_problem(found, "listed_without_image", 2, detail)
    assert "and 1 more" not in found[1]


@problem("listed_without_mask")
def test_lists_that_name_an_image_without_mask(run, voc_dir, images, write_list):
    for name in ("new_a", "new_b"):
        (images / f"{name}.jpg").write_bytes((images / "train_a.jpg").read_bytes())
    write_list(voc_dir, "train", ["new_b", "train_b", "new_a"])
    status, text, report = run()
    assert status == 2
    assert set(report["faults"]) == {"picture_without_mask", "listed_without_mask"}
    assert report["faults"]["listed_without_mask"]["count"] == 2
    assert "    train.txt: 2 of 3 lines, such as 'new_b'\n  do: Add the masks, or" in text


@problem("other_list_without_image")
def test_lists_that_no_training_reads(run, voc_dir, write_list):
    write_list(voc_dir, "notes", ["Made in May.", "train_a"])
    detail = "notes.txt: 1 of 2 lines, such as 'Made in May.'. Add the file, or run voc_annotation"
    assert_problem(run(), "other_list_without_image", 1, detail)


@problem("duplicate_names")
def test_duplicate_names(run, images):
    (images / "train_a.jpeg").write_bytes((images / "train_a.jpg").read_bytes())
    assert_problem(run(), "duplicate_names", 1, "train_a.jpeg and train_a.jpg")


@problem("names_unlistable")
@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
@pytest.mark.parametrize("name", ["a\nb", "caf\udce9", "  "])
def test_names_that_a_list_can_t_hold(run, images, masks, name):
    (images / f"{name}.jpg").write_bytes((images / "train_a.jpg").read_bytes())
    (masks / f"{name}.png").write_bytes((masks / "train_a.png").read_bytes())
    assert_problem(run(), "names_unlistable", 2, repr(f"{name}.jpg"), repr(f"{name}.png"))


@problem("picture_broken")
@pytest.mark.parametrize("keep", [0, 300])
def test_broken_images(run, images, keep):
    path = images / "val_a.jpg"
    path.write_bytes(path.read_bytes()[:keep])
    assert_problem(run(), "picture_broken", 1, f"The image {path} can't be read: ")


@problem("picture_bands")
def test_images_with_other_channels_stop_a_training_and_nothing_else(
    run, voc_dir, images, tmp_path
):
    (images / "val_a.jpg").unlink()
    channels = np.zeros((48, 64, 5), np.uint16)
    tifffile.imwrite(
        images / "val_a.tif", channels, photometric="minisblack", planarconfig="contig"
    )
    status, text, _ = run(num_classes=3)
    assert status == 0
    assert "image modes: RGB (5), 5 x uint16 (1)\n" in text
    cache = tmp_path / "cache.json"
    for _ in range(2):  # read, and from the cache
        with pytest.raises(UserError) as caught:
            quick(voc_dir, in_channels=3, cache=cache)
        assert (
            f"problem: {PROBLEMS['picture_bands'].title}: 1\n    {images / 'val_a.tif'} can be "
            "read with in_channels 5, but in_channels is 3\n" in str(caught.value)
        )
    with pytest.raises(UserError, match=r"train_a\.jpg can be read with in_channels 1 or 3, but"):
        quick(voc_dir, in_channels=5)
    assert not quick(voc_dir).problems


def test_a_cache_that_knows_no_channels_is_not_believed(voc_dir, tmp_path):
    cache = tmp_path / "cache.json"
    quick(voc_dir, cache=cache)
    entries = json.loads(cache.read_text("utf-8"))
    for entry in entries.values():
        del entry["facts"]["image_channels"]
    cache.write_text(json.dumps(entries), "utf-8")
    assert not quick(voc_dir, in_channels=3, cache=cache).problems


@problem("mask_broken")
@pytest.mark.parametrize("keep", [0, 0.5])
def test_broken_masks(run, masks, keep):
    path = masks / "val_a.png"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    assert_problem(run(), "mask_broken", 1, f"{path} ")


@problem("sizes_differ")
def test_sizes_that_differ(run, masks):
    with Image.open(masks / "train_a.png") as image:
        turned = image.transpose(Image.Transpose.ROTATE_90)
    turned.save(masks / "train_a.png")
    assert_problem(
        run(), "sizes_differ", 1, "train_a.jpg is 60x40, ", "train_a.png is 40x60 (width x height)"
    )


@problem("mask_lossy")
@problem("mask_format")
@problem("mask_16-bit")
@problem("mask_alpha")
@problem("mask_colour")
@pytest.mark.parametrize(
    ("kind", "mode", "form"),
    [
        ("mask_lossy", "L", "JPEG"),
        ("mask_lossy", "RGB", "JPEG"),
        ("mask_format", "L", "BMP"),
        ("mask_16-bit", "I;16", "PNG"),
        ("mask_alpha", "RGBA", "PNG"),
        ("mask_colour", "RGB", "PNG"),
    ],
)
def test_masks_that_hold_no_ids(run, masks, kind, mode, form):
    path = masks / "train_b.png"
    with Image.open(path) as image:
        ids = np.array(image)
    image = Image.fromarray(ids.astype(np.uint16)) if mode == "I;16" else Image.fromarray(ids)
    (image if mode == "I;16" else image.convert(mode)).save(path, form)
    assert_problem(run(), kind, 1, str(path))


def soft(size, value):
    """A grey mask with soft edges."""
    image = Image.new("L", (size[1] * 4, size[0] * 4))
    ImageDraw.Draw(image).ellipse([40, 40, size[1] * 3, size[0] * 3], fill=value)
    return image.resize(size[::-1], Image.Resampling.BOX)


@problem("mask_smooth")
def test_soft_edges(run, masks):
    image = soft((40, 60), 255)
    image.save(masks / "train_a.png")
    values = len(image.getcolors()) - 2
    assert_problem(run(), "mask_smooth", 1, f"train_a.png ({values} values along edges)")


@problem("ids_0_255")
def test_0_and_255(run, change, masks):
    change(lambda ids: np.where((ids == 0) | (ids == 255), np.uint8(0), np.uint8(255)))
    pixels = sum(np.count_nonzero(np.array(Image.open(path))) for path in masks.iterdir())
    found = run()
    assert_problem(found, "ids_0_255", 6, f"value 255: {pixels:,} pixels, for instance in {masks}")
    assert "Change 255 to 1" in found[1]


def test_only_background_with_a_border_is_told_as_0_and_255(run, change):
    change(lambda ids: by_table(ids, v1=0, v2=0))
    assert_problem(run(num_classes=3), "ids_0_255", 6)


@problem("only_one_class")
@pytest.mark.parametrize(("value", "classes"), [(0, "[0]"), (3, "[3]")])
def test_only_one_class(run, change, value, classes):
    change(lambda ids: np.full_like(ids, value))
    assert_problem(run(), "only_one_class", 1, f"the only value in 6 masks is {classes}")


def blocks(ids, value, rows=6):
    """Gives the first rows a value."""
    ids = ids.copy()
    ids[:rows] = value
    return ids


def grey_masks(masks, function):
    """Rewrites all masks as grey files, by function(ids, position)."""
    for index, path in enumerate(sorted(masks.iterdir())):
        with Image.open(path) as image:
            Image.fromarray(function(np.array(image), index)).save(path)


@problem("stray_values")
def test_stray_values(run, masks, voc_dir):
    def change(ids, index):
        ids = np.where(ids == 1, np.uint8(255), np.uint8(0))
        ids[0, 0] = 254 if index == 2 else 0
        return ids

    grey_masks(masks, change)
    status, text, report = run()
    assert status == 2
    assert set(report["faults"]) == {"stray_values", "ids_0_255"}
    (detail,) = report["faults"]["stray_values"]["first"]
    assert detail.startswith("value 254: 1 of ")
    assert "how --fix reads the masks:\n    254: too few pixels for a class, made void" in text
    sheet = voc_dir / "VOC2007" / "ImageSets" / "Segmentation" / "check_reading.png"
    assert f"as --fix would read them: {sheet}\n" in text
    assert Image.open(sheet).size[0] > 500
    grey_masks(masks, lambda ids, _: (ids == 255).astype(np.uint8))
    assert run()[0] == 0
    assert not sheet.exists()


@problem("void_is_class")
def test_255_that_is_a_class(run, masks):
    grey_masks(masks, lambda ids, _: blocks(np.where(ids == 1, np.uint8(128), np.uint8(0)), 255))
    status, text, report = run()
    assert (status, set(report["faults"])) == (2, {"void_is_class"})
    assert "void\n" not in text
    assert run(num_classes=2)[2]["faults"].keys() == {"ids_with_gaps"}


@problem("void_or_class")
def test_255_that_may_be_both(run, masks):
    def change(ids, _):
        found = np.full_like(ids, 255)
        found[:9, :9], found[:9, 9:14] = 1, 0
        return found

    grey_masks(masks, change)
    status, text, report = run()
    assert (status, set(report["faults"])) == (2, {"void_or_class"})
    assert "Decide: --ignore_labels 255 says that it is void" in text
    assert run(ignore_labels=(255,))[0] == 0


@problem("mixed_conventions")
def test_masks_of_0_and_255_among_ids(run, masks):
    def change(ids, index):
        return np.where(ids == 1, np.uint8(255 if index % 2 else 1), np.uint8(0))

    grey_masks(masks, change)
    found = run()
    assert_problem(found, "mixed_conventions", 3, "3 masks hold 0 and 255 alone")
    assert run(ignore_labels=(255,))[0] == 0


@problem("palettes_differ")
def test_palettes_that_differ(run, masks):
    path = masks / "train_a.png"
    with Image.open(path) as image:
        ids = np.array(image)
    other = mask_to_image(np.array([1, 2, 0] + [255] * 253, np.uint8)[ids])
    other.putpalette(bytes([0, 128, 0, 0, 0, 0, 128, 0, 0]))
    other.save(path)
    assert_problem(run(), "palettes_differ", 6, "the index 0 has the colours 0 0 0, 0 128 0")
    assert run(palette="ids")[0] == 0


@problem("palette_renumbered")
def test_voc_colours_under_other_indices(run, masks):
    for path in masks.iterdir():
        with Image.open(path) as image:
            ids = np.array(image)
        other = Image.fromarray(np.where(ids == 255, 0, ids).astype(np.uint8))
        other.putpalette(bytes([0, 0, 0, 192, 128, 128, 64, 0, 0]))
        other.save(path)
    assert_problem(run(), "palette_renumbered", 6, "the index 1 has VOC's colour of 15, person")
    assert run(palette="ids")[0] == 0


@problem("instances")
def test_ids_of_objects(run, masks):
    def change(ids, index):
        found = np.zeros(ids.shape, np.uint8)
        for number in range(8 + index):
            found[2 * number : 2 * number + 2, 3:9] = number + 1
        return found

    grey_masks(masks, change)
    status, text, report = run()
    assert status == 2
    assert report["faults"]["instances"]["count"] == 6
    assert "    6 masks count 8 to 13 values from 1 on, each of one piece" in text
    assert "--fix --instances binary makes each object class 1" in text
    with pytest.raises(UserError, match="instances is for the corrected copy: give --fix as well"):
        run(instances="binary", check_only=False)


@pytest.mark.parametrize("name", ["color_map", "instance_border"])
def test_settings_that_need_others(run, name):
    given = {"color_map": "voc"} if name == "color_map" else {"instance_border": True}
    with pytest.raises(UserError, match=f"^{name} "):
        run(**given)


@problem("ids_with_gaps")
def test_ids_with_gaps(run, change):
    change(lambda ids: by_table(ids, v1=50, v2=100))
    found = run()
    assert_problem(found, "ids_with_gaps", 3, "the values are 0, 50, 100")
    assert run(num_classes=3)[2]["faults"].keys() == {"ids_with_gaps"}
    # With so many classes they may be right: the others just don't occur.
    assert run(num_classes=101)[0] == 0


@problem("ids_off_by_one")
def test_ids_from_one(run, change, masks):
    change(lambda ids: by_table(ids, v0=1, v1=2, v2=3))
    assert_problem(run(num_classes=3), "ids_off_by_one", 6, "value 3: ", f"{masks / 'train_a.png'}")


@problem("ids_out_of_range")
def test_ids_out_of_range(run, change, masks):
    change(lambda ids: by_table(ids, v2=3), "train_a")
    change(lambda ids: by_table(ids, v2=4), "train_b")
    found = run(num_classes=3)
    assert set(found[2]["faults"]) == {"ids_out_of_range"}
    assert_problem(
        found,
        "ids_out_of_range",
        2,
        f"value 3: {np.count_nonzero(np.array(Image.open(masks / 'train_a.png')) == 3):,} pixels, "
        f"for instance in {masks / 'train_a.png'}",
        f"in {masks / 'train_b.png'}",
    )
    assert run(num_classes=3, ignore_labels=(3, 4, 255))[0] == 0


@problem("no_background")
def test_no_id_0(run, change):
    change(lambda ids: by_table(ids, v0=3))
    assert_problem(run(), "no_background", 1, "the ids are 1, 2, 3")


@problem("class_absent")
def test_classes_that_occur_nowhere(run):
    assert_problem(run(num_classes=5), "class_absent", 2, "class 3", "class 4")


@problem("class_only_in_val")
def test_classes_that_are_in_val_alone(run, change):
    change(lambda ids: by_table(ids, v1=3), "val_b")
    assert_problem(run(), "class_only_in_val", 1, "class 3, in 1 image")


@problem("in_both_lists")
@pytest.mark.parametrize("same", ["name", "bytes", "pixels"])
def test_images_in_both_lists(run, voc_dir, images, masks, write_list, same):
    if same == "name":
        write_list(voc_dir, "val", ["val_a", "val_b", "train_c"])
        assert_problem(run(), "in_both_lists", 1, "train_c (val) is train_c (train)")
        return
    if same == "bytes":
        (images / "val_b.jpg").write_bytes((images / "train_c.jpg").read_bytes())
    else:
        (images / "val_b.jpg").unlink()
        with Image.open(images / "train_c.jpg") as image:
            image.save(images / "val_b.png")
    (masks / "val_b.png").write_bytes((masks / "train_c.png").read_bytes())
    assert_problem(run(), "in_both_lists", 1, "val_b (val) is train_c (train)")


def test_folds_are_judged_too(run, voc_dir, change, write_list):
    change(lambda ids: by_table(ids, v1=3), "val_b")
    for split in ("train", "val"):
        names = [path.split("_") for path in ("train_a", "val_b")]
        write_list(voc_dir, f"{split}_0", ["_".join(name) for name in names if name[0] == split])
    assert_problem(run(), "class_only_in_val", 2, "class 3, in 1 image")


# Those of images of more than 8 bits, or of several pages, are in test_brightness.
OF_NUMBERS = {
    "picture_foreign", "picture_pages", "picture_more", "picture_inverted", "values_mixed",
    "values_dim", "values_beyond", "values_not_finite", "mask_several",
}  # fmt: skip


def test_every_problem_has_a_test():
    assert set(PROBLEMS) == TESTED | OF_NUMBERS


def test_the_report_itself(run, images):
    Image.open(images / "val_a.jpg").convert("L").save(images / "val_a.jpg")
    _, text, report = run(num_classes=3)
    assert "6 pairs of image and mask\n" in text
    assert "image modes: RGB (5), L (1)\n" in text
    assert "sizes (width x height): " in text
    assert " and 3 more\n" in text
    assert report["pairs"] == 6
    assert report["modes"] == {"RGB": 5, "L": 1}
    assert report["sizes"]["31x90"] == 1
    assert (report["num_classes"], report["ignore_labels"]) == (3, [255])
    weights = ", ".join(f"{weight:g}" for weight in report["cls_weights"])
    assert "for train.py: num_classes: int = 3\n" in text
    assert f"cls_weights: tuple[float, ...] = ({weights})" in text


# By hand


def facts(**counts):
    counts = {int(value[1:]): count for value, count in counts.items()}
    return Facts(image_size=(1, 9), image_mode="RGB", mask_size=(1, 9), mask=MaskSummary(counts))


def report_of(*all_facts, num_classes=None, ignore_labels=(255,)):
    report = Report(num_classes, ignore_labels)
    for index, one in enumerate(all_facts):
        name = f"n{index}"
        report.add(Sample(name, Path(f"{name}.jpg"), Path(f"{name}.png")), one)
    report.finish()
    return report


def test_class_weights_by_hand():
    report = report_of(facts(v0=80, v1=20), facts(v0=90, v2=10, v255=50), num_classes=5)
    # Frequencies: 170 / 200, 20 / 100, 10 / 100; the median is 0.2.
    assert class_weights(report) == [0.2353, 1.0, 2.0, 1.0, 1.0]
    assert report.frequency_base[[0, 1, 2]].tolist() == [200, 100, 100]
    assert report.images[[0, 1, 2, 255]].tolist() == [2, 1, 1, 1]
    assert class_weights(report_of(facts(v0=3, v1=1))) == [0.6667, 2.0]


def test_no_weights_are_suggested_for_faulty_data():
    report = report_of(facts(v0=5, v1=3, v3=1), num_classes=2)
    assert set(report.problems) == {"ids_out_of_range"}
    assert report_to_dict(report)["cls_weights"] is None
    assert "cls_weights" not in format_report(report)


def test_the_table_by_hand():
    lines = format_report(report_of(facts(v0=1500, v1=250, v255=250), facts(v1=2000))).splitlines()
    assert lines[:8] == [
        "2 pairs of image and mask",
        "sizes (width x height): 9x1 (2)",
        "image modes: RGB (2)",
        "",
        "value        pixels    share   in images",
        "    0         1,500   37.50%             1",
        "    1         2,250   56.25%             2",
        "  255           250    6.25%             1  void",
    ]


def test_fatal_problems_stand_first_and_five_files_are_named():
    report = Report()
    for index in range(1200):
        report.problem("picture_without_mask", f"a{index}")
    report.problem("mask_broken", "b")
    assert format_problems(report).splitlines() == [
        "problem: unreadable masks: 1",
        "    b",
        f"  do: {PROBLEMS['mask_broken'].remedy}",
        "note: images without a mask: 1,200",
        *(f"    a{index}" for index in range(5)),
        "    and 1,195 more",
        f"  do: {PROBLEMS['picture_without_mask'].remedy}",
    ]
    assert "note" not in format_problems(report, only_fatal=True)


@pytest.mark.parametrize(
    ("values", "num_classes", "kinds"),
    [
        ([0, 1, 2], None, set()),
        ([0, 2, 3], None, {"class_absent"}),
        ([0, 1, 5], 3, {"ids_out_of_range"}),
        ([0, 5], None, {"ids_with_gaps"}),
        ([0, 5], 6, {"class_absent"}),
        ([1, 2], 2, {"ids_off_by_one"}),
        ([1, 2], 3, {"no_background"}),
        ([255], None, {"ids_0_255"}),
        ([0, 254], 2, {"ids_with_gaps"}),
    ],
)
def test_what_values_are_judged_to_be(values, num_classes, kinds):
    report = report_of(facts(**{f"v{value}": 9 for value in values}), num_classes=num_classes)
    assert set(report.problems) == kinds


def test_long_lists_of_values_are_shortened():
    report = report_of(facts(**{f"v{value}": 9 for value in range(0, 200, 10)}))
    assert report.problems["ids_with_gaps"].first == [
        "the values are 0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, ... 190, "
        "for instance in n0.png"
    ]


@pytest.mark.parametrize("workers", [1, 3])
def test_scanning_into_a_report(voc_dir, workers):
    samples = read_samples(voc_dir, "train")
    report = scan_into(Report(), samples, workers, progress=False)
    masks = [np.array(Image.open(one.mask_path)).ravel() for one in samples]
    assert report.pixels.tolist() == np.bincount(np.concatenate(masks), minlength=256).tolist()
    assert report.presence == {one.name: {0, 1, 2, 255} for one in samples}
    assert report.modes == {"RGB": 4}


# Before a training


def quick(voc_dir, num_classes=3, **options):
    lists = [read_samples(voc_dir, split) for split in ("train", "val")]
    return check_samples(*lists, num_classes, (255,), progress=False, **options)


def test_sound_data_pass(voc_dir):
    report = quick(voc_dir)
    assert report.pairs == 6
    assert report.classes == [0, 1, 2]
    assert not report.problems


def test_all_fatal_problems_are_told_at_once(voc_dir, masks, images, change):
    change(lambda ids: by_table(ids, v2=7), "train_a")
    (masks / "train_b.png").write_bytes(b"no mask")
    (images / "val_a.jpg").write_bytes(b"no image")
    Image.new("L", (7, 7)).save(masks / "val_b.png")
    with pytest.raises(UserError) as caught:
        quick(voc_dir, num_classes=5)
    text = str(caught.value)
    assert text.startswith("The data can't be used as it is.\nproblem: unreadable images: ")
    for kind in ("picture_broken", "mask_broken", "sizes_differ", "ids_out_of_range"):
        assert PROBLEMS[kind].title in text
        assert PROBLEMS[kind].remedy in text
    assert text.count("problem:") == 4
    assert "note:" not in text


def test_what_the_check_lets_decide_is_a_note_in_a_training(voc_dir, masks):
    def change(ids, index):
        return np.where(ids == 1, np.uint8(255 if index % 2 else 1), np.uint8(0))

    grey_masks(masks, change)
    report = quick(voc_dir)
    assert "note: masks of 0 and 255 among masks with class ids: 3" in format_problems(report)


def test_notes_do_not_stop_a_training(voc_dir):
    assert set(quick(voc_dir, num_classes=4).problems) == {"class_absent"}


def test_the_same_name_in_both_lists_is_refused(voc_dir, write_list):
    write_list(voc_dir, "val", ["val_a", "train_a"])
    with pytest.raises(UserError, match=r"train_a \(val\) is train_a \(train\)"):
        quick(voc_dir)


def test_images_to_score_may_hold_one_class(voc_dir, change):
    change(np.zeros_like)
    samples = read_samples(voc_dir, "val")
    assert check_samples([], samples, 3, (255,), progress=False).pairs == 2
    with pytest.raises(UserError, match="sets of fewer than two classes"):
        check_samples(samples, samples[:0], 3, (255,), progress=False)


def test_the_cache_saves_reading(voc_dir, tmp_path, monkeypatch, change):
    read = []

    def counted(sample, decode=True):
        read.append(sample.name)
        return scan_pair(sample, decode)

    scan_pair = scan.scan_pair
    monkeypatch.setattr(scan, "scan_pair", counted)
    cache = tmp_path / "cache.json"
    first = quick(voc_dir, cache=cache)
    assert sorted(read) == ["train_a", "train_b", "train_c", "train_d", "val_a", "val_b"]
    second = quick(voc_dir, cache=cache)
    assert len(read) == 6
    assert second.pixels.tolist() == first.pixels.tolist()
    assert second.sizes == first.sizes
    change(lambda ids: by_table(ids, v2=7), "val_b")
    path = voc_dir / "VOC2007" / "SegmentationClass" / "val_b.png"
    os.utime(path, (1, 1))
    for _ in range(2):
        with pytest.raises(UserError, match=r"value 7: .*val_b\.png"):
            quick(voc_dir, cache=cache, num_classes=5)
    assert read[6:] == ["val_b"]


def test_progress_is_shown_on_a_terminal_if_asked_for(voc_dir, monkeypatch):
    samples = read_samples(voc_dir, "train")

    def shown(progress):
        screen = io.StringIO()
        screen.isatty = lambda: True
        monkeypatch.setattr("sys.stderr", screen)
        check_samples(samples, [], 3, (255,), progress=progress)
        return screen.getvalue()

    assert "Checking the data" in shown(True)
    assert shown(False) == ""
