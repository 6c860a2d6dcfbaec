"""CVAT's segmentation masks: colours by labelmap.txt."""

from pathlib import Path

import numpy as np
import pytest
from conversions import convert, picture, save, survives
from PIL import Image

from errors import UserError

LABEL_MAP = (
    "# label:color_rgb:parts:actions\ncat:250,50,83::\nbackground:0,0,0::\ndog:51,221,255::\n"
)
COLORS = {0: (0, 0, 0), 1: (250, 50, 83), 2: (51, 221, 255), 255: (224, 224, 192)}
CASES = Path(__file__).resolve().parents[3] / "shared" / "cases" / "06_cvat_labelmap" / "VOC2007"


def colored(mask):
    """The mask as RGB, pixel by pixel."""
    return [[COLORS[value] for value in row] for row in mask]


def random_mask(seed, values=(0, 1, 2)):
    return np.random.default_rng(seed).choice(values, (6, 8)).tolist()


def make(folder, names=("a", "b", "c"), label_map=LABEL_MAP):
    """An export with RGB masks; returns {name: mask}."""
    masks = {name: random_mask(seed) for seed, name in enumerate(names)}
    for name, mask in masks.items():
        save(folder / "SegmentationClass" / f"{name}.png", colored(mask))
        picture(folder / "JPEGImages" / f"{name}.jpg")
    (folder / "labelmap.txt").write_text(label_map)
    return masks


def test_colours_become_ids_and_the_background_0(tmp_path, capsys):
    masks = make(tmp_path / "cvat")
    assert convert(tmp_path / "cvat") == (0, masks, ["background", "cat", "dog"])
    printed = capsys.readouterr().out
    assert "Format: CVAT segmentation masks, from labelmap.txt beside SegmentationClass" in printed
    assert "names 'background' on line 3, after other classes. It became id 0" in printed


def test_the_colours_of_a_palette_count_not_its_indices(tmp_path):
    """Index 7 shows the cat's colour, 0 the dog's, 3 the background's."""
    masks = make(tmp_path / "cvat")
    indices = {0: 3, 1: 7, 2: 0}
    palette = np.full((256, 3), 99, np.uint8)
    for value, index in indices.items():
        palette[index] = COLORS[value]
    for name, mask in masks.items():
        image = Image.fromarray(np.array([[indices[v] for v in row] for row in mask], np.uint8))
        image.putpalette(palette.tobytes())
        image.save(tmp_path / "cvat" / "SegmentationClass" / f"{name}.png")
    assert convert(tmp_path / "cvat")[1] == masks


def test_folders_of_images_keep_their_pairs(tmp_path):
    masks = make(tmp_path / "cvat", ["one/a", "two/b"])
    assert convert(tmp_path / "cvat")[1] == {"a": masks["one/a"], "b": masks["two/b"]}


def test_void_and_a_class_list(tmp_path):
    folder = tmp_path / "cvat"
    make(folder, "ab", f"{LABEL_MAP}ignored:224,224,192::\n")
    mask = random_mask(5, (0, 1, 2, 255))
    save(folder / "SegmentationClass" / "a.png", colored(mask))
    (tmp_path / "list.txt").write_text("dog\ncat\n")
    _, found, classes = convert(folder, classes=str(tmp_path / "list.txt"))
    assert classes == ["background", "dog", "cat"]
    assert found["a"] == [[{1: 2, 2: 1}.get(value, value) for value in row] for row in mask]


def test_an_unknown_colour_leaves_out_its_image_and_is_named(tmp_path, capsys):
    folder = tmp_path / "cvat"
    masks = make(folder)
    pixels = np.array(colored(masks["b"]))
    pixels[2, 3] = (1, 2, 3)
    path = save(folder / "SegmentationClass" / "b.png", pixels)
    status, found, _ = convert(folder)
    assert (status, found) == (1, {"a": masks["a"], "c": masks["c"]})
    assert f"{path} holds (1, 2, 3), which stands for no class." in capsys.readouterr().out
    with pytest.raises(UserError, match=r"holds \(1, 2, 3\), which stands for no class"):
        convert(folder, strict=True)
    assert not (tmp_path / "VOCdevkit").exists()


def test_broken_files_and_those_without_a_partner_are_left_out(tmp_path, capsys):
    folder = tmp_path / "cvat"
    masks = make(folder, "abcd")
    (folder / "SegmentationClass" / "a.png").write_bytes(b"\x89PNG no")
    (folder / "JPEGImages" / "b.jpg").unlink()
    (folder / "SegmentationClass" / "c.png").unlink()
    status, found, _ = convert(folder)
    assert (status, found) == (1, {"d": masks["d"]})
    printed = capsys.readouterr().out
    assert "a.png can't be read: cannot identify" in printed
    assert "b.png belongs to no image: there is no b in" in printed
    assert "1 images have no mask and are left out, such as " in printed


def test_masks_that_are_no_lossless_colours(tmp_path, capsys):
    folder = tmp_path / "cvat"
    masks = make(folder, "abcd")
    save(folder / "SegmentationClass" / "a.jpg", colored(masks["a"]))
    (folder / "SegmentationClass" / "a.png").unlink()
    clear = np.dstack([colored(masks["b"]), np.zeros((6, 8))])
    save(folder / "SegmentationClass" / "b.png", clear)
    Image.fromarray(np.zeros((6, 8), np.uint16)).save(folder / "SegmentationClass" / "c.png")
    assert convert(folder)[1] == {"d": masks["d"]}
    printed = capsys.readouterr().out
    assert "a.jpg is compressed with loss (JPEG)" in printed
    assert "b.png is partly transparent" in printed
    assert "c.png has the mode I" in printed


def test_images_elsewhere(tmp_path):
    folder = tmp_path / "cvat"
    masks = make(folder)
    (folder / "JPEGImages").rename(tmp_path / "pictures")
    with pytest.raises(UserError, match=r"export them too \(Save images\), or set image_dir"):
        convert(folder)
    assert convert(folder, image_dir=str(tmp_path / "pictures"))[1] == masks


def test_an_image_of_another_size(tmp_path):
    make(tmp_path / "cvat", "a")
    picture(tmp_path / "cvat" / "JPEGImages" / "a.jpg", (9, 9))
    with pytest.raises(UserError, match=r"says that the image is 8x6 pixels, but .* is 9x9"):
        convert(tmp_path / "cvat")


def test_two_masks_of_one_name(tmp_path):
    make(tmp_path / "cvat", "a")
    save(tmp_path / "cvat" / "SegmentationClass" / "a.tif", colored(random_mask(1)))
    with pytest.raises(UserError, match=r"a\.png and .*a\.tif have the same name\. Which one"):
        convert(tmp_path / "cvat")


def test_two_exports(tmp_path):
    make(tmp_path / "cvat" / "one")
    make(tmp_path / "cvat" / "two")
    with pytest.raises(UserError, match=r"holds 2 exports, beginning with .*one and .*two\. Colo"):
        convert(tmp_path / "cvat")


def test_a_folder_without_a_label_map(tmp_path):
    make(tmp_path / "cvat")
    (tmp_path / "cvat" / "labelmap.txt").unlink()
    with pytest.raises(UserError, match=r"has no labelmap\.txt beside a folder SegmentationClass"):
        convert(tmp_path / "cvat", format="cvat_masks")


@pytest.mark.skipif(not CASES.is_dir(), reason="the collected cases are not there")
def test_a_collected_export(tmp_path):
    """A reader of its own: OpenCV's pixels, compared with the colours that CVAT wrote."""
    cv2 = pytest.importorskip("cv2")
    (tmp_path / "cvat").symlink_to(CASES)
    _, found, classes = convert(tmp_path / "cvat")
    assert classes == ["background", "cat", "dog"]
    for path in (CASES / "SegmentationClass").iterdir():
        pixels = cv2.imread(str(path))[..., ::-1]
        for value in range(3):
            expected = (pixels == COLORS[value]).all(axis=2)
            np.testing.assert_array_equal(np.array(found[path.stem]) == value, expected)


@pytest.mark.slow
def test_damaged_exports(tmp_path):
    results, refusals = survives(tmp_path / "cvat", make, (".txt",))
    assert results > 20 and refusals > 20
