"""Cityscapes, through the script."""

import numpy as np
import pytest
from conversions import convert, picture, save, survives

from errors import UserError
from utils.convert.cityscapes import CLASSES, read_train_ids

# Independent of the table in the module: the label ids of the train ids 0 to 18 in order, as the
# benchmark's evaluation lists them, and the void colours of label ids 4, 5, 6, 9, 10, 14, ...
TRAINED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
NAMES = (
    "road sidewalk building wall fence pole traffic_light traffic_sign vegetation terrain sky "
    "person rider car truck bus train motorcycle bicycle"
)
HEX = (
    "804080 f423e8 464646 66669c be9999 999999 faaa1e dcdc00 6b8e23 98fb98 4682b4 dc143c ff0000 "
    "00008e 000046 003c64 005064 0000e6 770b20"
)
VOID_HEX = "000000 6f4a00 510051 faaaa0 e6968c b4a5b4 966464 96785a 00005a 00006e"


def to_train_ids(mask):
    return [[TRAINED.index(v) if v in TRAINED else 255 for v in row] for row in mask.tolist()]


def label_ids(seed):
    return np.random.default_rng(seed).integers(0, 34, (6, 8))


def make(folder, kind="labelIds", splits=(("train", "aachen_000000_000019"), ("val", "x_1_2"))):
    """A folder with masks of label ids; returns {image name: label ids}."""
    masks = {}
    for seed, (split, name) in enumerate(splits):
        city = name.partition("_")[0]
        masks[f"{name}_leftImg8bit"] = label_ids(seed)
        picture(folder / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png")
        path = folder / "gtFine" / split / city / f"{name}_gtFine_{kind}.png"
        save(path, masks[f"{name}_leftImg8bit"])
        save(path.with_name(f"{name}_gtFine_instanceIds.png"), label_ids(9))
    return masks


def test_the_table_of_classes():
    assert [label for _, label, _ in CLASSES] == list(TRAINED)
    assert [name.replace(" ", "_") for name, _, _ in CLASSES] == NAMES.split()
    assert [bytes(color).hex() for _, _, color in CLASSES] == HEX.split()


def test_label_ids_become_train_ids(tmp_path, capsys):
    masks = make(tmp_path / "cityscapes")
    status, found, classes = convert(tmp_path / "cityscapes")
    assert (status, classes) == (0, [name.replace("_", " ") for name in NAMES.split()])
    assert found == {name: to_train_ids(mask) for name, mask in masks.items()}
    printed = capsys.readouterr().out
    assert printed.startswith("Format: Cityscapes, from the name gtFine/train/aachen/aachen_")
    assert "Cityscapes has no background class: road is id 0." in printed
    assert "num_classes: int = 19" in printed


def test_every_label_id(tmp_path):
    path = save(tmp_path / "a.png", np.arange(34)[None])
    assert read_train_ids(path, "labelIds").tolist() == to_train_ids(np.arange(34)[None])


def test_train_ids_and_colours(tmp_path):
    ids = np.array([[*range(19), 255]])
    path = save(tmp_path / "a.png", ids)
    assert read_train_ids(path, "labelTrainIds").tolist() == ids.tolist()
    colors = [list(bytes.fromhex(one)) for one in f"{HEX} {VOID_HEX}".split()]
    for channels in (colors, [[*color, 255] for color in colors]):
        path = save(tmp_path / "a.png", [channels])
        assert read_train_ids(path, "color").tolist() == [[*range(19), *[255] * 10]]


@pytest.mark.parametrize("kind", ["labelTrainIds", "color"])
def test_other_kinds_of_masks(tmp_path, capsys, kind):
    folder = tmp_path / "cityscapes"
    make(folder)
    expected = {}
    for number, path in enumerate(sorted(folder.rglob("*_labelIds.png"))):
        ids = np.random.default_rng(number).integers(0, 19, (6, 8))
        colors = [list(bytes.fromhex(one)) for one in HEX.split()]
        pixels = ids if kind == "labelTrainIds" else np.array(colors)[ids]
        save(path.with_name(path.name.replace("labelIds", kind)), pixels)
        path.unlink()
        expected[path.name.replace("gtFine_labelIds.png", "leftImg8bit")] = ids.tolist()
    assert convert(folder)[1] == expected
    said = "polegroup has the colour of pole" in capsys.readouterr().out
    assert said == (kind == "color")


def test_the_test_split_of_the_download_is_void(tmp_path, capsys):
    folder = tmp_path / "cityscapes"
    masks = make(folder, splits=(("train", "a_1_2"), ("test", "b_1_2"), ("test", "c_1_2")))
    for path in (folder / "gtFine" / "test").rglob("*_labelIds.png"):
        save(path, np.full((6, 8), 3))
    status, found, _ = convert(folder)
    assert (status, found.keys()) == (0, {"a_1_2_leftImg8bit"})
    assert "2 images of the split test are left out: all of it is void." in capsys.readouterr().out
    save(folder / "gtFine" / "test" / "b" / "b_1_2_gtFine_labelIds.png", label_ids(1))
    assert convert(folder)[1].keys() == masks.keys()


def test_fine_masks_come_before_coarse_ones(tmp_path):
    folder = tmp_path / "cityscapes"
    masks = make(folder)
    for path in list(folder.rglob("*_gtFine_labelIds.png")):
        save(path.with_name(path.name.replace("Fine", "Coarse")), np.zeros((6, 8)))
    assert convert(folder)[1] == {name: to_train_ids(mask) for name, mask in masks.items()}
    name = next(iter(masks))
    next(folder.rglob(f"{name.removesuffix('_leftImg8bit')}_gtFine_labelIds.png")).unlink()
    assert convert(folder)[1][name] == [[255] * 8] * 6


def test_a_class_list(tmp_path):
    folder = tmp_path / "cityscapes"
    masks = make(folder)
    names = [name.replace("_", " ") for name in reversed(NAMES.split())]
    (tmp_path / "list.txt").write_text("\n".join(names))
    _, found, classes = convert(folder, classes=str(tmp_path / "list.txt"))
    assert classes == ["background", *names]
    table = {**{value: 19 - value for value in range(19)}, 255: 255}
    assert found == {
        name: [[table[value] for value in row] for row in to_train_ids(mask)]
        for name, mask in masks.items()
    }


def test_what_is_broken_or_alone_is_left_out(tmp_path, capsys):
    folder = tmp_path / "cityscapes"
    names = [f"{letter}_1_2" for letter in "abcd"]
    make(folder, splits=[("train", name) for name in names])
    masks = folder / "gtFine" / "train"
    (masks / "a" / "a_1_2_gtFine_labelIds.png").write_bytes(b"no image")
    save(masks / "b" / "b_1_2_gtFine_labelIds.png", np.full((6, 8), 34))
    (folder / "leftImg8bit" / "train" / "c" / "c_1_2_leftImg8bit.png").unlink()
    status, found, _ = convert(folder)
    assert (status, found.keys()) == (1, {"d_1_2_leftImg8bit"})
    printed = capsys.readouterr().out
    assert "a_1_2_gtFine_labelIds.png can't be read" in printed
    assert "holds the values 34. Expected Cityscapes' labelIds: 0 to 33." in printed
    assert "belongs to no image: c_1_2_leftImg8bit.png is not in " in printed


def test_values_that_are_no_train_ids(tmp_path):
    with pytest.raises(UserError, match=r"holds the values 19, 20\. Expected .* 0 to 18, and 255"):
        read_train_ids(save(tmp_path / "a.png", [[0, 19, 20]]), "labelTrainIds")
    with pytest.raises(UserError, match=r"holds \(1, 2, 3\), which stands for no class"):
        read_train_ids(save(tmp_path / "a.png", [[[1, 2, 3]]]), "color")


def test_images_elsewhere_and_masks_nowhere(tmp_path):
    folder = tmp_path / "cityscapes"
    masks = make(folder)
    (folder / "leftImg8bit").rename(tmp_path / "pictures")
    assert convert(folder, image_dir=str(tmp_path / "pictures"))[1].keys() == masks.keys()
    with pytest.raises(UserError, match=r"pictures holds no masks such as gtFine/train/<city>/"):
        convert(tmp_path / "pictures", format="cityscapes")


@pytest.mark.slow
def test_damaged_folders(tmp_path):
    results, refusals = survives(tmp_path / "cityscapes", make)
    assert results > 100
    assert results + refusals == 200
