"""The summary of a cross-validation, with its arithmetic by hand."""

import csv
import json
import math

import numpy as np
import pytest
from PIL import Image

from errors import RunError
from utils.runs.fold_scores import format_folds, mean_and_deviation, read_fold, write_folds
from utils.runs.state import State, save_state

NAN = math.nan


def leave_run(folder, rows, best=None, names=("a", "b"), **facts):
    """A run in a fold's folder, as a training leaves it; rows of (val_loss, val_miou)."""
    run = folder / "loss_2026_01_01_00_00_00"
    run.mkdir(parents=True)
    history = [
        {"epoch": index, "val_loss": loss, "val_miou": miou}
        for index, (loss, miou) in enumerate(rows, start=1)
    ]
    callbacks = {"log": {"rows": history}} | ({"scoring": {"best": best}} if best else {})
    facts = {"finished": True, "description": {"name_classes": list(names)}} | facts
    save_state(run, State(len(rows), facts | {"callbacks": callbacks}, {}))
    return run


@pytest.fixture
def folds(tmp_path):
    """Three folds: mIoU 0.5, 0.6, 0.7 in epochs 2, 1, 2; the last holds no b."""
    leave_run(
        tmp_path / "fold_0", [(3.0, 0.4), (2.0, 0.5), (1.0, 0.3)],
        {"epoch": 2, "miou": 0.5, "iou": [0.4, 0.6]},
    )  # fmt: skip
    leave_run(tmp_path / "fold_1", [(4.0, 0.6)], {"epoch": 1, "miou": 0.6, "iou": [0.4, 0.8]})
    leave_run(
        tmp_path / "fold_2", [(5.0, NAN), (6.0, 0.7)], {"epoch": 2, "miou": 0.7, "iou": [0.7, NAN]}
    )
    return [read_fold(tmp_path / f"fold_{index}") for index in range(3)]


def test_means_and_deviations_by_hand():
    means, deviations = mean_and_deviation(np.array([[1, 2, NAN], [2, NAN, NAN], [6, 5, NAN]]))
    # 1, 2, 6: mean 3, squares 4 + 1 + 9 = 14, over two; 2, 5: mean 3.5, squares 4.5, over one
    np.testing.assert_allclose(means, [3, 3.5, NAN])
    np.testing.assert_allclose(deviations, [math.sqrt(7), math.sqrt(4.5), NAN])


def test_one_value_has_no_deviation():
    means, deviations = mean_and_deviation(np.array([[1.0, 2.0], [NAN, 2.0]]))
    np.testing.assert_array_equal(means, [1, 2])
    np.testing.assert_array_equal(deviations, [NAN, 0])


def test_a_fold_s_scores_are_those_of_its_best_epoch(folds):
    assert [(one.epoch, one.miou, one.val_loss) for one in folds] == [
        (2, 0.5, 2.0), (1, 0.6, 4.0), (2, 0.7, 6.0),
    ]  # fmt: skip
    np.testing.assert_array_equal(folds[0].iou, [0.4, 0.6])
    assert folds[0].names == ("a", "b")


def test_without_scores_the_lowest_loss_decides(tmp_path):
    leave_run(tmp_path, [(3.0, NAN), (2.0, NAN), (2.5, NAN)])
    one = read_fold(tmp_path)
    assert (one.epoch, one.val_loss) == (2, 2.0)
    assert np.isnan([one.miou, *one.iou]).all()


def test_iou_of_another_epoch_is_not_taken(tmp_path):
    """A run of an earlier version noted none, and goes on with this one."""
    leave_run(tmp_path, [(3.0, 0.9), (2.0, 0.5)], {"epoch": 2, "miou": 0.5, "iou": [0.4, 0.6]})
    one = read_fold(tmp_path)
    assert one.epoch == 1
    assert np.isnan(one.iou).all()


@pytest.mark.parametrize("rows", [None, [(NAN, NAN)]])
def test_a_fold_that_was_never_validated(tmp_path, rows):
    if rows:
        leave_run(tmp_path, rows)
    with pytest.raises(RunError, match="holds no epoch that was validated, so that it has no sco"):
        read_fold(tmp_path)


def test_the_table(folds, tmp_path):
    # mIoU: deviation 0.1; loss 2, 4, 6: 2; a: 0.4, 0.4, 0.7: 0.5 and sqrt(0.06 / 2); b: 0.6, 0.8
    lines = format_folds(folds, tmp_path).splitlines()
    assert [line.split() for line in lines[:6]] == [
        ["fold_0", "fold_1", "fold_2", "mean", "deviation"],
        ["epoch", "2", "1", "2"],
        ["mIoU", "50.00", "60.00", "70.00", "60.00", "10.00"],
        ["val_loss", "2.0000", "4.0000", "6.0000", "4.0000", "2.0000"],
        ["IoU", "a", "40.00", "40.00", "70.00", "50.00", "17.32"],
        ["IoU", "b", "60.00", "80.00", "-", "70.00", "14.14"],
    ]
    text = "\n".join(lines)
    assert "divided by the number of folds less 1" in text
    pattern = tmp_path / "fold_*" / "best_epoch_weights.weights.h5"
    assert f"python predict.py --model_path '{pattern}'" in text
    assert "that with the highest mIoU on its own validation images" in text


def test_the_table_without_scores(tmp_path):
    for index, loss in enumerate((1.0, 3.0)):
        leave_run(tmp_path / f"fold_{index}", [(loss, NAN)])
    text = format_folds([read_fold(tmp_path / f"fold_{index}") for index in range(2)], tmp_path)
    assert "best_epoch_weights.weights.h5" in text
    assert "the lowest loss of its own validation images" in text
    assert [line.split() for line in text.splitlines()[2:4]] == [
        ["mIoU", "-", "-", "-", "-"],
        ["val_loss", "1.0000", "3.0000", "2.0000", "1.4142"],
    ]


def test_the_files(folds, tmp_path):
    out = tmp_path / "out"
    write_folds(folds, out)
    with open(out / "folds.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    run = "loss_2026_01_01_00_00_00"
    assert rows[:2] == [
        ["fold", "run", "epoch", "miou", "val_loss", "IoU a", "IoU b"],
        ["fold_0", run, "2", "0.5", "2.0", "0.4", "0.6"],
    ]
    assert rows[3][-1] == ""
    assert [row[0] for row in rows] == ["fold", "fold_0", "fold_1", "fold_2", "mean", "deviation"]
    assert [float(cell) for cell in rows[4][3:]] == pytest.approx([0.6, 4, 0.5, 0.7])
    assert [float(cell) for cell in rows[5][3:]] == pytest.approx(
        [0.1, 2, math.sqrt(0.03), math.sqrt(0.02)]
    )
    found = json.loads((out / "folds.json").read_text(encoding="utf-8"))
    assert found["miou"] == {
        "mean": pytest.approx(0.6), "deviation": pytest.approx(0.1), "folds": [0.5, 0.6, 0.7],
    }  # fmt: skip
    assert found["classes"][1]["iou"]["folds"] == [0.6, 0.8, None]
    assert found["folds"][0]["run"] == str(tmp_path / "fold_0" / run)
    assert "less 1" in found["deviation"]
    with Image.open(out / "folds.png") as image:
        assert min(image.size) >= 150
