"""Images of a visitor, segmented and taken home, without a browser."""

import csv
import json
import zipfile

import numpy as np
import pytest
import tifffile
from PIL import Image

pytest.importorskip("gradio", reason="Gradio is not installed")

from errors import UserError
from predict import PredictConfig
from predict import main as predict
from unet import Unet
from utils.data.masks import read_label_ids
from webapp.predict_draw import Look
from webapp.predict_files import write_files
from webapp.predict_run import Run

MOST = 100_000


@pytest.fixture(scope="module")
def unet(made_weights):
    return Unet(made_weights, engine="keras")


@pytest.fixture
def uploads(tmp_path, rng):
    """Three images as a browser sends them: each in a folder of its own; two of one name."""
    paths = []
    for number, (name, size) in enumerate([("a.png", (40, 60)), ("b.jpg", (50, 30))] * 2):
        path = tmp_path / "uploads" / str(number) / name
        path.parent.mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(path)
        paths.append(path)
    return paths[:3]


def segment(unet, folder, uploads):
    folder.mkdir()
    run, calls = Run(folder, unet.description, MOST), []
    run.segment(unet, list(map(str, uploads)), lambda *call: calls.append(call))
    return run, calls


def test_results_are_those_of_predict_py(tmp_path, unet, made_weights, uploads):
    run, calls = segment(unet, tmp_path / "run", uploads)
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert run.messages == []
    origin = tmp_path / "in"
    origin.mkdir()
    for upload, name in zip(uploads, ("a.png", "b.jpg", "a_2.png"), strict=True):
        (origin / name).write_bytes(upload.read_bytes())
    predict(
        PredictConfig(
            model_path=str(made_weights), mode="dir_predict", dir_origin_path=str(origin),
            dir_save_path=str(tmp_path / "out"), count=True, confidence=True, engine="keras",
            annotations="labelme",
        )
    )  # fmt: skip
    for name in ("a", "b", "a_2"):
        for end in ("_mask.png", "_regions.csv", "_confidence.png"):
            expected = (tmp_path / "out" / f"{name}{end}").read_bytes()
            assert (run.folder / f"{name}{end}").read_bytes() == expected
        theirs, ours = (
            json.loads((folder / "labelme" / f"{name}.json").read_text())
            for folder in (tmp_path / "out", run.folder)
        )
        assert ours["shapes"] == theirs["shapes"]
        # The image stands beside it, so that labelme opens it.
        assert ours["imagePath"] == ("b.jpg" if name == "b" else f"{name}.png")
        assert (run.folder / "labelme" / ours["imagePath"]).exists()


def test_what_is_done_when_it_is_stopped_stays(tmp_path, unet, uploads):
    folder, asked = tmp_path / "run", []
    folder.mkdir()
    run = Run(folder, unet.description, MOST)
    stop = lambda: asked.append(None) or len(asked) == 2  # noqa: E731
    run.segment(unet, list(map(str, uploads)), lambda *_: None, stop)
    assert run.messages == ["Stopped: 2 of 3 images are done."]
    assert [result.base for result in run.results] == ["a", "b"]
    assert all(result.mask.is_file() for result in run.results)
    assert {run.layers(index).mask.shape for index in (0, 1)} == {(40, 60), (50, 30)}
    with open(folder / "regions.csv", encoding="utf-8-sig", newline="") as file:
        assert {row["picture"] for row in csv.DictReader(file)} == {"a.png", "b.jpg"}


def test_a_stop_after_the_last_image_is_none(tmp_path, unet, uploads):
    folder = tmp_path / "run"
    folder.mkdir()
    run = Run(folder, unet.description, MOST)
    run.segment(unet, [str(uploads[0])], lambda *_: None, lambda: True)
    assert run.messages == []
    assert len(run.results) == 1


def test_what_can_not_be_read_is_told_with_its_own_name(tmp_path, unet, uploads):
    broken = tmp_path / "uploads" / "4" / "x.json"
    broken.parent.mkdir()
    broken.write_text("{}", encoding="utf-8")
    run, calls = segment(unet, tmp_path / "run", [broken, *uploads])
    assert len(run.results) == 3
    (message,) = run.messages
    assert "x.json" in message
    assert str(tmp_path) not in message
    assert calls[-1] == (4, 4)
    assert not (run.folder / "labelme" / "x.json").exists()


def test_nothing_that_can_be_read(tmp_path, unet):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    run, _ = segment(unet, tmp_path / "run", [broken])
    assert run.results == []
    assert "broken.png" in run.messages[0]
    with pytest.raises(UserError, match="There is no such image"):
        run.layers(0)


def test_sixteen_bits(tmp_path, unet, rng):
    path = tmp_path / "deep.tif"
    tifffile.imwrite(path, rng.integers(0, 65536, (40, 60), np.uint16))
    run, _ = segment(unet, tmp_path / "run", [path])
    assert run.layers(0).image.shape == (40, 60, 3)
    assert run.messages and "more than 8 bits" in run.messages[0]
    assert str(tmp_path) not in run.messages[0]


def test_too_many_pixels(tmp_path, unet):
    path = tmp_path / "large.png"
    Image.new("RGB", (400, 400)).save(path)
    run, _ = segment(unet, tmp_path / "run", [path])
    assert run.results == [] or unet.max_pixels > MOST
    with pytest.raises(UserError, match="pixels"):
        Run(tmp_path, unet.description, 100)._read(path)


def test_layers_are_those_of_the_files(tmp_path, unet, uploads):
    run, _ = segment(unet, tmp_path / "run", uploads)
    layers = run.layers(1)
    found = unet.predict(str(uploads[1]))
    np.testing.assert_array_equal(layers.image, found.image)
    np.testing.assert_array_equal(layers.mask, found.mask)
    np.testing.assert_allclose(layers.confidence, 255 * found.confidence, atol=1)
    assert run.layers(1) is layers
    for index in (-1, 3, None, "0", 0.5):
        with pytest.raises(UserError, match="There is no such image"):
            run.layers(index)


def test_the_files_of_one_image(tmp_path, unet, uploads):
    run, _ = segment(unet, tmp_path / "run", uploads[:1])
    paths = write_files(run, 0, Look(opacity=0), lambda *_: None)
    assert [path.name for path in paths] == [
        "a_mask.png", "a_overlay.png", "a_regions.csv", "a.json", "a_confidence.png",
    ]  # fmt: skip
    assert all(path.exists() for path in paths)
    np.testing.assert_array_equal(np.asarray(Image.open(paths[1])), run.layers(0).image)
    np.testing.assert_array_equal(read_label_ids(paths[0]), run.layers(0).mask)


def test_a_zip_of_many_images(tmp_path, unet, uploads):
    run, _ = segment(unet, tmp_path / "run", uploads)
    calls = []
    archive, *single = write_files(run, 2, Look(), lambda *call: calls.append(call))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert [path.name for path in single][:2] == ["a_2_mask.png", "a_2_overlay.png"]
    with zipfile.ZipFile(archive) as file:
        ends = ("_mask.png", "_overlay.png", "_regions.csv", "_confidence.png")
        expected = {f"{name}{end}" for name in ("a", "b", "a_2") for end in ends}
        expected |= {f"labelme/{name}.json" for name in ("a", "b", "a_2")}
        assert set(file.namelist()) == expected | {"regions.csv", "labelme/classes.txt"}
        rows = list(csv.DictReader(file.read("regions.csv").decode("utf-8-sig").splitlines()))
    assert {row["picture"] for row in rows} == {"a.png", "b.jpg", "a_2.png"}


def test_drawing_anew_runs_no_network(tmp_path, unet, uploads, monkeypatch):
    run, _ = segment(unet, tmp_path / "run", uploads)
    monkeypatch.setattr("unet.Unet.predict_files", None)
    monkeypatch.setattr("unet.Unet.predict", None)
    first = write_files(run, 0, Look(opacity=0.2), lambda *_: None)[2].read_bytes()
    run.colors[1:3] = (255, 0, 255)
    second = write_files(run, 0, Look(opacity=0.9, outlines=True), lambda *_: None)[2].read_bytes()
    assert first != second


def test_postscript_is_not_run(tmp_path, unet, uploads):
    program = tmp_path / "uploads" / "drawing.png"
    program.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    run, _ = segment(unet, tmp_path / "run", [uploads[0], program])
    assert [result.image.name for result in run.results] == ["a.png"]
    assert run.messages == ["drawing.png: PostScript is not read. Save the image as PNG or TIFF."]
    alone, _ = segment(unet, tmp_path / "alone", [program])
    assert (alone.results, len(alone.messages)) == ([], 1)
