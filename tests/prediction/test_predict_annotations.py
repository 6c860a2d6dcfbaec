"""predict.py with annotations: which files come when, and what a second run does."""

import json
import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from made_networks import segment_folder, single
from PIL import Image
from pycocotools.coco import COCO

import predict
from errors import UserError
from predict import PredictConfig
from utils.config import run_script
from utils.images.reading import read_image
from utils.labels import voc_palette
from utils.prediction.stream import Outcome

COCO_FILE = "coco/annotations/instances_default.json"
CVAT_FILE = "cvat/annotations/annotations.xml"


class FakeUnet:
    """Stands for the network: bright pixels are cells."""

    precision_reason = report = ""
    size_reason = ""
    colors = voc_palette(256)
    description = SimpleNamespace(in_channels=3, name_classes=("nothing", "cell"), value_range=None)

    def __init__(self, *_, **__):
        FakeUnet.last = self
        self.read = []

    def predict_array(self, pixels, progress=False):
        return (pixels[..., 0] > 127).astype(np.uint8)

    def predict_files(self, paths, batch_size, finish, title, progress):
        for path in paths:
            self.read.append(path.name)
            if self.read == getattr(FakeUnet, "stop_at", None):
                raise KeyboardInterrupt
            try:
                pixels = read_image(path)
                yield Outcome(path, finish(path, pixels, self.predict_array(pixels)), None)
            except UserError as error:
                yield Outcome(path, None, error)

    def draw(self, pixels, mask, legend, out):
        out[:] = self.colors[mask]
        return out


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    """Takes the place of the module `unet`, which takes seconds to load."""
    monkeypatch.setitem(sys.modules, "unet", SimpleNamespace(Unet=FakeUnet))


@pytest.fixture
def folder(tmp_path, rng):
    """folder(**settings): segments a folder of three images; returns the exit status."""
    for name in ("a.png", "b.png", "sub/c.png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.kron(rng.integers(0, 2, (4, 6)), np.full((5, 5), 255)).astype(np.uint8)
        Image.fromarray(pixels).convert("RGB").save(path)

    return partial(segment_folder, tmp_path)


def coco_names(path):
    return [image["file_name"] for image in json.loads(path.read_text())["images"]]


def test_nothing_is_written_unless_asked_for(folder, tmp_path):
    assert folder() == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a.png", "a_mask.png", "b.png", "b_mask.png", "sub",
    ]  # fmt: skip


def test_labelme_files_of_a_folder(folder, tmp_path):
    assert folder(annotations="labelme") == 0
    labelme = tmp_path / "out" / "labelme"
    made = {path.relative_to(labelme).as_posix() for path in labelme.rglob("*.*")}
    assert made == {"a.json", "b.json", "sub/c.json", "classes.txt"}
    content = json.loads((labelme / "sub" / "c.json").read_text())
    assert {shape["label"] for shape in content["shapes"]} <= {"cell", "_background_"}


@pytest.mark.parametrize("tolerance", [0, 1])
def test_the_coco_file_of_a_folder_holds_the_masks(folder, tmp_path, capsys, tolerance):
    assert folder(annotations="coco", annotation_tolerance=tolerance) == 0
    path = tmp_path / "out" / COCO_FILE
    assert f"saved {path}, with 3 images\n" in capsys.readouterr().out
    coco = COCO(path)
    for image in coco.imgs.values():
        drawn = (tmp_path / "out" / image["file_name"]).with_suffix("")
        with Image.open(f"{drawn}_mask.png") as opened:
            mask = np.array(opened)
        found = sum(coco.annToMask(one) for one in coco.imgToAnns[image["id"]])
        # Blocks of five pixels have corners, which a tolerance of 1 doesn't reach.
        np.testing.assert_array_equal(found, mask)


@pytest.mark.parametrize(("kind", "name"), [("coco", COCO_FILE), ("cvat", CVAT_FILE)])
def test_an_interrupted_run_resumes_to_a_whole_file(folder, tmp_path, monkeypatch, kind, name):
    monkeypatch.setattr(FakeUnet, "stop_at", ["a.png", "b.png"], raising=False)
    with pytest.raises(KeyboardInterrupt):
        folder(annotations=kind)
    path = tmp_path / "out" / name
    assert not path.exists()
    monkeypatch.setattr(FakeUnet, "stop_at", None)
    assert folder(annotations=kind, resume=True) == 0
    assert FakeUnet.last.read == ["b.png", "c.png"]
    text = path.read_text(encoding="utf-8")
    assert all(f'"{image}"' in text for image in ("a.png", "b.png", "sub/c.png"))


def test_an_interrupted_run_resumes_with_labelme(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(FakeUnet, "stop_at", ["a.png", "b.png"], raising=False)
    with pytest.raises(KeyboardInterrupt):
        folder(annotations="labelme")
    labelme = tmp_path / "out" / "labelme"
    (labelme / "a.json").write_text("corrected")
    (labelme / "b.json").write_text("begun")
    monkeypatch.setattr(FakeUnet, "stop_at", None)
    assert folder(annotations="labelme", resume=True) == 0
    assert FakeUnet.last.read == ["b.png", "c.png"]
    # What was there is left as it was.
    assert [(labelme / f"{name}.json").read_text() for name in "ab"] == ["corrected", "begun"]
    assert (labelme / "sub" / "c.json").exists()


def test_annotations_of_results_that_are_there(folder, tmp_path, monkeypatch):
    folder()
    assert folder(annotations="coco", resume=True) == 0
    assert FakeUnet.last.read == []
    assert coco_names(tmp_path / "out" / COCO_FILE) == ["a.png", "b.png", "sub/c.png"]
    monkeypatch.setattr(predict, "load_unet", lambda config: pytest.fail("loaded"))
    assert folder(annotations="coco", resume=True) == 0


@pytest.mark.parametrize("kind", ["labelme", "coco", "cvat"])
def test_a_second_run_is_refused_before_the_network_loads(folder, monkeypatch, kind):
    folder(annotations=kind)
    monkeypatch.setattr(predict, "load_unet", lambda config: pytest.fail("loaded"))
    with pytest.raises(UserError, match="already"):
        folder(annotations=kind)


def test_images_that_fail_are_left_out(folder, tmp_path):
    folder()  # their masks of an earlier run are there
    (tmp_path / "in" / "b.png").write_bytes(b"no image")
    assert folder(annotations="coco") == 1
    assert coco_names(tmp_path / "out" / COCO_FILE) == ["a.png", "sub/c.png"]


@pytest.mark.usefixtures("folder")
def test_images_by_name_share_a_file(tmp_path):
    assert predict.main(single(tmp_path, "sub/c.png", "a.png", annotations="coco")) == 0
    assert coco_names(tmp_path / "out" / COCO_FILE) == ["c.png", "a.png"]
    with pytest.raises(UserError, match="is there already, and nothing is overwritten"):
        predict.main(single(tmp_path, "b.png", annotations="coco"))


@pytest.mark.usefixtures("folder")
def test_an_image_with_annotations_keeps_them_and_its_results(tmp_path, capsys):
    assert predict.main(single(tmp_path, "a.png", annotations="labelme")) == 0
    corrected = tmp_path / "out" / "labelme" / "a.json"
    corrected.write_text("corrected")
    drawn = (tmp_path / "out" / "a.png").stat().st_mtime_ns
    assert predict.main(single(tmp_path, "a.png", "b.png", annotations="labelme")) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {corrected} is there already and may hold corrections.")
    assert corrected.read_text() == "corrected"
    assert (tmp_path / "out" / "a.png").stat().st_mtime_ns == drawn
    assert (tmp_path / "out" / "labelme" / "b.json").exists()


def test_annotations_of_a_video_are_one_line(capsys):
    with pytest.raises(SystemExit) as caught:
        run_script(lambda: PredictConfig(mode="video", video_save_path="x.mp4", annotations="coco"))
    assert caught.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith(
        "annotations 'coco' are of images: mode must be predict or dir_predict; got 'video'."
    )
