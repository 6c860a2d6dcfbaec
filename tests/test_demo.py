"""The demo: its drawn images, and the whole way through the scripts."""

import numpy as np
import pytest
from PIL import Image
from stand_ins import confusion_matrix, counts_of

import demo
from training.plan import Machine
from utils.data.masks import read_label_ids
from utils.data.voc import read_samples
from utils.evaluation.metrics import score


def draw(count, size=(112, 144)):
    return [demo.draw_cells(size, np.random.default_rng((1, index))) for index in range(count)]


def test_images_are_the_same_for_the_same_seed():
    (first, first_mask), (second, _) = draw(2)
    again, again_mask = demo.draw_cells((112, 144), np.random.default_rng((1, 0)))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first_mask, again_mask)
    assert (first != second).any()
    assert (first.shape, first.dtype) == ((112, 144, 3), np.uint8)


def test_every_class_has_its_share():
    shares = np.bincount(np.concatenate([mask.ravel() for _, mask in draw(20)])) / (20 * 112 * 144)
    assert len(shares) == 3
    assert shares[0] > 0.5
    assert shares[1] > 0.15
    assert shares[2] > 0.03


def test_no_threshold_solves_it():
    """The best class for each brightness, even with the masks at hand, scores badly."""
    images = draw(20)
    brightness = np.concatenate([image.mean(axis=2).astype(int).ravel() for image, _ in images])
    truth = np.concatenate([mask.ravel() for _, mask in images])
    counts = np.zeros((256, 3))
    np.add.at(counts, (brightness, truth), 1)
    for weights in (1, counts.sum(axis=0)):  # by pixels, and each class counting the same
        predicted = (counts / weights).argmax(axis=1)[brightness]
        assert score(counts_of(confusion_matrix(truth, predicted, 3))).miou < 0.4


@pytest.mark.slow
def test_the_demo_runs_from_drawing_to_contact_sheet(tmp_path, capsys, monkeypatch):
    slow = Machine(per_pixel=1e-5, per_step=0.02, width=32)  # not measured: that takes longer
    monkeypatch.setattr("training.planning.measure_machine", lambda *_: slow)
    config = demo.DemoConfig(folder=str(tmp_path / "demo"), images=8, minutes=0.4)
    scores = demo.main(config)
    assert 0 <= scores.miou <= 1
    devkit = tmp_path / "demo" / "VOCdevkit"
    train, val = (read_samples(devkit, split) for split in ("train", "val"))
    assert (len(train), len(val)) == (7, 1)  # 0.85 * 8 = 6.8
    assert read_label_ids(val[0].mask_path).shape == (112, 144)
    with Image.open(tmp_path / "demo" / "contact_sheet.png") as sheet:
        assert sheet.width > 300
    assert (tmp_path / "demo" / "img_out" / f"{val[0].name}.png").is_file()
    (run,) = (tmp_path / "demo").glob("loss_*")
    for name in ("best_epoch_weights.weights.h5", "last_epoch_weights.weights.h5"):
        assert (tmp_path / "demo" / name).read_bytes() == (run / name).read_bytes()
    assert "Done in" in capsys.readouterr().out
