"""Evaluation end to end, against numbers computed anew from the files."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import sklearn.metrics
from PIL import Image

import get_miou
from errors import UserError
from get_miou import MiouConfig
from nets import unet as networks
from nets.weights.description import Description
from nets.weights.storage import save_weights
from utils.data.masks import mask_to_image
from utils.data.voc import Sample
from utils.prediction.regions import number_regions

# Matplotlib's own font has no Chinese; the charts then show boxes.
pytestmark = pytest.mark.filterwarnings("ignore:Glyph:UserWarning")

NAMES = ("background", "red", "绿")
CHARTS = ("confusion_matrix.png", "mIoU.png", "Recall.png", "Precision.png")
FILES = (*CHARTS, "confusion_matrix.csv", "pictures.csv", "report.html", "results.json")
ABOUT = ("model_path", "pictures", "ignore_labels")


@pytest.fixture(scope="module")
def network():
    """An untrained network; an image's noise decides which class is the largest."""
    keras.utils.set_random_seed(0)
    network = networks.Unet((None, None, 3), 3, encoder_initializer="he_normal", width=8)
    noise = np.random.default_rng(0).uniform(-1, 1, (1, 32, 48, 3)).astype(np.float32)
    head = network.get_layer("head_conv")
    features = keras.Model(network.input, head.input).predict_on_batch(noise)[0]
    kernel, _ = head.get_weights()
    head.set_weights([kernel, -np.median(features @ kernel[0, 0], axis=(0, 1))])
    return network


@pytest.fixture
def weights(network, tmp_path):
    path = tmp_path / "tiny.weights.h5"
    save_weights(network, path, Description(3, "vgg", (32, 48), NAMES, 8))
    return path


@pytest.fixture
def evaluated(voc_dir, weights, tmp_path):
    """evaluated(**settings): runs the script on voc_dir; returns (scores, out folder)."""

    def run(**given):
        paths = {"VOCdevkit_path": str(voc_dir), "miou_out_path": str(tmp_path / "out")}
        values = {"model_path": str(weights), "precision": "float32", **paths, **given}
        return get_miou.main(MiouConfig(**values)), tmp_path / "out"

    return run


@pytest.fixture(scope="module")
def kept():
    """What tests that only look at a run share: it is made once."""
    return {}


@pytest.fixture
def whole(kept, evaluated, voc_dir):
    """(scores, out folder, VOCdevkit_path) of a run with miou_mode 0, only to be looked at."""
    if not kept:
        kept["run"] = *evaluated(), voc_dir
    return kept["run"]


@pytest.fixture
def store(tmp_path, write_mask):
    """store(name, ids): puts a predicted mask where miou_mode 2 reads it."""

    def write(name, ids):
        return write_mask(
            tmp_path / "out" / "detection-results" / f"{name}.png", np.array(ids, np.uint8)
        )

    return write


def true_mask(voc_dir, name):
    return np.array(Image.open(voc_dir / "VOC2007" / "SegmentationClass" / f"{name}.png"))


def ratio(top, bottom):
    return top / bottom if bottom else None


def mean(values):
    known = [value for value in values if value is not None]
    return ratio(sum(known), len(known))


def expected_results(voc_dir, out, names, ignore_labels=(255,), split=("val_a", "val_b")):
    """The numbers of results.json, without boundary IoU, from the PNG files alone."""
    true = np.concatenate([true_mask(voc_dir, name).ravel() for name in split])
    predicted = np.concatenate(
        [np.array(Image.open(out / "detection-results" / f"{name}.png")).ravel() for name in split]
    )
    void = np.isin(true, ignore_labels)
    on_void = predicted[void]
    true, predicted = true[~void], predicted[~void]
    classes, ignored = [], []
    for index, name in enumerate(names):
        truth, found = true == index, predicted == index
        if index in ignore_labels:  # it has pixels that are predicted, but no score
            ignored.append(name)
        defined = ratio if index not in ignore_labels else lambda *_: None
        both = int(np.sum(truth & found))
        classes.append(
            {
                "id": index,
                "name": name,
                "iou": defined(both, int(np.sum(truth | found))),
                "recall": defined(both, int(np.sum(truth))),
                "precision": defined(both, int(np.sum(found))),
                "dice": defined(2 * both, int(np.sum(truth)) + int(np.sum(found))),
                "frequency": ratio(int(np.sum(truth)), len(true)),
                "true_pixels": int(np.sum(truth)),
                "predicted_pixels": int(np.sum(found)),
                "right_pixels": both,
                "predicted_on_void": int(np.sum(on_void == index)),
            }
        )
    weighted = [one["frequency"] * one["iou"] for one in classes if one["frequency"]]
    return {
        "miou": mean([one["iou"] for one in classes]),
        "miou_without_background": mean([one["iou"] for one in classes[1:]]),
        "frequency_weighted_iou": sum(weighted),
        "mean_recall": mean([one["recall"] for one in classes]),
        "mean_precision": mean([one["precision"] for one in classes]),
        "mean_dice": mean([one["dice"] for one in classes]),
        "accuracy": ratio(int(np.sum(true == predicted)), len(true)),
        "pixels": len(true),
        "void_pixels": int(np.sum(void)),
        "void_share": float(np.mean(void)),
        "absent": [
            one["name"] for one in classes if one["iou"] is None and one["name"] not in ignored
        ],
        "ignored": ignored,
        "classes": classes,
    }


def expected_boundaries(voc_dir, out, num_classes, split=("val_a", "val_b")):
    """[intersection, union] of each class by the definition, from the PNG files alone."""

    def band(mask, distance):
        inside = mask
        for _ in range(distance):
            padded = np.pad(inside, 1)
            inside = np.logical_and.reduce(
                [
                    padded[y:, x:][: mask.shape[0], : mask.shape[1]]
                    for y in range(3)
                    for x in range(3)
                ]
            )
        return mask & ~inside

    sums = np.zeros((num_classes, 2), int)
    for name in split:
        true = true_mask(voc_dir, name)
        predicted = np.array(Image.open(out / "detection-results" / f"{name}.png"))
        distance = max(1, round(0.02 * np.hypot(*true.shape)))
        for index in range(num_classes):
            one = band(true == index, distance)
            other = band((predicted == index) & (true != 255), distance)
            sums[index] += (one & other).sum(), (one | other).sum()
    return sums.tolist()


def results_of(out):
    """results.json in two parts: what was evaluated, and the scores but for boundary IoU."""
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    about = {name: results.pop(name) for name in ABOUT}
    for one in (results, *results["classes"]):
        for name in [name for name in one if "boundary" in name]:
            del one[name]
    return about, results


def assert_close(found, expected):
    """Equal, with floats to rounding, at any depth."""
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_close(found[key], expected[key])
    elif isinstance(expected, list):
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other)
    else:
        assert found == (pytest.approx(expected) if isinstance(expected, float) else expected)


def matrix_of(out):
    with open(out / "confusion_matrix.csv", newline="", encoding="utf-8-sig") as file:
        return list(csv.reader(file))


def test_mode_0_predicts_and_scores(evaluated, voc_dir, weights, network, capsys):
    scores, out = evaluated()
    about, results = results_of(out)
    assert about == {"model_path": str(weights), "pictures": 2, "ignore_labels": [255]}
    expected = expected_results(voc_dir, out, NAMES)
    assert_close(results, expected)
    assert scores.miou == pytest.approx(expected["miou"])
    # The images do make a difference: more than one class is found, and none is perfect.
    assert sum(one["precision"] is not None for one in expected["classes"]) >= 2
    assert 0 < expected["accuracy"] < 1
    printed = capsys.readouterr().out
    assert "precision: float32, as set." in printed
    assert f"mIoU {100 * expected['miou']:.2f}%" in printed
    assert f"The report is {out / 'report.html'}; scores, charts and masks are" in printed


def test_another_size_than_that_of_the_training_is_said_and_kept(evaluated, capsys):
    evaluated(input_shape=(32, 48))
    assert "instead of" not in capsys.readouterr().out
    _, out = evaluated(input_shape=(50, 64))
    said = "Predicting at 50x64 (height x width) instead of the 32x48 of the training."
    assert said in capsys.readouterr().out
    assert said in (out / "report.html").read_text(encoding="utf-8")
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert results["input_shape"] == [50, 64]


def test_the_scores_are_scikit_learn_s(whole):
    scores, out, voc_dir = whole
    names = ("val_a", "val_b")
    true = np.concatenate([true_mask(voc_dir, name).ravel() for name in names])
    predicted = np.concatenate(
        [np.array(Image.open(out / "detection-results" / f"{name}.png")).ravel() for name in names]
    )
    pairs = true[true != 255], predicted[true != 255]
    expected = sklearn.metrics.confusion_matrix(*pairs, labels=[0, 1, 2])
    assert scores.counts.matrix.tolist() == expected.tolist()
    iou = sklearn.metrics.jaccard_score(*pairs, labels=[0, 1, 2], average=None, zero_division=0)
    np.testing.assert_array_equal(np.nan_to_num(scores.iou), iou)


def test_boundary_iou_is_that_of_the_files(whole):
    _, out, voc_dir = whole
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    expected = expected_boundaries(voc_dir, out, 3)
    classes = results["classes"]
    found = [[one["boundary_intersection"], one["boundary_union"]] for one in classes]
    assert found == expected
    assert sum(both for both, _ in expected) > 0
    iou = [ratio(*one) for one in expected]
    assert [one["boundary_iou"] for one in classes] == iou
    assert results["mean_boundary_iou"] == pytest.approx(mean(iou))


def test_a_table_of_all_images(whole):
    _, out, voc_dir = whole
    with open(out / "pictures.csv", newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [row["picture"] for row in rows] == ["val_a", "val_b"]
    for row, size in zip(rows, ((48, 64), (90, 31)), strict=True):
        expected = expected_results(voc_dir, out, NAMES, split=[row["picture"]])
        assert (int(row["height"]), int(row["width"])) == size
        assert int(row["pixels"]) == expected["pixels"]
        assert int(row["void_pixels"]) == expected["void_pixels"]
        assert float(row["accuracy"]) == expected["accuracy"]
        assert float(row["miou"]) == pytest.approx(expected["miou"])
        for one in expected["classes"]:
            found = row[f"IoU {one['name']}"]
            assert (float(found) if found else None) == one["iou"]


def test_the_report_tells_of_this_run(evaluated, weights):
    curves = weights.parent / "loss_2026_01_01_00_00_00" / "curves.png"
    curves.parent.mkdir()
    Image.new("RGB", (40, 30)).save(curves)
    scores, out = evaluated()
    text = (out / "report.html").read_text(encoding="utf-8")
    assert f"{100 * scores.miou:.2f}%" in text
    assert str(weights) in text
    assert "2 of the list val in" in text
    assert "<b>val_a</b>" in text and "<b>val_b</b>" in text
    assert curves.parent.name in text


def test_predicted_masks_are_palette_images_of_the_images_sizes(whole):
    _, out, voc_dir = whole
    files = sorted((out / "detection-results").iterdir())
    assert [path.name for path in files] == ["val_a.png", "val_b.png"]
    for path in files:
        with (
            Image.open(path) as mask,
            Image.open(voc_dir / "VOC2007" / "JPEGImages" / f"{path.stem}.jpg") as image,
        ):
            assert (mask.mode, mask.size) == ("P", image.size)


def test_charts_are_readable(whole):
    _, out, _ = whole
    for name in CHARTS:
        with Image.open(out / name) as image:
            image.load()
            assert image.format == "PNG"
            assert min(image.size) > 100
    assert sorted(path.name for path in out.iterdir()) == sorted([*FILES, "detection-results"])


def test_the_matrix_in_the_csv_is_that_of_the_files(whole):
    _, out, voc_dir = whole
    rows = matrix_of(out)
    assert rows[0] == ["true \\ predicted", *NAMES]
    assert [row[0] for row in rows[1:]] == list(NAMES)
    expected = np.zeros((3, 3), int)
    for name in ("val_a", "val_b"):
        true = true_mask(voc_dir, name)
        predicted = np.array(Image.open(out / "detection-results" / f"{name}.png"))
        for one, other in zip(true[true != 255], predicted[true != 255], strict=True):
            expected[one, other] += 1
    assert [[int(value) for value in row[1:]] for row in rows[1:]] == expected.tolist()


def test_an_image_that_is_listed_twice_counts_twice(evaluated, voc_dir, write_list):
    write_list(voc_dir, "val", ["val_a", "val_b", "val_a"])
    _, out = evaluated()
    expected = expected_results(voc_dir, out, NAMES, split=("val_a", "val_b", "val_a"))
    assert_close(results_of(out)[1], expected)


def test_names_with_dots_and_spaces(evaluated, voc_dir, write_list):
    folder = voc_dir / "VOC2007"
    for kind, extension in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
        (folder / kind / f"val_a.{extension}").rename(folder / kind / f"val 1.2.a.{extension}")
    write_list(voc_dir, "val", ["val 1.2.a"])
    _, out = evaluated()
    assert [path.name for path in (out / "detection-results").iterdir()] == ["val 1.2.a.png"]
    assert "val 1.2.a" in (out / "report.html").read_text(encoding="utf-8")


def test_images_in_batches_are_predicted_alike(whole, evaluated):
    _, out, _ = whole
    _, other = evaluated(miou_mode=1, batch_size=1)
    for name in ("val_a.png", "val_b.png"):
        one, two = (np.array(Image.open(f / "detection-results" / name)) for f in (out, other))
        assert np.mean(one != two) < 0.01  # sums in another order may decide a tie otherwise


def test_settings_reach_the_network(evaluated, monkeypatch):
    import unet

    given = {"tile": True, "tta": "hv", "max_pixels": 100}
    made = []

    class Spy(unet.Unet):
        def __init__(self, *args, **options):
            made.append(options)
            super().__init__(*args, **options)

    monkeypatch.setattr(unet, "Unet", Spy)
    with pytest.raises(UserError, match=r"val_a\.jpg has 64x48 = 3,072 pixels; max_pixels is 100"):
        evaluated(miou_mode=1, **given)
    assert [{name: options[name] for name in given} for options in made] == [given]


def test_several_weights_are_scored_as_one(evaluated, weights, network, tmp_path, capsys):
    from unet import Unet

    other = networks.Unet((None, None, 3), 3, encoder_initializer="he_normal", width=8)
    other.get_layer("head_conv").set_weights(network.get_layer("head_conv").get_weights())
    second = tmp_path / "second.weights.h5"
    save_weights(other, second, Description(3, "vgg", (32, 48), NAMES, 8))
    given = (str(weights), str(second))
    _, out = evaluated(model_path=given)
    assert capsys.readouterr().out.count("Weights of ") == 2
    assert results_of(out)[0]["model_path"] == list(given)
    assert f"{weights}, {second}" in (out / "report.html").read_text(encoding="utf-8")
    image = out.parent / "VOCdevkit" / "VOC2007" / "JPEGImages" / "val_a.jpg"
    stored = np.array(Image.open(out / "detection-results" / "val_a.png"))
    mask = Unet(given, precision="float32").predict(image).mask
    assert (stored == mask).mean() > 0.99  # a batch may round otherwise
    assert (stored != Unet(given[0], precision="float32").predict(image).mask).mean() > 0.05


def test_scores_are_those_of_thresholds_and_without_small_regions(evaluated, whole, voc_dir):
    _, out = evaluated(threshold=("red:0.2",), min_region=25)
    results, plain = results_of(out)[1], results_of(whole[1])[1]
    expected = expected_results(voc_dir, out, NAMES)
    assert results["classes"][1]["predicted_pixels"] > plain["classes"][1]["predicted_pixels"]
    assert results["miou"] == pytest.approx(expected["miou"])
    text = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert (text["threshold"], text["min_region"]) == ({"red": 0.2}, 25)
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "red from 0.2 on, regions of at least 25 pixels" in report
    for path in (out / "detection-results").iterdir():
        with Image.open(path) as image:
            parts = number_regions(np.array(image), 3)[1]
        assert len(parts) == 1 or min(part.area for part in parts) >= 25


@pytest.mark.parametrize("settings", [{"threshold": ("1:0.5",)}, {"min_region": 2}])
def test_stored_masks_are_scored_as_they_are(settings):
    message = "miou_mode 2 scores masks as they are stored: leave out threshold and min_region."
    with pytest.raises(UserError, match=message):
        MiouConfig(miou_mode=2, num_classes=3, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_region": -1}, "min_region must be at least 0; got -1"),
        ({"threshold": ("red",)}, "threshold has the part 'red'. Expected a class, by name or id"),
    ],
)
def test_bad_thresholds_are_refused_at_once(settings, message):
    with pytest.raises(UserError, match=message):
        MiouConfig(**settings)


def test_mode_1_only_predicts(evaluated, capsys):
    scores, out = evaluated(miou_mode=1)
    assert scores is None
    assert [path.name for path in out.iterdir()] == ["detection-results"]
    assert len(list((out / "detection-results").iterdir())) == 2
    assert f"2 predicted masks are in {out / 'detection-results'}." in capsys.readouterr().out


def test_modes_1_and_2_together_are_mode_0(evaluated):
    _, out = evaluated()
    whole, matrix = results_of(out)[1], matrix_of(out)
    for name in ("results.json", "confusion_matrix.csv"):
        (out / name).unlink()
    evaluated(miou_mode=1)
    evaluated(miou_mode=2, num_classes=3, name_classes=NAMES, model_path="")
    assert results_of(out)[1] == whole
    assert matrix_of(out) == matrix


def test_mode_2_scores_stored_masks(evaluated, voc_dir, store):
    # The truth itself for one image; the other is class 3, which the truth never holds.
    perfect = true_mask(voc_dir, "val_a")
    store("val_a", np.where(perfect == 255, 0, perfect))
    store("val_b", np.full((90, 31), 3))
    scores, out = evaluated(miou_mode=2, num_classes=5, model_path="")
    names = ("background", "class_1", "class_2", "class_3", "class_4")
    expected = expected_results(voc_dir, out, names)
    assert_close(results_of(out)[1], expected)
    assert expected["absent"] == ["class_4"]
    only_predicted = expected["classes"][3]
    assert [only_predicted[name] for name in ("iou", "recall", "precision")] == [0, None, 0]
    assert scores.miou == pytest.approx(expected["miou"])


def test_mode_2_needs_no_network(evaluated, voc_dir, store, monkeypatch):
    monkeypatch.setitem(sys.modules, "unet", None)  # its import fails
    for name in ("val_a", "val_b"):
        mask = true_mask(voc_dir, name)
        store(name, np.where(mask == 255, 0, mask))
    scores, _ = evaluated(miou_mode=2, num_classes=3, model_path="")
    assert scores.miou == scores.accuracy == 1


def test_mode_2_names_no_weights_file(evaluated, store):
    store("val_a", np.zeros((48, 64)))
    store("val_b", np.zeros((90, 31)))
    _, out = evaluated(miou_mode=2, num_classes=3)
    assert results_of(out)[0]["model_path"] is None


@pytest.mark.parametrize("kind", ["palette", "grey"])
def test_mode_2_scores_any_folder_and_writes_nothing_there(
    evaluated, voc_dir, tmp_path, write_mask, kind
):
    """As another program may have left it: grey PNG files, and others beside them."""
    theirs = tmp_path / "theirs"
    for name in ("val_a", "val_b", "more"):
        mask = true_mask(voc_dir, name if name != "more" else "val_a")
        mask = np.where(mask == 255, 0, mask)
        path = write_mask(theirs / f"{name}.png", mask)
        if kind == "grey":
            Image.fromarray(mask).save(path)
    (theirs / "notes.txt").write_text("ours is better")
    before = {path: path.read_bytes() for path in theirs.iterdir()}
    scores, out = evaluated(miou_mode=2, num_classes=3, predictions_path=str(theirs))
    assert scores.miou == scores.mean_boundary_iou == 1
    assert {path: path.read_bytes() for path in theirs.iterdir()} == before
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    text = (out / "report.html").read_text(encoding="utf-8")
    assert str(theirs) in text
    assert "<h2>Training</h2>" not in text


@pytest.mark.parametrize("mode", [0, 1])
def test_a_folder_of_predictions_is_for_mode_2(mode):
    with pytest.raises(UserError) as caught:
        MiouConfig(miou_mode=mode, predictions_path="theirs")
    assert str(caught.value) == f"predictions_path is read with miou_mode 2; got miou_mode {mode}."


def test_mode_2_needs_num_classes():
    with pytest.raises(UserError) as caught:
        MiouConfig(miou_mode=2)
    assert str(caught.value) == "miou_mode=2 reads no weights file: give num_classes."


@pytest.mark.parametrize("mode", [0, 2])
@pytest.mark.parametrize("num_classes", [-1, 0, 1, 256, 300])
def test_num_classes_is_checked(mode, num_classes):
    with pytest.raises(UserError, match="num_classes must be 2 to 255"):
        MiouConfig(miou_mode=mode, num_classes=num_classes)


@pytest.mark.parametrize("mode", [-1, 3])
def test_an_unknown_mode_is_refused(mode):
    with pytest.raises(UserError, match=rf"miou_mode must be one of 0, 1, 2; got {mode}\."):
        MiouConfig(miou_mode=mode)


def test_an_unknown_way_of_flipping_is_refused():
    with pytest.raises(UserError, match=r"tta must be .*; got 'v'\."):
        MiouConfig(tta="v")


@pytest.mark.parametrize("name", ["batch_size", "max_pixels"])
def test_counts_are_checked(name):
    with pytest.raises(UserError, match=rf"{name} must be at least 1; got 0\."):
        MiouConfig(**{name: 0})


def test_labels_that_no_mask_can_hold_are_refused():
    with pytest.raises(UserError, match=r"ignore_labels must be 0 to 255; got 256\."):
        MiouConfig(ignore_labels=(255, 256))


# What is left out


@pytest.fixture
def ignoring(network, tmp_path):
    """A weights file whose training left out class 1."""
    path = tmp_path / "ignoring.weights.h5"
    save_weights(network, path, Description(3, "vgg", (32, 48), NAMES, 8, (1, 255)))
    return path


@pytest.mark.parametrize(
    ("given", "used"), [(None, [1, 255]), ((255,), [255]), ((2, 255), [2, 255])]
)
def test_ignored_labels_are_those_of_the_file_unless_given(
    evaluated, voc_dir, ignoring, given, used
):
    _, out = evaluated(model_path=str(ignoring), ignore_labels=given)
    about, results = results_of(out)
    assert about["ignore_labels"] == used
    assert_close(results, expected_results(voc_dir, out, NAMES, used))


@pytest.mark.parametrize("ignore_labels", [(0, 255), None])
def test_ignored_labels_in_mode_2(evaluated, voc_dir, store, ignore_labels):
    store("val_a", np.ones((48, 64)))
    store("val_b", np.ones((90, 31)))
    _, out = evaluated(miou_mode=2, num_classes=3, ignore_labels=ignore_labels)
    about, results = results_of(out)
    used = ignore_labels or (255,)
    assert about["ignore_labels"] == list(used)
    names = ("background", "class_1", "class_2")
    assert_close(results, expected_results(voc_dir, out, names, used))


@pytest.mark.parametrize("mode", [0, 2])
def test_no_label_at_all_may_be_ignored(evaluated, store, mode):
    store("val_a", np.zeros((48, 64)))
    store("val_b", np.zeros((90, 31)))
    with pytest.raises(UserError, match="values are 0, 1, 2, 255"):
        evaluated(miou_mode=mode, num_classes=3, ignore_labels=())


def test_a_folder_of_void_alone(evaluated, voc_dir, store, write_list, write_mask):
    write_list(voc_dir, "val", ["val_a"])
    path = voc_dir / "VOC2007" / "SegmentationClass" / "val_a.png"
    write_mask(path, np.full((48, 64), 255, np.uint8))
    store("val_a", np.zeros((48, 64)))
    _, out = evaluated(miou_mode=2, num_classes=2)
    results = results_of(out)[1]
    assert (results["miou"], results["pixels"]) == (None, 0)
    assert results["absent"] == ["background", "class_1"]


# Faults


@pytest.mark.parametrize(
    ("name", "given", "held"),
    [
        ("num_classes", 4, 3),
        ("backbone", "resnet50", "vgg"),
    ],
)
def test_a_setting_that_contradicts_the_file_is_refused(evaluated, weights, name, given, held):
    with pytest.raises(UserError) as caught:
        evaluated(**{name: given})
    assert f"{name} is {given!r}, but {weights} holds {name} {held!r}." in str(caught.value)


def test_sizes_that_differ_are_named(evaluated, voc_dir, store):
    store("val_a", np.zeros((48, 64)))
    store("val_b", np.zeros((31, 90)))
    with pytest.raises(UserError) as caught:
        evaluated(miou_mode=2, num_classes=3)
    mask = voc_dir / "VOC2007" / "SegmentationClass" / "val_b.png"
    assert str(caught.value) == (
        f"The mask {mask} is 31x90 pixels, but the prediction of 'val_b' is 90x31. "
        "They must be equal."
    )


def test_an_image_and_a_mask_of_different_sizes_are_named(evaluated, voc_dir, write_mask):
    mask = voc_dir / "VOC2007" / "SegmentationClass" / "val_b.png"
    write_mask(mask, np.zeros((90, 32), np.uint8))
    with pytest.raises(UserError) as caught:
        evaluated()
    assert f"{mask} is 32x90" in str(caught.value)
    assert "31x90" in str(caught.value)


def test_a_stored_class_out_of_range_is_named(evaluated, store):
    store("val_a", np.full((48, 64), 3))
    store("val_b", np.zeros((90, 31)))
    with pytest.raises(UserError, match="prediction of 'val_a' holds the class id 3; with num_cl"):
        evaluated(miou_mode=2, num_classes=3)


def test_a_missing_prediction_is_named(evaluated, store):
    path = store("val_a", np.zeros((48, 64))).with_name("val_b.png")
    with pytest.raises(UserError, match=rf"There is no prediction {re.escape(str(path))}\."):
        evaluated(miou_mode=2, num_classes=3)


def test_a_prediction_may_have_its_name_in_another_unicode_form(tmp_path):
    """As a folder has them that was unpacked on macOS."""
    composed, apart = "é한", "e\u0301\u1112\u1161\u11ab"
    sample = Sample(composed, tmp_path / "x.jpg", tmp_path / "x.png")
    mask_to_image(np.full((2, 3), 7, np.uint8)).save(tmp_path / f"{apart}.png")
    (found,) = get_miou._stored_masks([sample], tmp_path)
    assert found.tolist() == [[7] * 3] * 2
    # The exact name first.
    mask_to_image(np.full((2, 3), 8, np.uint8)).save(tmp_path / f"{composed}.png")
    (found,) = get_miou._stored_masks([sample], tmp_path)
    assert found.tolist() == [[8] * 3] * 2


def test_a_missing_folder_of_predictions_is_named(evaluated, tmp_path):
    with pytest.raises(UserError) as caught:
        evaluated(miou_mode=2, num_classes=3)
    folder = tmp_path / "out" / "detection-results"
    assert str(caught.value) == f"There is no folder {folder}. Put the predicted masks there."


def test_a_broken_image_is_named(evaluated, voc_dir):
    path = voc_dir / "VOC2007" / "JPEGImages" / "val_b.jpg"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UserError, match=f"The image {re.escape(str(path))} can't be read"):
        evaluated()


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_a_fault_overwrites_nothing(evaluated, voc_dir, tmp_path, write_mask, mode):
    """The second mask is faulty; the first is not."""
    write_mask(
        voc_dir / "VOC2007" / "SegmentationClass" / "val_b.png", np.full((90, 31), 7, np.uint8)
    )
    before = [*FILES, "detection-results/val_a.png", "detection-results/val_b.png"]
    for name in before:
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_text("of an earlier run")
    with pytest.raises(UserError, match=r"value 7: 2,790 pixels, for instance in .*val_b\.png"):
        evaluated(miou_mode=mode, num_classes=3)
    for name in before:
        assert (tmp_path / "out" / name).read_text() == "of an earlier run"


def test_settings_come_from_the_command_line(voc_dir, store, tmp_path, monkeypatch):
    store("val_a", np.zeros((48, 64)))
    store("val_b", np.zeros((90, 31)))
    given = {
        "miou_mode": 2,
        "num_classes": 3,
        "VOCdevkit_path": voc_dir,
        "miou_out_path": tmp_path / "out",
        "name_classes": "a,b,c",
    }
    line = [text for name, value in given.items() for text in (f"--{name}", str(value))]
    monkeypatch.setattr(sys, "argv", ["get_miou.py", *line])
    scores = get_miou.main()
    assert scores.recall.tolist() == [1, 0, 0]
    assert [one["name"] for one in results_of(tmp_path / "out")[1]["classes"]] == ["a", "b", "c"]


# What can't be written


def stored_run(voc_dir, store, tmp_path):
    """The command that scores stored masks: it needs no network."""
    store("val_a", np.zeros((48, 64)))
    store("val_b", np.zeros((90, 31)))
    script = Path(get_miou.__file__)
    options = ["--miou_mode", "2", "--num_classes", "3", "--VOCdevkit_path", voc_dir]
    return [sys.executable, script, *options, "--miou_out_path", tmp_path / "out"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of files are Unix'")
def test_a_full_disk(voc_dir, store, tmp_path):
    """Stands for it: a limit on the size of files, which the CSV files keep and charts don't."""
    import resource

    done = subprocess.run(
        stored_run(voc_dir, store, tmp_path),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: [Errno 27] File too large")
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stdout
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"confusion_matrix.csv", "pictures.csv", "detection-results"}


def test_a_place_where_nothing_can_be_written(voc_dir, store, tmp_path):
    command = stored_run(voc_dir, store, tmp_path)
    (tmp_path / "file").write_text("no folder")
    predictions = ["--predictions_path", tmp_path / "out" / "detection-results"]
    done = subprocess.run(
        [*command[:-1], tmp_path / "file", *predictions],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert re.fullmatch(r"error: \[Errno \d+\] .*file'\n", done.stderr)
    assert (tmp_path / "file").read_text() == "no folder"


def test_a_prediction_that_cannot_be_stored_leaves_the_old_one(evaluated, tmp_path, monkeypatch):
    path = tmp_path / "out" / "detection-results" / "val_a.png"
    path.parent.mkdir(parents=True)
    path.write_text("of an earlier run")

    def save(image, path, *args, **options):
        Path(path).write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(OSError, match="No space left"):
        evaluated(miou_mode=1)
    assert [one.name for one in path.parent.iterdir()] == ["val_a.png"]
    assert path.read_text() == "of an earlier run"


def test_two_runs_at_once_in_one_folder(voc_dir, store, tmp_path):
    command = stored_run(voc_dir, store, tmp_path)
    runs = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [run.wait(100) for run in runs] == [0, 0]
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == sorted([*FILES, "detection-results"])
    assert results_of(out)[1]["pixels"] == 44 * 60 + 86 * 27
    for name in CHARTS:
        with Image.open(out / name) as image:
            image.load()


def test_weights_for_more_classes_than_the_masks_hold_are_noted(voc_dir, store, evaluated, capsys):
    store("val_a", np.full((48, 64), 4))
    store("val_b", np.full((90, 31), 3))
    scores, _ = evaluated(miou_mode=2, num_classes=5)
    assert scores.miou == 0
    out = capsys.readouterr().out
    assert (
        "note: the largest id of these masks is 2, and the predictions have ids 0 to 4. Are they "
        "made for the same classes?"
    ) in out
    assert "WARNING: 100% of the pixels are predicted as classes that no mask holds." in out
    evaluated(miou_mode=2, num_classes=5, ignore_labels=(0, 255))
    assert "WARNING: 100%" in capsys.readouterr().out
