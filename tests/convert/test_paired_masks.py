"""Folders of images and masks as Kaggle has them, through the script."""

import numpy as np
import pytest
from conversions import convert, picture, save, survives

from errors import UserError


def random_mask(seed, values=(0, 255)):
    return np.random.default_rng(seed).choice(values, (6, 8))


def make(folder, image="{}", mask="{}_mask", names=(1, 2, 3), values=(0, 255)):
    """images/ and masks/ with names by the patterns; returns {image name: stored mask}."""
    stored = {}
    for name in names:
        picture(folder / "images" / f"{image.format(name)}.png")
        stored[image.format(name)] = random_mask(name, values)
        save(folder / "masks" / f"{mask.format(name)}.png", stored[image.format(name)])
    return stored


def as_lists(stored, **ids):
    """The masks with other values: as_lists(stored, v255=1)."""
    table = {int(key[1:]): value for key, value in ids.items()}
    return {
        name: [[table.get(value, value) for value in row] for row in mask.tolist()]
        for name, mask in stored.items()
    }


def test_object_and_background(tmp_path, capsys):
    stored = make(tmp_path / "data")
    expected = as_lists(stored, v255=1)
    assert convert(tmp_path / "data") == (0, expected, ["background", "foreground"])
    printed = capsys.readouterr().out
    assert "Format: images and masks in folders, from masks beside images." in printed
    assert "The masks have '_mask' behind the name, such as 1 and 1_mask." in printed
    assert "0 is background, 255 the foreground." in printed


def test_ids(tmp_path, capsys):
    stored = make(tmp_path / "data", "{}", "{:03}", (1, 2, 3, 40), (0, 1, 2, 255))
    status, found, classes = convert(tmp_path / "data")
    assert (status, found) == (0, as_lists(stored))
    assert classes == ["background", "class_1", "class_2"]
    printed = capsys.readouterr().out
    assert "The values of the masks are class ids, 0 to 2; 255 is void." in printed
    assert "with their numbers padded differently, such as 1 and 001." in printed


def test_a_class_list_names_the_ids(tmp_path):
    stored = make(tmp_path / "data", values=(0, 1, 3))
    with pytest.raises(UserError, match=r"hold the values 0, 1, 3\. Expected 0 and 255"):
        convert(tmp_path / "data")
    (tmp_path / "list.txt").write_text("road\ncar\ntree\n")
    _, found, classes = convert(tmp_path / "data", classes=str(tmp_path / "list.txt"))
    assert found == as_lists(stored)
    assert classes == ["background", "road", "car", "tree"]


def test_other_values_are_refused_and_nothing_is_left(tmp_path):
    make(tmp_path / "data", values=(0, 85, 170))
    with pytest.raises(UserError, match=r"0, 85, 170.*voc_annotation\.py --fix shows what"):
        convert(tmp_path / "data")
    assert not (tmp_path / "VOCdevkit").exists()


def test_the_parts_of_a_set(tmp_path, capsys):
    """images/train and masks/train, train/images and train/masks, and a test set without masks."""
    for layout in ("{kind}/{part}", "{part}/{kind}", "{part}_{kind}"):
        folder = tmp_path / layout.replace("/", "-")
        stored = {}
        for seed, part in enumerate(("train", "val")):
            name = f"{part}1"
            picture(folder / layout.format(kind="images", part=part) / f"{name}.jpg")
            stored[name] = random_mask(seed)
            save(folder / layout.format(kind="masks", part=part) / f"{name}.png", stored[name])
        picture(folder / layout.format(kind="images", part="test") / "test1.jpg")
        status, found, _ = convert(folder)
        assert (status, found) == (0, as_lists(stored, v255=1))
        printed = capsys.readouterr().out
        assert "1 images in " in printed
        assert "are left out: there are no masks to them." in printed


def test_the_masks_of_single_objects_become_one(tmp_path, capsys):
    """The Data Science Bowl: a folder an image, with a mask for each nucleus."""
    folder = tmp_path / "stage1_train"
    expected = {}
    for seed, name in enumerate(("00ae65", "0a7d30")):
        picture(folder / name / "images" / f"{name}.png")
        union = np.zeros((6, 8), int)
        for number in range(3):
            mask = random_mask(10 * seed + number, (0, 0, 0, 255))
            save(folder / name / "masks" / f"{seed}{number}f.png", mask)
            union |= mask > 0
        expected[name] = union.tolist()
    assert convert(folder) == (0, expected, ["background", "foreground"])
    printed = capsys.readouterr().out
    assert "6 masks of single objects became one foreground each for 2 images." in printed
    assert "belong to several classes" not in printed
    (tmp_path / "list.txt").write_text("nucleus\n")
    _, found, classes = convert(folder, classes=str(tmp_path / "list.txt"))
    assert (found, classes) == (expected, ["background", "nucleus"])


@pytest.mark.parametrize("annotations", ["data", "data/masks"])
def test_images_in_image_dir(tmp_path, annotations):
    stored = make(tmp_path / "data", "{}", "{}")
    found = convert(
        tmp_path / annotations, format="image_masks", image_dir=str(tmp_path / "data" / "images")
    )[1]
    assert found == as_lists(stored, v255=1)


def test_what_is_broken_or_alone_is_left_out(tmp_path, capsys):
    folder = tmp_path / "data"
    stored = make(folder, names=range(1, 30))
    (folder / "masks" / "1_mask.png").write_bytes(b"no image")
    (folder / "masks" / "2_mask.png").unlink()
    (folder / "images" / "3.png").unlink()
    picture(folder / "images" / "4.png", (3, 3))
    save(folder / "masks" / "5_mask.png", random_mask(0, (0, 128, 255)))
    save(folder / "masks" / "6_mask.png", np.dstack([stored["6"], stored["6"] * 0, stored["6"]]))
    status, found, _ = convert(folder)
    left = {name: mask for name, mask in stored.items() if int(name) > 6}
    assert (status, found) == (1, as_lists(left, v255=1))
    printed = capsys.readouterr().out
    for message in (
        "1_mask.png can't be read: cannot identify image file",
        "2.png has no mask. The masks have '_mask' behind the name",
        "3_mask.png belongs to no image. The masks have '_mask'",
        "4_mask.png says that the image is 8x6 pixels, but ",
        "5_mask.png holds 128; of the others: 0 is background, 255 the foreground.",
        "6_mask.png is in colours. Expected grey or a palette",
    ):
        assert message in printed
    with pytest.raises(UserError):
        convert(folder, strict=True)
    assert not (tmp_path / "VOCdevkit").exists()


def test_roboflow(tmp_path):
    """train/a.jpg, train/a_mask.png and train/_classes.csv; not all classes need occur."""
    stored = {}
    for part in ("train", "valid"):
        folder = tmp_path / "data" / part
        for name in (f"{part}1", f"{part}2"):
            picture(folder / f"{name}.jpg")
            stored[name] = random_mask(len(stored), (0, 1, 3))
            save(folder / f"{name}_mask.png", stored[name])
        names = "Pixel Value, Class\n0, background\n1, cat\n2, ant\n3, dog\n"
        (folder / "_classes.csv").write_text(names)
    _, found, classes = convert(tmp_path / "data")
    assert (found, classes) == (as_lists(stored), ["background", "cat", "ant", "dog"])
    (tmp_path / "list.txt").write_text("dog\ncat\nant\n")
    _, found, classes = convert(tmp_path / "data", classes=str(tmp_path / "list.txt"))
    assert (found, classes) == (as_lists(stored, v1=2, v3=1), ["background", "dog", "cat", "ant"])
    (tmp_path / "list.txt").write_text("dog\ncat\n")
    with pytest.raises(UserError, match=r"\(value 2\) has the label 'ant', which is not in"):
        convert(tmp_path / "data", classes=str(tmp_path / "list.txt"))


def test_names_that_do_not_pair(tmp_path):
    make(tmp_path / "data", "a{}", "b{}x")
    message = r"masks don't belong to the images in .*images by one rule: there are 3 images, such"
    with pytest.raises(UserError, match=message):
        convert(tmp_path / "data", format="image_masks")
    with pytest.raises(UserError, match="holds annotations of no known format"):
        convert(tmp_path / "data")


def test_folders_that_are_not_there(tmp_path):
    picture(tmp_path / "data" / "images" / "a.png")
    with pytest.raises(UserError, match="has no folder of images beside one of masks"):
        convert(tmp_path / "data", format="image_masks")


def test_two_images_of_one_name(tmp_path):
    stored = make(tmp_path / "data")
    picture(tmp_path / "data" / "images" / "1.jpg")
    with pytest.raises(UserError, match=r"1\.jpg and .*1\.png are two images of the same name"):
        convert(tmp_path / "data")
    assert stored


def test_masks_in_a_folder_of_their_own_as_pairs(tmp_path):
    """One folder below masks may be a class; format says that it is not."""
    stored = make(tmp_path / "data", values=(0, 1, 2))
    (tmp_path / "data" / "masks").rename(tmp_path / "all")
    (tmp_path / "data" / "masks").mkdir()
    (tmp_path / "all").rename(tmp_path / "data" / "masks" / "all")
    assert convert(tmp_path / "data", format="image_masks")[1] == as_lists(stored)


@pytest.mark.slow
@pytest.mark.parametrize("values", [(0, 255), (0, 1, 2)])
def test_damaged_folders(tmp_path, values):
    results, refusals = survives(
        tmp_path / "data", lambda folder: make(folder, values=values), seeds=range(100)
    )
    assert results > 50
    assert results + refusals == 100
