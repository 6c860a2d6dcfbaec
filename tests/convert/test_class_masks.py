"""A mask of 0 and 255 for each class, through the script."""

import numpy as np
import pytest
from conversions import convert, picture, save, survives

from errors import UserError
from utils.convert.class_masks import split_names

LAYOUTS = ("masks/{label}/{name}.png", "masks/{name}_{label}.png", "masks/{label}-{name}.png")


def random_masks(seed, labels=("car", "dog", "tree"), overlap=False):
    """{label: bool (6, 8)}, which overlap or don't."""
    generator = np.random.default_rng(seed)
    if overlap:
        return {label: generator.random((6, 8)) < 0.5 for label in labels}
    owner = generator.integers(0, len(labels) + 1, (6, 8))
    return {label: owner == index for index, label in enumerate(labels, 1)}


def make(folder, layout=LAYOUTS[0], names=("1", "2", "10"), overlap=False):
    """A folder; returns {image name: {label: bool (6, 8)}}."""
    made = {name: random_masks(seed, overlap=overlap) for seed, name in enumerate(names)}
    for name, masks in made.items():
        picture(folder / "images" / f"{name}.jpg")
        for label, mask in masks.items():
            save(folder / layout.format(name=name, label=label), mask * 255)
    return made


def painted(masks, classes):
    """What the highest id of each pixel is, pixel by pixel."""
    ids = [(classes.index(label), mask) for label, mask in masks.items()]
    return [
        [max([0, *(value for value, mask in ids if mask[y, x])]) for x in range(8)]
        for y in range(6)
    ]


CLASSES = ["background", "car", "dog", "tree"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout(tmp_path, capsys, layout):
    made = make(tmp_path / "data", layout)
    status, found, classes = convert(tmp_path / "data")
    assert (status, classes) == (0, CLASSES)
    assert found == {name: painted(masks, CLASSES) for name, masks in made.items()}
    printed = capsys.readouterr().out
    assert printed.startswith("Format: a mask for each class, from ")
    assert "belong to several classes" not in printed
    assert "some classes have no mask" not in printed


def test_overlap_is_counted_and_the_higher_id_counts(tmp_path, capsys):
    made = make(tmp_path / "data", overlap=True)
    _, found, _ = convert(tmp_path / "data")
    assert found == {name: painted(masks, CLASSES) for name, masks in made.items()}
    doubled = [sum(mask.astype(int) for mask in masks.values()) > 1 for masks in made.values()]
    count = sum(int(one.sum()) for one in doubled)
    assert (
        f"{count} pixels in 3 images belong to several classes; the last of these counts: car, "
        "dog, tree."
    ) in capsys.readouterr().out
    with pytest.raises(UserError, match=r"pixels of 1\.jpg belong to several classes by .*car"):
        convert(tmp_path / "data", strict=True)
    assert not (tmp_path / "VOCdevkit").exists()


def test_a_class_list_orders_the_overlap(tmp_path):
    made = make(tmp_path / "data", overlap=True)
    (tmp_path / "list.txt").write_text("tree\ndog\ncar\n")
    _, found, classes = convert(tmp_path / "data", classes=str(tmp_path / "list.txt"))
    assert classes == ["background", "tree", "dog", "car"]
    assert found == {name: painted(masks, classes) for name, masks in made.items()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_elsewhere(tmp_path, layout):
    made = make(tmp_path / "data", layout)
    (tmp_path / "data" / "images").rename(tmp_path / "pictures")
    _, found, classes = convert(
        tmp_path / "data", format="class_masks", image_dir=str(tmp_path / "pictures")
    )
    assert classes == CLASSES
    assert found == {name: painted(masks, CLASSES) for name, masks in made.items()}


def test_masks_outside_the_folders_of_classes_are_left_out(tmp_path, capsys):
    made = make(tmp_path / "data")
    save(tmp_path / "data" / "masks" / "1.png", np.zeros((6, 8)))
    status, found, _ = convert(tmp_path / "data", format="class_masks")
    assert (status, found.keys()) == (1, made.keys())
    assert "1.png is in none of the folders of classes." in capsys.readouterr().out


def test_a_class_without_a_mask_is_not_in_the_image(tmp_path, capsys):
    made = make(tmp_path / "data")
    (tmp_path / "data" / "masks" / "dog" / "2.png").unlink()
    del made["2"]["dog"]
    status, found, _ = convert(tmp_path / "data")
    assert (status, found["2"]) == (0, painted(made["2"], CLASSES))
    assert "Of 1 images, some classes have no mask" in capsys.readouterr().out


def test_a_mask_without_an_image_may_be_that_of_an_image_without_one(tmp_path, capsys):
    made = make(tmp_path / "data", names="abc")
    path = tmp_path / "data" / "masks" / "dog" / "a.png"
    path.rename(path.with_name("a1.png"))
    status, found, _ = convert(tmp_path / "data")
    assert (status, sorted(found)) == (1, ["b", "c"])
    assert found["b"] == painted(made["b"], CLASSES)
    printed = capsys.readouterr().out
    assert "a.jpg has no mask of dog, while " in printed
    assert "a1.png has no image. Do they belong together?" in printed


def test_background_and_void_by_name(tmp_path):
    folder = tmp_path / "data"
    picture(folder / "images" / "a.jpg")
    masks = random_masks(3, ("animal", "background", "__ignore__"), overlap=True)
    for label, mask in masks.items():
        save(folder / "masks" / label / "a.png", mask * 255)
    _, found, classes = convert(folder)
    expected = np.where(masks["__ignore__"], 255, np.where(masks["animal"], 1, 0))
    assert (found["a"], classes) == (expected.tolist(), ["background", "animal"])


def test_what_is_broken_or_alone_is_left_out(tmp_path, capsys):
    folder = tmp_path / "data"
    made = make(folder, names="abcdefgh")
    masks = folder / "masks"
    (masks / "car" / "a.png").write_bytes(b"no image")
    save(masks / "dog" / "b.png", np.full((6, 8), 7))
    save(masks / "dog" / "c.png", np.zeros((5, 8)))
    picture(folder / "images" / "d.jpg", (7, 7))
    for label in ("car", "dog", "tree"):
        (masks / label / "e.png").unlink()
    (folder / "images" / "f.jpg").unlink()
    status, found, _ = convert(folder)
    assert (status, sorted(found)) == (1, ["g", "h"])
    assert found["g"] == painted(made["g"], CLASSES)
    printed = capsys.readouterr().out
    for message in (
        "a.png can't be read: cannot identify image file",
        "b.png holds the values 7. Expected a mask of one class: 0 and 255, or 0 and 1.",
        "c.png is 8x5 pixels, but another of the same image is 8x6.",
        "d.png says that the image is 8x6 pixels, but ",
        "e.jpg has no mask of any class.",
        "f.png belongs to no image. Images and masks have the same names.",
    ):
        assert message in printed


def test_names_that_end_in_numbers_are_objects_or_classes(tmp_path):
    folder = tmp_path / "data"
    for name in "ab":
        picture(folder / "images" / f"{name}.jpg")
        for label in ("cell_1", "cell_2", "cell_3"):
            save(folder / "masks" / f"{name}_{label}.png", np.zeros((6, 8)))
    with pytest.raises(UserError, match=r"end in cell_1, cell_2, cell_3\. Are these classes, or"):
        convert(folder)


def test_folders_that_do_not_pair_or_are_not_there(tmp_path):
    """Images without the masks of one class would be wrong, so nothing is written."""
    folder = tmp_path / "data"
    make(folder)
    for name in ("1", "2", "10"):
        path = folder / "masks" / "car" / f"{name}.png"
        path.rename(path.with_name(f"x{int(name) + 3}y.png"))
    with pytest.raises(UserError, match=r"car don't belong to the images in .*images by their nam"):
        convert(folder)
    assert not (tmp_path / "VOCdevkit").exists()
    picture(tmp_path / "other" / "images" / "a.jpg")
    with pytest.raises(UserError, match=r"other has no masks by class\. Expected images/ beside"):
        convert(tmp_path / "other", format="class_masks")
    save(tmp_path / "other" / "masks" / "b.png", np.zeros((6, 8)))
    with pytest.raises(UserError, match=r"are not those of images and a class behind or before"):
        convert(tmp_path / "other", format="class_masks")


def test_a_stray_mask_by_name(tmp_path, capsys):
    made = make(tmp_path / "data", LAYOUTS[1], [str(number) for number in range(8)])
    save(tmp_path / "data" / "masks" / "preview.png", np.zeros((6, 8)))
    status, found, _ = convert(tmp_path / "data")
    assert (status, found.keys()) == (1, made.keys())
    assert "preview.png belongs to no image by its name." in capsys.readouterr().out


def test_names_of_image_and_class():
    assert split_names(["a", "a_b"], ["a_cat", "a_b_cat", "a_dog", "a_b_dog"]) == {
        "a_cat": ("a", "cat"), "a_dog": ("a", "dog"),
        "a_b_cat": ("a_b", "cat"), "a_b_dog": ("a_b", "dog"),
    }  # fmt: skip
    for images, masks in (
        ("1 2", "1_mask 2_mask"),  # one class
        ("1 2", "1_1 1_2 2_1 2_2"),  # objects
        ("1", "1cat 1dog"),  # no word ends there
        ("1 2 3", "1_a 2_b 3_c"),  # none has several
        ("1 2", "1_cat 1_dog x y z"),
    ):
        assert split_names(images.split(), masks.split()) is None


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS[:2])
def test_damaged_folders(tmp_path, layout):
    results, refusals = survives(
        tmp_path / "data", lambda folder: make(folder, layout, "ab"), seeds=range(100)
    )
    assert results > 30
    assert results + refusals == 100
