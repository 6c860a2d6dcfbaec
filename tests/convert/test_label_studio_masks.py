"""Label Studio's brush masks, through the script."""

import numpy as np
import pytest
from conversions import convert, picture, save, survives

from errors import UserError

NAME = "task-{task}-annotation-{annotation}-by-{by}-tag-{label}-{number}.png"


def make(folder, image="images/{}.jpg", tasks=(3, 12), label="Car"):
    """Two strokes of one label and one of another for each task; {image name: mask}."""
    expected = {}
    for task in tasks:
        strokes = np.random.default_rng(task).random((3, 6, 8)) < 0.3
        # Label Studio saves the opacity, which need not be 255.
        for mask, (one, number) in zip(strokes, ((label, 0), (label, 1), ("Sky", 0)), strict=True):
            name = NAME.format(task=task, annotation=task + 20, by="1", label=one, number=number)
            save(folder / name, mask * (255 if number else 100))
        path = picture(folder / image.format(task))
        expected[path.stem] = np.where(strokes[2], 2, strokes[0] | strokes[1]).tolist()
    return expected


@pytest.mark.parametrize("image", ["images/{}.jpg", "images/task-{}.png", "images/Task_00{}.jpg"])
def test_masks_are_joined_by_task(tmp_path, capsys, image):
    expected = make(tmp_path / "export", image)
    assert convert(tmp_path / "export") == (0, expected, ["background", "Car", "Sky"])
    printed = capsys.readouterr().out
    assert "Format: Label Studio brush masks, from the name task-12-annotation-32-by-1" in printed
    assert "belong to several classes; the last of these counts: Car, Sky." in printed


def test_labels_with_hyphens_and_annotators_by_mail(tmp_path):
    folder = tmp_path / "export"
    picture(folder / "7.jpg")
    name = NAME.format(task=7, annotation=1, by="a@b.org", label="traffic-light", number=0)
    save(folder / name, np.full((6, 8), 255))
    assert convert(folder) == (0, {"7": [[1] * 8] * 6}, ["background", "traffic-light"])


def test_images_elsewhere(tmp_path, capsys):
    folder = tmp_path / "export"
    expected = make(folder, "../pictures/{}.jpg")
    picture(tmp_path / "pictures" / "99.jpg")
    message = r"No image in .*export carries the number of a task, such as 3\.jpg or task-3\.jpg\."
    with pytest.raises(UserError, match=message):
        convert(folder)
    assert convert(folder, image_dir=str(tmp_path / "pictures"))[:2] == (0, expected)
    assert "1 images have no mask and are left out, such as " in capsys.readouterr().out


def test_what_is_not_clear_is_left_out(tmp_path, capsys):
    folder = tmp_path / "export"
    expected = make(folder, tasks=(1, 2, 3, 4, 5, 6))
    (folder / "images" / "1.jpg").unlink()
    picture(folder / "images" / "task-2.jpg")
    second = NAME.format(task=3, annotation=99, by="2", label="Car", number=0)
    save(folder / second, np.zeros((6, 8)))
    next(folder.glob("task-4-*-Sky-0.png")).write_bytes(b"no image")
    next(folder.glob("task-6-*-Sky-0.png")).rename(
        folder / NAME.format(task=6, annotation=26, by="1", label=" ", number=0)
    )
    status, found, _ = convert(folder)
    assert (status, found) == (1, {"5": expected["5"]})
    printed = capsys.readouterr().out
    assert "belongs to no image: there is no 1.jpg or task-1.jpg." in printed
    assert "has the label ' '. Expected a name" in printed
    assert "The task 2 has 2 images, " in printed
    assert "The task 3 has 2 annotations, 23, 99, such as " in printed
    assert "task-4-annotation-24-by-1-tag-Sky-0.png can't be read" in printed


def test_other_masks(tmp_path):
    picture(tmp_path / "export" / "1.png")
    with pytest.raises(UserError, match="holds no masks such as task-12-annotation-34-by-1-tag"):
        convert(tmp_path / "export", format="label_studio_masks")


@pytest.mark.slow
def test_damaged_folders(tmp_path):
    results, refusals = survives(tmp_path / "export", make)
    assert results > 100
    assert results + refusals == 200
