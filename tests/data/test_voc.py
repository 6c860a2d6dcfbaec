"""The VOC folder: its lists, and the image and mask of each line."""

import pytest

from errors import UserError
from utils.data.voc import (
    Sample,
    image_extensions,
    index_folder,
    list_path,
    read_samples,
    voc_folder,
)


def test_voc_folder_is_voc2007_or_the_path_itself(tmp_path):
    inner = tmp_path / "VOC2007"
    (tmp_path / "JPEGImages").mkdir()
    assert voc_folder(str(tmp_path)) == tmp_path
    (inner / "JPEGImages").mkdir(parents=True)
    assert voc_folder(tmp_path) == inner
    assert list_path(tmp_path, "val") == inner / "ImageSets" / "Segmentation" / "val.txt"


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(UserError) as caught:
        voc_folder(tmp_path)
    assert f"No dataset in VOCdevkit_path {str(tmp_path)!r}: there is no" in str(caught.value)
    assert str(tmp_path / "VOC2007" / "JPEGImages") in str(caught.value)


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_index_folder_sorts_and_skips_what_is_no_image(tmp_path):
    touch(tmp_path, "b.JPG", "a.v2.png", "c.txt", ".d.jpg", "noextension", "é 猫.Jpeg")
    found = index_folder(tmp_path, image_extensions())
    assert list(found) == ["a.v2", "b", "é 猫"]
    assert found["b"] == tmp_path / "b.JPG"


def test_index_folder_without_a_folder(tmp_path):
    with pytest.raises(UserError) as caught:
        index_folder(tmp_path / "none", image_extensions())
    assert str(caught.value) == f"There is no folder {tmp_path / 'none'}."


def test_two_files_of_one_name_are_refused(tmp_path):
    touch(tmp_path, "cat.jpg", "cat.png")
    with pytest.raises(UserError) as caught:
        index_folder(tmp_path, image_extensions())
    assert str(caught.value).startswith(f"{tmp_path} holds both cat.jpg and cat.png: ")


def test_image_extensions_are_those_that_can_be_read():
    extensions = image_extensions()
    assert {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"} <= extensions
    assert not {".pdf", ".mpg", ".txt"} & extensions


@pytest.fixture
def named(tmp_path, write_list):
    """named(lines, images, masks): a VOC folder of empty files; reads its list."""

    def make(lines, images, masks):
        touch(tmp_path / "VOC2007" / "JPEGImages", *images)
        touch(tmp_path / "VOC2007" / "SegmentationClass", *masks)
        path = write_list(tmp_path, "train", [])
        path.write_bytes(lines if isinstance(lines, bytes) else lines.encode())
        return read_samples(tmp_path, "train")

    return make


def test_samples_come_in_the_list_s_order(voc_dir, write_list):
    write_list(voc_dir, "train", ["train_c", "val_a", "train_a"])
    samples = read_samples(voc_dir, "train")
    folder = voc_dir / "VOC2007"
    assert [sample.name for sample in samples] == ["train_c", "val_a", "train_a"]
    assert samples[0] == Sample(
        "train_c",
        folder / "JPEGImages" / "train_c.jpg",
        folder / "SegmentationClass" / "train_c.png",
    )


@pytest.mark.parametrize(
    "lines",
    [
        "a\nb\n",
        "a\nb",
        "a\r\nb\r\n",
        "\ufeffa\r\nb",
        "\n a \n\n\tb\n \n",
        "a  \nb",
    ],
)
def test_line_ends_marks_and_blank_lines(named, lines):
    samples = named(lines, ["a.jpg", "b.png"], ["a.png", "b.png"])
    assert [(one.name, one.image_path.name) for one in samples] == [("a", "a.jpg"), ("b", "b.png")]


@pytest.mark.parametrize(
    "name", ["two words", "2024.01.02 v1.5", "猫和狗", "naïve", " spaced ", "a,b;c'd", "a\tb"]
)
def test_names_are_whole_lines(named, name):
    samples = named(f"{name}\n", [f"{name}.JPEG"], [f"{name}.PNG"])
    assert [sample.name for sample in samples] == [name]
    assert samples[0].image_path.name == f"{name}.JPEG"
    assert samples[0].mask_path.name == f"{name}.PNG"


def test_a_missing_list(voc_dir):
    with pytest.raises(UserError) as caught:
        read_samples(voc_dir, "test")
    path = list_path(voc_dir, "test")
    assert str(caught.value) == f"There is no list {path}. Run voc_annotation.py first."


@pytest.mark.parametrize("lines", ["", "\n \r\n\n", "\ufeff"])
def test_an_empty_list(named, lines):
    with pytest.raises(UserError, match=r"train\.txt is empty\. Put images in the dataset"):
        named(lines, ["a.jpg"], ["a.png"])


@pytest.mark.parametrize("encoding", ["gbk", "utf-16-le"])
def test_a_list_in_another_encoding(named, encoding):
    with pytest.raises(
        UserError, match=r"train\.txt is not UTF-8 text.* or run voc_annotation\.py"
    ):
        named("猫和狗\n".encode(encoding), ["a.jpg"], ["a.png"])


@pytest.mark.parametrize(
    ("name", "images", "masks", "message"),
    [
        ("dog", ["cow.jpg"], ["dog.png"], "names 'dog', which has no image. Add the file"),
        ("dog", ["dog.jpg"], ["cow.png"], "names 'dog', which has no mask. Add the file"),
        (
            "dog.jpg",
            ["dog.jpg"],
            ["dog.png"],
            "names 'dog.jpg', which has no image. Names stand without extension: write 'dog'.",
        ),
        ("dog", ["Dog.jpg"], ["dog.png"], "no image. Did you mean 'Dog.jpg'? Case and"),
        ("dog", ["dog.jpg"], ["DOG.png"], "no mask. Did you mean 'DOG.png'? Case and"),
        ("dog_01", ["dog_01.jpg"], ["dog_01_mask.png"], "Did you mean 'dog_01_mask.png'?"),
        ("dog", ["dog.jpg"], ["dog.jpg"], "has no mask. dog.jpg is compressed with loss, which"),
        ("dog", ["dog.jpg"], ["dog.webp"], "has no mask. dog.webp is compressed with loss, which"),
        ("dog", ["dog.jpg"], ["dog.tif"], "has no mask. dog.tif is no PNG file: python voc_annot"),
        ("dog", ["dog.jpg"], ["dog.BMP"], "has no mask. dog.BMP is no PNG file: python voc_annot"),
        ("Dog.JPG", ["dog.jpg"], ["dog.png"], "has no image. Did you mean 'dog.jpg'? Case and"),
        (
            "a.png\ndog\nb.png",
            ["a.jpg", "dog.jpg"],
            ["a.png", "dog.png"],
            "Names stand without extension: write 'a'. In all, 2 of its 3 lines name no image "
            "with a mask; python voc_annotation.py --check_only sums up why.",
        ),
    ],
)
def test_names_without_image_or_mask(named, name, images, masks, message):
    with pytest.raises(UserError) as caught:
        named(name, images, masks)
    assert message in str(caught.value)
    assert "train.txt" in str(caught.value)


COMPOSED, APART = "é한", "e\u0301\u1112\u1161\u11ab"  # the same letters in NFC and NFD


@pytest.mark.parametrize("line", [COMPOSED, APART])
@pytest.mark.parametrize("image", [COMPOSED, APART])
@pytest.mark.parametrize("mask", [COMPOSED, APART])
def test_letters_in_two_unicode_forms_are_the_same(named, line, image, mask):
    (sample,) = named(line, [f"{image}.jpg"], [f"{mask}.png"])
    assert sample.name == image
    assert (sample.image_path.name, sample.mask_path.name) == (f"{image}.jpg", f"{mask}.png")


def test_two_unicode_forms_of_a_name_in_one_folder(tmp_path):
    touch(tmp_path, f"{COMPOSED}.jpg", f"{APART}.jpg")
    message = rf"holds both {APART}\.jpg and {COMPOSED}\.jpg \(the letters in two Unicode forms\)"
    with pytest.raises(UserError, match=message):
        index_folder(tmp_path, image_extensions())
    duplicates = []
    assert list(index_folder(tmp_path, image_extensions(), duplicates)) == [COMPOSED]
    assert duplicates == [f"{APART}.jpg and {COMPOSED}.jpg (the letters in two Unicode forms)"]
