"""TensorBoard's files, read back with TensorBoard's own reader."""

import logging
import math
import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import tifffile
from stand_ins import counts_of
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import utils.runs.tensorboard
from utils.data.masks import read_mask
from utils.data.voc import read_samples
from utils.evaluation.metrics import score
from utils.images.reading import read_image
from utils.images.transforms import GREY
from utils.labels import voc_palette
from utils.runs.tensorboard import Board, EventFile

NAMES = ("background", "red", "green/leaf")
LOGS = {"loss": 2.0, "val_loss": 3.0, "batch_miou": 0.25, "learning_rate": 1e-3, "waiting": 0.5}


def read(folder):
    """The events of a folder: ({tag: [(step, value)]}, {tag: [(step, RGB pixels)]})."""
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    tags = events.Tags()
    scalars = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags["scalars"]}
    images = {
        tag: [(e.step, decode(e.encoded_image_string)) for e in events.Images(tag)]
        for tag in tags["images"]
    }
    return scalars, images


def decode(png):
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


@pytest.fixture
def make_board(voc_dir, tmp_path):
    """make_board(predict): a Board of one image, (48, 64); `scoring` stands beside it."""

    def make(predict=lambda pixels: np.ones(pixels.shape[:2], np.uint8), folder="run"):
        scoring = SimpleNamespace(scores=None)
        samples = read_samples(voc_dir, "val")[:1]
        return Board(tmp_path / folder, scoring, NAMES, samples=samples, predict=predict)

    return make


def test_scalars_of_an_epoch_without_scores(make_board, tmp_path):
    board = make_board()
    board.on_epoch_end(0, LOGS)
    board.on_epoch_end(1, LOGS | {"loss": 1.5, "val_loss": math.nan})
    scalars, images = read(tmp_path / "run")
    assert scalars == {
        "loss/train": [(1, 2.0), (2, 1.5)],
        "loss/validation": [(1, 3.0)],
        "miou/batch": [(1, 0.25), (2, 0.25)],
        "learning_rate": [(1, pytest.approx(1e-3)), (2, pytest.approx(1e-3))],
        "waiting": [(1, 0.5), (2, 0.5)],
    }
    assert images == {}


def test_iou_of_classes_and_images_when_scored(make_board, tmp_path):
    board = make_board()
    # IoU 3/4 and 4/5; green is nowhere, and so has none.
    board.scoring.scores = score(counts_of(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])))
    board.on_epoch_end(4, LOGS | {"val_miou": 0.775})
    board.scoring.scores = None
    board.on_epoch_end(5, LOGS)
    scalars, images = read(tmp_path / "run")
    assert scalars["miou/validation"] == [(5, pytest.approx(0.775))]
    assert scalars["iou/background"] == [(5, pytest.approx(0.75))]
    assert scalars["iou/red"] == [(5, pytest.approx(0.8))]
    assert "iou/green/leaf" not in scalars
    ((step, _),) = images["pictures/val_a"]
    assert step == 5


def test_an_image_shows_image_truth_and_prediction(make_board, tmp_path):
    board = make_board(lambda pixels: np.full(pixels.shape[:2], 2, np.uint8))
    board.scoring.scores = score(counts_of(np.eye(3, dtype=int)))
    board.on_epoch_end(0, LOGS)
    ((_, strip),) = read(tmp_path / "run")[1]["pictures/val_a"]
    assert strip.shape == (48, 64 + 4 + 64 + 4 + 64, 3)
    (sample,) = board.samples
    colors = voc_palette(256)
    colors[255] = 255
    assert np.array_equal(strip[:, :64], read_image(sample.image_path))
    assert (strip[:, 64:68] == GREY).all()
    assert np.array_equal(strip[:, 68:132], colors[read_mask(sample.mask_path, 3)])
    assert (strip[:, 136:] == colors[2]).all()
    assert (strip[0, 68] == 255).all()  # void


@pytest.mark.parametrize(
    ("size", "shown"),
    [((600, 1200), (240, 480)), ((960, 300), (480, 150)), ((480, 480), (480, 480))],
)
def test_large_images_are_scaled_down(size, shown, make_board, tmp_path, write_mask, write_image):
    board = make_board()
    sample = board.samples[0]._replace(
        image_path=write_image(tmp_path / "large.png", np.zeros((*size, 3), np.uint8)),
        mask_path=write_mask(tmp_path / "mask.png", np.zeros(size, np.uint8)),
    )
    seen = []

    def predict(pixels):
        seen.append(pixels.shape)
        return np.zeros(pixels.shape[:2], np.uint8)

    board.predict = predict
    assert board.draw(sample).shape == (shown[0], 3 * shown[1] + 8, 3)
    assert seen == [(*size, 3)]  # predicted before it is scaled


def test_ignored_labels_are_white(make_board):
    board = make_board()
    board.ignore_labels = (0, 255)
    strip = board.draw(board.samples[0])
    truth = strip[:, 68:132]
    assert (truth[2, 2] == 255).all()  # a pixel of the background
    assert {tuple(color) for color in truth.reshape(-1, 3).tolist()} == {
        (255, 255, 255),
        *(tuple(color) for color in voc_palette(3)[1:].tolist()),
    }


def test_a_run_that_goes_on_hides_epochs_that_it_repeats(make_board, tmp_path):
    first = make_board()
    for epoch in range(4):
        first.on_epoch_end(epoch, LOGS)
    second = make_board()
    for epoch in (2, 3, 4):
        second.on_epoch_end(epoch, LOGS | {"loss": 7.0})
    assert len(list((tmp_path / "run").iterdir())) == 2
    scalars, _ = read(tmp_path / "run")
    assert scalars["loss/train"] == [(1, 2.0), (2, 2.0), (3, 7.0), (4, 7.0), (5, 7.0)]


def test_nothing_is_written_before_the_first_epoch(make_board, tmp_path):
    make_board()
    assert not (tmp_path / "run").exists()


def test_each_epoch_is_there_for_tensorboard_at_once(make_board, tmp_path):
    board = make_board()
    sizes = []
    for epoch in range(2):
        board.on_epoch_end(epoch, LOGS)
        (path,) = (tmp_path / "run").iterdir()
        assert "tfevents" in path.name  # TensorBoard looks for it
        sizes.append(path.stat().st_size)
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("error", [ImportError("No module"), TypeError("Descriptors")])
def test_without_tensorboard_it_is_one_line(error, monkeypatch, make_board, tmp_path, capsys):
    def fail(folder):
        raise error

    monkeypatch.setattr(utils.runs.tensorboard, "EventFile", fail)
    board = make_board()
    board.scoring.scores = score(counts_of(np.eye(3, dtype=int)))
    board.on_epoch_end(0, LOGS)
    assert not (tmp_path / "run").exists()
    assert capsys.readouterr().out.splitlines() == [
        f"No TensorBoard files: the tensorboard package can't be loaded ({error})."
    ]


def test_a_missing_package_is_an_import_error(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto", None)
    with pytest.raises(ImportError, match=r"tensorboard\.compat\.proto"):
        EventFile(tmp_path)


def test_a_file_that_cannot_be_written_is_an_error(make_board, tmp_path):
    (tmp_path / "run").write_text("no folder")
    with pytest.raises(OSError, match="run"):
        make_board().on_epoch_end(0, LOGS)


def test_no_backend_is_loaded_to_write():
    code = (
        "import sys; from tensorboard.compat.proto import event_pb2, summary_pb2; "
        "from tensorboard.summary.writer.record_writer import RecordWriter; "
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_five_channels_are_shown_as_their_first_three(make_board, tmp_path, rng):
    board = make_board(lambda pixels: pixels[..., 4] // 255)
    board.in_channels = 5
    pixels = rng.integers(0, 256, (48, 64, 5)).astype(np.uint8)
    path = tmp_path / "five.tif"
    tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="contig")
    strip = board.draw(board.samples[0]._replace(image_path=path))
    np.testing.assert_array_equal(strip[:, :64], pixels[..., :3])
    np.testing.assert_array_equal(strip[:, 136:], voc_palette(256)[pixels[..., 4] // 255])
