"""What the tab "Predict" answers, without a browser."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio", reason="Gradio is not installed")

from webapp.predict_events import Predictions
from webapp.served import Served
from webapp.visitors import Visitors

LOOK = ("Classes", 70, False)
WEIGHTS = "logs/made/best_epoch_weights.weights.h5"


def request(number="a"):
    return SimpleNamespace(session_hash=number)


@pytest.fixture
def predictions(site, tmp_path, monkeypatch):
    monkeypatch.chdir(site)
    served = Served((Path("logs"), Path("model_data")), 10**6)
    return Predictions(served, visitors=Visitors(tmp_path / "visitors"))


@pytest.fixture
def image(tmp_path, rng):
    path = tmp_path / "street.png"
    Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(path)
    return str(path)


def segment(predictions, *images, who="a", weights=WEIGHTS):
    return predictions.segment(
        request(who), list(images), weights, "none", "auto", *LOOK, lambda *_, **__: None
    )


def test_weights_are_offered(predictions):
    message, _, weights = predictions.refresh()
    assert message == ""
    assert weights["choices"] == [("logs/made/best_epoch_weights", WEIGHTS)]
    assert weights["value"] == WEIGHTS
    assert predictions.refresh("gone.weights.h5")[2]["value"] == WEIGHTS
    assert "3 classes: a, b, c." in predictions.describe(WEIGHTS)[1]


def test_without_weights_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    predictions = Predictions(Served((Path("logs"),), 10))
    message, about, weights = predictions.refresh()
    assert "There are no trained weights in logs yet. Run python demo.py" in message
    assert about == ""
    assert weights["value"] is None
    assert "no trained weights" in segment(predictions, "a.png", weights=None)[0]


def test_without_an_image_it_says_what_to_do(predictions):
    message, *others = segment(predictions)
    assert "There is no image yet. Drop one or more on the field" in message
    assert len(others) == 9


def test_an_image_is_shown(predictions, image):
    message, area, images, classes, of_class, color, files, slider, shares, regions = segment(
        predictions, image
    )
    assert message == ""
    assert area["visible"]
    assert images["choices"] == [("street.png", 0)]
    assert classes["choices"] == [("b", 1), ("c", 2)]
    assert classes["value"] == [1, 2]
    assert of_class["value"] == 1
    assert color == "#800000"
    assert not files["visible"]
    assert np.asarray(Image.open(slider[0])).shape == (40, 60, 3)
    assert Path(slider[1]).is_relative_to(predictions.visitors.of(request()).folder)
    assert "<table" in shares
    assert regions["value"]["data"]


def test_stop_ends_what_runs_and_nothing_later(predictions, image, tmp_path):
    second = tmp_path / "second.png"
    second.write_bytes(Path(image).read_bytes())
    assert predictions.allow_stop(request())["interactive"]
    assert not predictions.stop(request())["interactive"]
    message, _, images, *_ = segment(predictions, image, str(second))
    assert "Stopped: 1 of 2 images are done." in message
    assert images["choices"] == [("street.png", 0)]
    assert segment(predictions, image, str(second), who="b")[0] == ""  # not the other's
    predictions.allow_stop(request())
    assert segment(predictions, image, str(second))[0] == ""


def test_another_look_is_drawn_without_the_network(predictions, image, monkeypatch):
    drawn = segment(predictions, image)[7][1]
    monkeypatch.setattr("unet.Unet.predict_files", None)
    _, (shown, anew) = predictions.redraw(request(), 0, "Classes", 0, False, [1, 2])
    assert anew != drawn
    np.testing.assert_array_equal(np.asarray(Image.open(anew)), np.asarray(Image.open(shown)))
    for number in range(5):
        predictions.redraw(request(), 0, "Confidence", 20 * number, True, [2])
    assert len(list(Path(anew).parent.glob("drawn_*"))) == 2


def test_a_class_gets_another_colour_and_its_own_again(predictions, image):
    segment(predictions, image)
    look = (0, "Classes", 100, False, [1])
    _, (_, drawn), shares = predictions.recolor(request(), 1, "#0102ff", *look)
    assert (np.asarray(Image.open(drawn)) == (1, 2, 255)).all(axis=-1).any()
    assert "#0102ff" in shares
    assert predictions.color_of(request(), 1)[1] == "#0102ff"
    assert segment(predictions, image)[5] == "#0102ff"  # of the next images as well
    *_, shares, color = predictions.usual_colors(request(), 1, *look)
    assert "#0102ff" not in shares
    assert color == "#800000"


@pytest.mark.parametrize("class_id", [0, 3, -1, None, "1"])
def test_a_class_that_there_is_not(predictions, image, class_id):
    segment(predictions, image)
    assert "There is no such class" in predictions.color_of(request(), class_id)[0]


def test_nobody_sees_what_another_one_sent(predictions, image):
    segment(predictions, image, who="a")
    for answer in (
        predictions.show(request("b"), 0, *LOOK, [1]),
        predictions.redraw(request("b"), 0, *LOOK, [1]),
        predictions.make_files(request("b"), 0, *LOOK, [1], lambda *_, **__: None),
    ):
        assert "There are no results to show" in answer[0]


def test_who_leaves_leaves_nothing(predictions, image):
    segment(predictions, image)
    folder = predictions.visitors.of(request()).folder
    predictions.leave(request())
    assert not folder.exists()
    assert not Path(image).exists()
    assert "There are no results to show" in predictions.show(request(), 0, *LOOK, [1])[0]
    assert "what you sent was removed" in segment(predictions, image)[0]


def test_a_file_that_is_no_image_is_one_sentence(predictions, tmp_path):
    broken = tmp_path / "<b>.png"
    broken.write_bytes(b"no image")
    message, area, *_ = segment(predictions, str(broken))
    assert 'role="alert"' in message
    assert message.count("<p>") == 1
    assert "&lt;b&gt;.png" in message
    assert str(tmp_path) not in message
    assert area["visible"] is False


def test_weights_outside_are_refused(predictions, image):
    assert "lies outside the folders" in segment(predictions, image, weights="/etc/passwd")[0]


def test_files_to_take_home(predictions, image):
    segment(predictions, image)
    progress = lambda *_, **__: None  # noqa: E731
    _, files = predictions.make_files(request(), 0, *LOOK, [1, 2], progress)
    assert [Path(path).name for path in files["value"]] == [
        "street_mask.png", "street_overlay.png", "street_regions.csv", "street.json",
        "street_confidence.png",
    ]  # fmt: skip
    assert files["visible"]
