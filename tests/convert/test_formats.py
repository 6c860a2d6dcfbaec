"""Which format files have: guessed from what is in them, and said."""

import json

import pytest

from errors import UserError
from utils.convert.formats import CHOICES, FORMATS, check_format, choose_format
from utils.convert.source import Source

# One small file for each format of JSON, and what tells it.
CONTENTS = {
    "labelme": ({"shapes": []}, "labelme, from 'shapes' in a.json"),
    "coco": (
        {"images": [], "annotations": [], "categories": []},
        "COCO instances, from 'images', 'annotations' and 'categories' in a.json",
    ),
    "coco_panoptic": (
        {"images": [], "annotations": [{"segments_info": []}], "categories": []},
        "COCO panoptic, from 'segments_info' in a.json",
    ),
    "supervisely": (
        {"size": {"height": 1, "width": 1}, "objects": []},
        "Supervisely, from 'objects' and 'size' in a.json",
    ),
    "via": (
        {"_via_settings": {}, "_via_img_metadata": {"a": {"filename": "a.png", "regions": []}}},
        "VGG Image Annotator, from 'filename' and 'regions' in a.json",
    ),
    "label_studio": (
        [{"id": 1, "data": {"image": "a.png"}, "annotations": []}],
        "Label Studio, from tasks with 'data' and 'annotations' in a.json",
    ),
}


@pytest.fixture
def write(tmp_path):
    """write(name, content): a JSON file, or one of bytes; returns the folder."""

    def make(name, content):
        path = tmp_path / "data" / name
        path.parent.mkdir(exist_ok=True)
        is_bytes = isinstance(content, bytes)
        path.write_bytes(content if is_bytes else json.dumps(content).encode())
        return tmp_path / "data"

    return make


def test_the_root_of_an_xml_file(write):
    folder = write("a.xml", b'<?xml version="1.0"?><annotations><image/></annotations>')
    chosen, said = choose_format(Source(folder))
    assert (chosen.name, said) == ("cvat", "Format: CVAT for images, from <annotations> in a.xml.")


@pytest.mark.parametrize("name", CONTENTS)
def test_a_format_is_guessed_from_a_folder_and_from_its_file(name, write):
    content, sentence = CONTENTS[name]
    folder = write("a.json", content)
    write("b.txt", b"something else")
    for path in (folder, folder / "a.json"):
        chosen, said = choose_format(Source(path))
        assert chosen.name == name
        assert said == f"Format: {sentence}."


def test_no_content_looks_like_two_formats(write):
    for content, _ in CONTENTS.values():
        source = Source(write("a.json", content))
        assert len([one for one in FORMATS if one.guess(source)]) == 1


def test_a_set_format_is_not_guessed(write):
    chosen, said = choose_format(Source(write("a.json", {})), "coco")
    assert (chosen.name, said) == ("coco", "Format: COCO instances, as the setting format says.")


def test_names_are_unique_and_known(write):
    assert len(set(CHOICES)) == len(CHOICES) == len(FORMATS) + 1
    for name in CHOICES:
        check_format(name)
    with pytest.raises(UserError, match="format must be one of auto, labelme, "):
        check_format("LabelMe")


def test_content_of_no_format(write):
    with pytest.raises(UserError, match=r"data holds annotations of no known format\. ") as caught:
        choose_format(Source(write("a.json", {"a": 1})))
    for one in FORMATS:
        assert f"\n  {one.name}: {one.title}, {one.content}\n" in str(caught.value)


def test_a_file_that_is_no_json(write):
    with pytest.raises(UserError, match=r"a\.json can't be read as JSON: "):
        choose_format(Source(write("a.json", b"{")))


def test_an_archive(write):
    with pytest.raises(UserError, match=r"job\.zip is an archive\. Unpack it and set annotations"):
        choose_format(Source(write("job.zip", b"PK")))
