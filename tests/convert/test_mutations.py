"""Broken annotations of every format: one message or a right result, and nothing half-written."""

import base64
import copy
import io
import json
import random
import zlib
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import json_to_dataset
from errors import UserError
from json_to_dataset import ConvertConfig
from utils.convert.annotated_images import ImageFinder
from utils.convert.annotations import make_classes
from utils.convert.formats import FORMATS
from utils.convert.scan import Options
from utils.convert.source import Source

SIZE = (6, 8)
COUNT = 200  # mutations of each format
WHOLE = 40  # every so many also go through the whole script
SQUARE = [[1, 1], [4, 1], [4, 3], [1, 3]]
FLAT = [1, 1, 4, 1, 4, 3, 1, 3]


def to_base64(image, compressed=False):
    stream = io.BytesIO()
    image.save(stream, "PNG")
    data = stream.getvalue()
    return base64.b64encode(zlib.compress(data) if compressed else data).decode("ascii")


def labelme():
    crop = to_base64(Image.new("1", (3, 2), 1))
    shapes = [
        {"label": "cat", "points": SQUARE, "shape_type": "polygon"},
        {"label": "dog", "points": [[2, 2], [5, 5]], "shape_type": "rectangle"},
        {"label": "dog", "points": [[1, 1], [3, 2]], "shape_type": "mask", "mask": crop},
        {"label": "cat", "points": [[1, 1], [2, 2]], "shape_type": "mask", "mask": [[1, 0]] * 2},
        {"label": "cat", "points": [[3, 3], [4, 4]], "shape_type": "circle"},
    ]
    size = {"imageHeight": SIZE[0], "imageWidth": SIZE[1]}
    return "a.json", {"shapes": shapes, "imagePath": "a.png", "imageData": None} | size


def coco_lists(annotations):
    names = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog", "isthing": 0}]
    image = {"id": 3, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1]}
    return {"images": [image], "annotations": annotations, "categories": names}


def coco():
    rle = {"size": list(SIZE), "counts": [7, 2, 4, 2, 4, 2, 27]}
    outlines = [[FLAT], FLAT, rle, rle | {"counts": "724000g0"}, []]
    box = {"bbox": [1, 1, 3, 2], "iscrowd": 0}
    return "a.json", coco_lists(
        [{"image_id": 3, "category_id": 1, "segmentation": one} | box for one in outlines]
    )


def coco_panoptic():
    segments = [{"id": key, "category_id": key, "iscrowd": 0} for key in (1, 2)]
    return "a.json", coco_lists([{"image_id": 3, "file_name": "a.png", "segments_info": segments}])


def label_studio():
    # 192 values of 8 bits, lengths of 8 bits; one block: 192 times 255.
    bits = f"{192:032b}" + "00111" + "0111" * 4 + "100" + f"{191:08b}" + "1" * 8
    packed = list(int(bits, 2).to_bytes(len(bits) // 8, "big"))
    kinds = {
        "polygon": {"points": [[0, 0], [50, 0], [50, 50]]},
        "rectangle": {"x": 1, "y": 1, "width": 50, "height": 50, "rotation": 10},
        "ellipse": {"x": 50, "y": 50, "radiusX": 20, "radiusY": 30, "rotation": 0},
        "brush": {"format": "rle", "rle": packed},
    }
    results = [
        {
            "id": kind,
            "type": f"{kind}labels",
            "to_name": "image",
            "original_width": SIZE[1],
            "original_height": SIZE[0],
            "value": value | {f"{kind}labels": ["cat"]},
        }
        for kind, value in kinds.items()
    ]
    annotation = {"id": 1, "result": results, "was_cancelled": False}
    return "a.json", [{"id": 1, "data": {"image": "a.png"}, "annotations": [annotation]}]


def supervisely():
    outline = {"exterior": SQUARE, "interior": [[[2, 2], [3, 2], [3, 3]]]}
    bitmap = {"data": to_base64(Image.new("L", (3, 2), 255), True), "origin": [1, 1]}
    objects = [
        {"classTitle": "cat", "geometryType": "polygon", "points": outline},
        {"classTitle": "dog", "geometryType": "bitmap", "bitmap": bitmap},
        {
            "classTitle": "cat",
            "geometryType": "rectangle",
            "points": {"exterior": [[0, 0], [2, 2]], "interior": []},
        },
    ]
    return "a.png.json", {"size": {"height": SIZE[0], "width": SIZE[1]}, "objects": objects}


def via():
    shapes = [
        {"name": "polygon", "all_points_x": [1, 4, 4], "all_points_y": [1, 1, 3]},
        {"name": "rect", "x": 1, "y": 1, "width": 3, "height": 2},
        {"name": "circle", "cx": 3, "cy": 3, "r": 2},
        {"name": "ellipse", "cx": 3, "cy": 3, "rx": 2, "ry": 1, "theta": 0.5},
        {"name": "polyline", "all_points_x": [1, 4], "all_points_y": [1, 1]},
    ]
    regions = [{"shape_attributes": one, "region_attributes": {"kind": "cat"}} for one in shapes]
    images = {"a.png9": {"filename": "a.png", "size": 9, "regions": regions}}
    options = {"region": {"kind": {"type": "dropdown", "options": {"cat": "", "dog": ""}}}}
    return "a.json", {"_via_img_metadata": images, "_via_attributes": options}


def cvat():
    shapes = (
        '<polygon label="cat" points="1,1;4,1;4,3" z_order="1"/>'
        '<box label="dog" xtl="1" ytl="1" xbr="4" ybr="3" rotation="20"/>'
        '<ellipse label="cat" cx="3" cy="3" rx="2" ry="1" rotation="20"/>'
        '<mask label="dog" rle="0, 3, 3" left="1" top="1" width="3" height="2"/>'
        '<polyline label="cat" points="1,1;4,1"/>'
    )
    meta = "<meta><task><labels><label><name>cat</name></label></labels></task></meta>"
    image = f'<image name="a.png" width="{SIZE[1]}" height="{SIZE[0]}">{shapes}</image>'
    return "a.xml", f"<annotations>{meta}{image}</annotations>"


CONTENTS = {
    make.__name__: make
    for make in (labelme, coco, coco_panoptic, label_studio, supervisely, via, cvat)
}
JUNK = (
    None, True, 0, 1, -1, 7, 2.5, 10**6, -(10**30), 1e308, float("nan"), float("inf"), "", "1",
    "cat", "a.png", "\ud800", "x" * 300, [], [1], [[1, 2]], {}, {"a": 1}, {"id": 1}, [[[[[[]]]]]],
)  # fmt: skip
TEXTS = ("", "x", "-1", "1e308", "nan", "inf", "9" * 30, "1,1", "1,1;2,2", "0, 6", "\u00e9")


def places(data):
    """All (container, key) of a JSON value."""
    keys = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in list(keys):
        yield data, key
        if isinstance(value, (dict, list)):
            yield from places(value)


def swapped(value):
    """A number as text, a text as number, one value as a list."""
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return len(value)
    return [value]


def mutate_json(data, rng):
    data = copy.deepcopy(data)
    for _ in range(rng.randint(1, 3)):
        found = list(places(data))
        if not found:
            break
        where, key = rng.choice(found)
        action = rng.choice(["drop", "junk", "junk", "swap", "double"])
        if action == "drop":
            del where[key]
        elif action == "double" and isinstance(where, list):
            where.append(copy.deepcopy(where[key]))
        else:
            where[key] = (
                copy.deepcopy(rng.choice(JUNK)) if action == "junk" else swapped(where[key])
            )
    return json.dumps(data)


def mutate_xml(text, rng):
    root = ElementTree.fromstring(text)
    for _ in range(rng.randint(1, 3)):
        element = rng.choice(list(root.iter()))
        action = rng.choice(["drop", "text", "text", "text", "tag", "child"])
        if action == "tag":
            element.tag = rng.choice(["box", "mask", "polygon", "x"])
        elif action == "child":
            for child in list(element)[: rng.randint(0, 2)]:
                element.remove(child)
        elif element.attrib:
            key = rng.choice(list(element.attrib))
            if action == "drop":
                del element.attrib[key]
            else:
                element.set(key, rng.choice(TEXTS))
        else:
            element.text = rng.choice(TEXTS)
    return ElementTree.tostring(root, encoding="unicode")


@pytest.fixture
def folder(tmp_path):
    """A folder with the image a.png, and a/a.png with the segments 1 and 2."""
    folder = tmp_path / "data"
    (folder / "a").mkdir(parents=True)
    Image.new("RGB", SIZE[::-1]).save(folder / "a.png")
    ids = np.zeros((*SIZE, 3), np.uint8)
    ids[1, :, 0], ids[2, :, 0] = 1, 2
    Image.fromarray(ids).save(folder / "a" / "a.png")
    return folder


def write_mutation(path, content, rng):
    """Writes the content, changed; sometimes cut off."""
    mutate = mutate_xml if isinstance(content, str) else mutate_json
    text = mutate(content, rng)
    if rng.random() < 0.1:
        text = text[: rng.randrange(len(text) + 1)]
    path.write_text(text, encoding="utf-8")


def convert_in_memory(chosen, source, options):
    """Looks through the files and loads all items; returns how many there were."""
    found = chosen.scan(source, options)
    if not any(item.labels for item in found.items):
        return 0
    classes = make_classes(["other", *found.labels, *sorted(found.items[0].labels)])
    for item in found.items:
        image, mask = item.load(classes)
        assert (image.size, mask.shape, mask.dtype) == (SIZE, SIZE, np.uint8)
        assert set(np.unique(mask)) <= {*range(len(classes)), 255}
    return len(found.items)


def convert_by_script(name, path, devkit):
    """Runs the script; a conversion leaves all or nothing."""
    before = sorted(devkit.rglob("*"))
    try:
        json_to_dataset.main(
            ConvertConfig(
                annotations=str(path), format=name, VOCdevkit_path=str(devkit), num_workers=1
            )
        )
    except UserError:
        assert sorted(devkit.rglob("*")) == before
    else:
        names = sorted(one.name for one in devkit.rglob("*") if one.is_file())
        assert names == ["a.png", "a.png", "classes.txt"]


@pytest.mark.parametrize("name", CONTENTS)
def test_mutations(name, folder, tmp_path):
    (chosen,) = (one for one in FORMATS if one.name == name)
    file_name, content = CONTENTS[name]()
    path, rng, refused = folder / file_name, random.Random(name), 0
    for turn in range(COUNT):
        write_mutation(path, content, rng)
        options = Options(ImageFinder(), strict=turn % 2 == 0, fill_boxes=turn % 3 == 0)
        try:
            convert_in_memory(chosen, Source(path), options)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
            assert len(str(error)) < 1500
        chosen.guess(Source(path))
        if turn % WHOLE == 0:
            devkit = tmp_path / f"devkit {turn}"
            devkit.mkdir()
            convert_by_script(name, path, devkit)
    assert COUNT // 5 < refused < COUNT


@pytest.mark.parametrize("name", CONTENTS)
def test_what_is_mutated_is_right(name, folder):
    (chosen,) = (one for one in FORMATS if one.name == name)
    file_name, content = CONTENTS[name]()
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / file_name).write_text(text)
    source = Source(folder / file_name)
    assert chosen.guess(source)
    assert convert_in_memory(chosen, source, Options(ImageFinder(), True, fill_boxes=True)) == 1
