"""What predict.py writes besides coloured images: which files come when, and what is in them."""

import csv
import json
import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from made_networks import segment_folder, segment_images
from PIL import Image

import predict
from errors import UserError
from predict import PredictConfig
from utils.config import load_config
from utils.data.masks import read_label_ids
from utils.images.reading import read_image
from utils.labels import voc_palette
from utils.prediction.decide import Sheet
from utils.prediction.regions import find_regions
from utils.prediction.stream import predict_all

NAMES = ("nothing", "cell")


def network(batch):
    """The brighter, the more probably a cell."""
    bright = (batch[..., :1] + 1) / 2
    return np.concatenate([1 - bright, bright], axis=-1)


class FakeUnet:
    """Stands for the network, as large as an image."""

    precision_reason = report = size_reason = ""
    colors = voc_palette(256)
    description = SimpleNamespace(
        in_channels=3, name_classes=NAMES, value_range=None, num_classes=2
    )
    stop_at = None

    def __init__(self, *_, **options):
        self.read = []
        self.options = options
        FakeUnet.last = self

    def predict_array(self, pixels, progress=False):
        return self._sheet(pixels, None).mask

    def predict_details(self, pixels, keep, progress=False):
        sheet = self._sheet(pixels, keep)
        return sheet.mask, sheet.details

    def _sheet(self, pixels, keep):
        sheet = Sheet(pixels.shape[:2], keep=keep)
        whole = network(pixels[None] / np.float32(127.5) - 1)[0]
        sheet.put(slice(None), slice(None), whole)
        return sheet

    def predict_files(self, paths, batch_size, finish, title, progress, keep=None):
        def read(path):
            self.read.append(path.name)
            if path.name == self.stop_at:
                raise KeyboardInterrupt
            pixels = read_image(path)
            if keep:
                keep.check_size(pixels.shape[:2], 2)
            return pixels

        return predict_all(network, paths, (20, 30), read=read, finish=finish, keep=keep)

    def draw(self, pixels, mask, legend, out):
        out[:] = self.colors[mask]
        return out


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    """Takes the place of the module `unet`, which takes seconds to load."""
    monkeypatch.setitem(sys.modules, "unet", SimpleNamespace(Unet=FakeUnet))
    monkeypatch.setattr(FakeUnet, "stop_at", None)


@pytest.fixture
def images(tmp_path, rng):
    """{name: uint8 (20, 30)} of what is in the folder `in`: grey blocks."""
    made = {}
    for name in ("a.png", "b.tif", "sub/a.png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        made[name] = np.kron(rng.integers(0, 256, (4, 6)), np.ones((5, 5))).astype(np.uint8)
        Image.fromarray(made[name]).save(path)
    return made


@pytest.fixture
def folder(images, tmp_path):
    """folder(**settings): segments the folder; returns the exit status."""

    return partial(segment_folder, tmp_path)


def written(tmp_path, pattern="*"):
    out = tmp_path / "out"
    return sorted(path.relative_to(out).as_posix() for path in out.rglob(pattern) if path.is_file())


def rows_of(path):
    with open(path, newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


STEMS = {"a.png": "a", "b.tif": "b", "sub/a.png": "sub/a"}


# Confidence and probabilities


def assert_confidence(path, image):
    with Image.open(path) as opened:
        assert (opened.format, opened.mode) == ("PNG", "L")
        expected = np.maximum(image, 255 - image)
        np.testing.assert_array_equal(np.array(opened), expected)


def test_confidence_of_a_folder(folder, images, tmp_path):
    assert folder(confidence=True) == 0
    for name, stem in STEMS.items():
        assert_confidence(tmp_path / "out" / f"{stem}_confidence.png", images[name])
    assert len(written(tmp_path)) == 9


def test_confidence_of_images_by_name(images, tmp_path):
    assert segment_images(tmp_path, "a.png", "sub/a.png", confidence=True) == 0
    assert written(tmp_path) == ["a.png", "a_2.png", "a_2_confidence.png", "a_confidence.png"]
    assert_confidence(tmp_path / "out" / "a_2_confidence.png", images["sub/a.png"])


@pytest.mark.parametrize("by_name", [True, False])
def test_probabilities_in_archives(folder, images, tmp_path, by_name):
    if by_name:
        segment_images(tmp_path, "a.png", probabilities="npz")
    else:
        folder(probabilities="npz")
    with np.load(tmp_path / "out" / "a_probabilities.npz") as archive:
        found = archive["probabilities"]
        assert archive["name_classes"].tolist() == list(NAMES)
    assert (found.shape, found.dtype) == ((20, 30, 2), np.float16)
    np.testing.assert_allclose(found[..., 1], images["a.png"] / 255, atol=5e-4)


def test_probabilities_in_tiffs_are_those_of_the_mask(folder, tmp_path):
    folder(probabilities="tif", confidence=True)
    for stem in STEMS.values():
        found = tifffile.imread(tmp_path / "out" / f"{stem}_probabilities.tif")
        assert (found.shape, found.dtype) == ((2, 20, 30), np.float32)
        mask = read_label_ids(tmp_path / "out" / f"{stem}_mask.png")
        np.testing.assert_array_equal(found.argmax(axis=0), mask)


def test_an_image_whose_probabilities_are_too_many_fails_alone(
    folder, images, tmp_path, monkeypatch, capsys
):
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "in" / "large.png")
    monkeypatch.setattr("utils.prediction.decide._MOST_BYTES", 40 * 40 * 4 - 1)
    assert folder(probabilities="npz") == 1
    assert len(written(tmp_path)) == 9
    printed = capsys.readouterr().err
    assert "The probabilities of an image of 40x40 pixels and 2 classes take 0.0 GB" in printed
    assert images


# Tables


def test_the_table_of_a_folder_holds_each_image_once(folder, images, tmp_path):
    assert folder(count=True) == 0
    rows = rows_of(tmp_path / "out" / "regions.csv")
    expected = []
    for name, stem in STEMS.items():
        own = rows_of(tmp_path / "out" / f"{stem}_regions.csv")
        assert {row["picture"] for row in own} == {name.rpartition("/")[2]}
        expected += [row | {"picture": name} for row in own]
    assert rows == expected
    assert {row["class"] for row in rows} == {"cell"}


def test_background_regions_are_an_option(folder, images, tmp_path):
    folder(count=True, background_regions=True)
    for name, stem in STEMS.items():
        mask = read_label_ids(tmp_path / "out" / f"{stem}_mask.png")
        regions = find_regions(mask, 2, images[name][..., None])
        rows = rows_of(tmp_path / "out" / f"{stem}_regions.csv")
        assert [int(row["class_id"]) for row in rows] == [one.class_id for one in regions]
        found = [(float(row["perimeter_px"]), float(row["mean_intensity"])) for row in rows]
        expected = [(one.perimeter, one.intensity) for one in regions]
        np.testing.assert_allclose(found, expected, atol=5e-4)


@pytest.mark.parametrize("stop_at", ["a.png", "b.tif"])
def test_an_interrupted_run_resumes_to_whole_tables(folder, tmp_path, monkeypatch, stop_at):
    folder(count=True, confidence=True, probabilities="npz")
    expected = {path: (tmp_path / "out" / path).read_bytes() for path in written(tmp_path, "*.csv")}
    for path in (tmp_path / "out").rglob("*.*"):
        path.unlink()
    monkeypatch.setattr(FakeUnet, "stop_at", stop_at)
    with pytest.raises(KeyboardInterrupt):
        folder(count=True, confidence=True, probabilities="npz")
    assert not list((tmp_path / "out").glob("regions.csv"))
    monkeypatch.setattr(FakeUnet, "stop_at", None)
    assert folder(count=True, confidence=True, probabilities="npz", resume=True) == 0
    found = {path: (tmp_path / "out" / path).read_bytes() for path in written(tmp_path, "*.csv")}
    assert found == expected
    assert len(written(tmp_path)) == 3 * 5 + 1


@pytest.mark.parametrize(
    ("settings", "end"),
    [
        ({"confidence": True}, "a_confidence.png"),
        ({"probabilities": "npz"}, "a_probabilities.npz"),
        ({"probabilities": "tif"}, "a_probabilities.tif"),
        ({"count": True}, "a_regions.csv"),
        ({"annotations": "labels"}, "labels/a.tif"),
        ({"annotations": "geojson"}, "geojson/a.geojson"),
    ],
)
def test_resume_does_what_is_missing_and_no_more(folder, tmp_path, settings, end):
    folder()
    folder(**settings, resume=True)
    assert len(FakeUnet.last.read) == 3
    (tmp_path / "out" / end).unlink()
    folder(**settings, resume=True)
    assert FakeUnet.last.read == ["a.png"]
    assert (tmp_path / "out" / end).is_file()


def test_with_nothing_left_the_table_is_made_all_the_same(folder, images, tmp_path, monkeypatch):
    folder(count=True)
    table = tmp_path / "out" / "regions.csv"
    before = table.read_bytes()
    table.unlink()
    monkeypatch.setattr(predict, "load_unet", lambda config: pytest.fail("loaded"))
    assert folder(count=True, resume=True) == 0
    assert table.read_bytes() == before
    (tmp_path / "in" / "b.tif").unlink()
    assert folder(count=True, resume=True) == 0
    assert {row["picture"] for row in rows_of(table)} == {"a.png", "sub/a.png"}
    assert images


def test_images_that_fail_are_not_in_the_table(folder, tmp_path):
    folder(count=True)
    (tmp_path / "in" / "a.png").write_bytes(b"no image")
    assert folder(count=True) == 1
    rows = rows_of(tmp_path / "out" / "regions.csv")
    assert {row["picture"] for row in rows} == {"b.tif", "sub/a.png"}


def test_intensities_are_those_of_the_file(tmp_path, rng):
    values = rng.integers(0, 65536, (20, 30)).astype(np.uint16)
    values[:, :10] = 60_000
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "deep.tif", values)
    segment_images(tmp_path, "deep.tif", count=True)
    pixels = read_image(tmp_path / "in" / "deep.tif")
    regions = find_regions(FakeUnet().predict_array(pixels), 2, values[..., None])
    expected = [one.intensity for one in regions if one.class_id]
    rows = rows_of(tmp_path / "out" / "deep_regions.csv")
    assert [float(row["mean_intensity"]) for row in rows] == pytest.approx(expected)
    assert max(expected) > 255


# The size of pixels


@pytest.fixture
def scaled(tmp_path):
    """Two TIFF images of which ImageJ says that a pixel is a quarter of a micrometre wide."""
    for name in ("in/s.tif", "in/t.tif"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        pixels = np.full((20, 30), 200, np.uint8)
        options = {"imagej": True, "resolution": (4, 4), "metadata": {"unit": "um"}}
        tifffile.imwrite(path, pixels, **options)


@pytest.mark.usefixtures("scaled")
def test_the_size_of_pixels_is_taken_from_tiff_tags_and_said(tmp_path, capsys):
    segment_images(tmp_path, "s.tif", "t.tif", count=True)
    [row] = rows_of(tmp_path / "out" / "s_regions.csv")
    assert (row["pixel_size_um"], row["area_um2"], row["width_um"]) == ("0.25", "37.5", "7.5")
    assert capsys.readouterr().err == (
        "note: a pixel is 0.25 micrometres wide by ImageJ's description of 2 images, such as "
        f"{tmp_path / 'in' / 's.tif'}; columns in um are made of it. Set pixel_size for another "
        "length.\n"
    )


@pytest.mark.usefixtures("scaled")
def test_a_size_that_is_set_comes_first(tmp_path, capsys):
    segment_images(tmp_path, "s.tif", count=True, pixel_size=2.0)
    [row] = rows_of(tmp_path / "out" / "s_regions.csv")
    assert (row["pixel_size_units"], row["width_units"]) == ("2", "60")
    assert "pixel_size_um" not in row
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("scaled")
def test_sizes_that_differ_are_said_from_to(folder, tmp_path, capsys):
    options = {"imagej": True, "resolution": (0.5, 0.5), "metadata": {"unit": "um"}}
    tifffile.imwrite(tmp_path / "in" / "u.tif", np.full((9, 9), 200, np.uint8), **options)
    assert folder(count=True) == 0
    said = "a pixel is 0.25 to 2 micrometres wide by ImageJ's description of 3 images, such as "
    assert said in capsys.readouterr().err
    rows = rows_of(tmp_path / "out" / "regions.csv")
    # The others have none: in the table of the folder their cells are empty.
    assert {row["picture"]: row["pixel_size_um"] for row in rows} == {
        "a.png": "", "b.tif": "", "s.tif": "0.25", "sub/a.png": "", "t.tif": "0.25", "u.tif": "2",
    }  # fmt: skip


@pytest.mark.usefixtures("scaled")
def test_without_a_table_no_size_is_said(tmp_path, capsys):
    segment_images(tmp_path, "s.tif")
    assert capsys.readouterr().err == ""


# Label images and GeoJSON


def test_label_images_hold_the_labels_of_the_table(folder, tmp_path):
    assert folder(annotations="labels", count=True) == 0
    for stem in STEMS.values():
        with tifffile.TiffFile(tmp_path / "out" / "labels" / f"{stem}.tif") as file:
            assert (len(file.pages), file.pages.first.photometric) == (1, 1)
            labels = file.asarray()
        assert (labels.shape, labels.dtype) == ((20, 30), np.uint16)
        mask = read_label_ids(tmp_path / "out" / f"{stem}_mask.png")
        np.testing.assert_array_equal(labels > 0, mask > 0)
        rows = rows_of(tmp_path / "out" / f"{stem}_regions.csv")
        assert [int(row["label"]) for row in rows] == list(range(1, labels.max() + 1))
        areas = np.bincount(labels.ravel())[1:].tolist()
        assert [int(row["area_px"]) for row in rows] == areas


def test_more_regions_than_labels_are_told_of(images, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("utils.prediction.image_annotations._MOST_LABELS", 0)
    assert segment_images(tmp_path, "a.png", annotations="labels") == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path / 'in' / 'a.png'} has ")
    assert line.endswith("a label image holds 0. Raise min_region, which drops the smallest.")
    assert not (tmp_path / "out").exists()
    assert images


def test_geojson_of_a_folder(folder, tmp_path):
    assert folder(annotations="geojson", annotation_tolerance=0) == 0
    for stem in STEMS.values():
        path = tmp_path / "out" / "geojson" / f"{stem}.geojson"
        content = json.loads(path.read_text(encoding="utf-8"))
        names = {feature["properties"]["classification"]["name"] for feature in content["features"]}
        assert names == {"cell"}


@pytest.mark.parametrize("kind", ["labels", "geojson"])
def test_what_is_there_may_hold_corrections(folder, tmp_path, kind):
    folder(annotations=kind)
    [path] = (tmp_path / "out" / kind).glob("a.*")
    path.write_text("corrected")
    with pytest.raises(UserError, match="3 of the annotation files are there already"):
        folder(annotations=kind)
    (tmp_path / "out" / "a.png").unlink()
    assert folder(annotations=kind, resume=True) == 0
    assert FakeUnet.last.read == ["a.png"]
    assert path.read_text() == "corrected"


# Settings


def test_settings_reach_the_network(images, tmp_path):
    segment_images(tmp_path, "a.png", threshold=("cell:0.3",), min_region=9)
    assert FakeUnet.last.options["threshold"] == {"cell": 0.3}
    assert FakeUnet.last.options["min_region"] == 9
    assert images


def test_thresholds_may_be_given_apart_or_with_commas():
    for given in (["cell:0.3", "x y:0.7"], ["cell:0.3, x y:0.7"]):
        config = load_config(PredictConfig, ["--threshold", *given])
        assert config.threshold == ("cell:0.3", "x y:0.7")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"probabilities": "csv"}, "probabilities must be one of , npz, tif; got 'csv'"),
        ({"min_region": -1}, "min_region must be at least 0; got -1"),
        ({"threshold": ("cell",)}, "threshold has the part 'cell'. Expected a class, by name"),
        ({"mode": "fps", "confidence": True}, "confidence is of images: mode must be predict or"),
        ({"mode": "export", "probabilities": "npz"}, "dir_predict; got 'export'"),
    ],
)
def test_bad_settings_are_refused_at_once(settings, message):
    with pytest.raises(UserError, match=message):
        PredictConfig(**settings)
