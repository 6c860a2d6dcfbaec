"""The hooks after each epoch: what is saved, scored and written, over two phases."""

import csv
import math
import time

import keras
import numpy as np
import pytest
from PIL import Image
from stand_ins import counts_of

from utils.files import whole_file
from utils.runs.callbacks import Checkpoints, EpochOfDataset, RunLog, SaveState, ValidationMeanIoU
from utils.runs.folder import publish
from utils.runs.state import find_states, read_state

LAST, BEST, LOWEST = "last_epoch_weights", "best_epoch_weights", "lowest_loss_weights"
NAN = math.nan


class Saver:
    """A `save` that writes how often it was called before, instead of weights."""

    def __init__(self):
        self.count = 0

    def __call__(self, path):
        assert path.name == f"{LAST}.weights.h5"  # the others are links to it
        with whole_file(path) as temporary:
            temporary.write_text(str(self.count))
        self.count += 1


def written(folder, count):
    """The names, without the common ending and sorted, of files that hold a save's count."""
    names = [path.name for path in folder.glob("*.h5") if path.read_text() == str(count)]
    assert all(name.endswith(".weights.h5") for name in names)
    return sorted(name.removesuffix(".weights.h5") for name in names)


def saved(callback, epochs):
    """Runs the hook on (loss, val_loss, val_miou or None); lists each epoch's files, sorted."""
    files = []
    for epoch, (loss, val_loss, val_miou) in enumerate(epochs):
        logs = {"loss": loss, "val_loss": val_loss}
        callback.on_epoch_end(epoch, logs if val_miou is None else {**logs, "val_miou": val_miou})
        files.append(written(callback.folder, epoch))
        assert callback.save.count == epoch + 1
    return files


def test_which_files_are_saved_on_which_epoch(tmp_path):
    epochs = [
        (3.0, 2.0, None),
        (2.5, 2.1, 0.3),
        (2.0, 1.5, None),
        (1.23456, 1.6, 0.25),
        # A new phase goes on with the same hook: 1.5 and 0.3 are still to be beaten.
        (1.9, 1.55, None),
        (1.7, 1.4999, 0.2999),
        (1.7, 1.4999, 0.3),
        (1.6, 2.0, 0.4),
    ]
    assert saved(Checkpoints(Saver(), tmp_path, 2), epochs) == [
        [BEST, LAST, LOWEST],  # by the loss as long as nothing was scored
        [BEST, "ep002-loss2.500-val_loss2.100", LAST],
        [LAST, LOWEST],
        ["ep004-loss1.235-val_loss1.600", LAST],
        [LAST],
        ["ep006-loss1.700-val_loss1.500", LAST, LOWEST],
        [LAST],
        [BEST, "ep008-loss1.600-val_loss2.000", LAST],
    ]


def test_a_score_of_0_is_the_best_so_far(tmp_path):
    assert saved(Checkpoints(Saver(), tmp_path, 0), [(1.0, 1.0, 0.0)]) == [[BEST, LAST, LOWEST]]


def test_scores_that_are_nan_are_never_the_best(tmp_path):
    callback = Checkpoints(Saver(), tmp_path, 0)
    epochs = [(NAN, NAN, NAN), (1.0, 9.0, 0.1), (NAN, NAN, NAN), (1.0, 8.0, 0.2)]
    assert saved(callback, epochs) == [[LAST], [BEST, LAST, LOWEST], [LAST], [BEST, LAST, LOWEST]]


def test_without_scores_the_loss_tells_the_best(tmp_path):
    epochs = [(1.0, 3.0, None), (1.0, 4.0, NAN), (1.0, 2.0, NAN), (1.0, 2.0, None)]
    assert saved(Checkpoints(Saver(), tmp_path, 0), epochs) == [
        [BEST, LAST, LOWEST], [LAST], [BEST, LAST, LOWEST], [LAST],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("period", "numbered"), [(0, []), (1, [1, 2, 3, 4, 5, 6]), (3, [3, 6]), (7, [])]
)
def test_the_period_of_numbered_files(tmp_path, period, numbered):
    files = saved(Checkpoints(Saver(), tmp_path, period), [(1.0, 1.0, None)] * 6)
    assert files == [
        sorted(
            [LAST]
            + [BEST, LOWEST] * (epoch == 1)
            + [f"ep{epoch:03d}-loss1.000-val_loss1.000"] * (epoch in numbered)
        )
        for epoch in range(1, 7)
    ]


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_files_lie_in_the_folder(tmp_path, kind):
    Checkpoints(Saver(), kind(tmp_path), 1).on_epoch_end(999, {"loss": 1.0, "val_loss": 1.0})
    assert sorted(tmp_path.iterdir()) == [
        tmp_path / "best_epoch_weights.weights.h5",
        tmp_path / "ep1000-loss1.000-val_loss1.000.weights.h5",
        tmp_path / "last_epoch_weights.weights.h5",
        tmp_path / "lowest_loss_weights.weights.h5",
    ]


def test_best_and_last_get_a_second_name_for_everyone(tmp_path):
    folder, public = tmp_path / "loss_2026", tmp_path
    callback = Checkpoints(Saver(), folder, 1, public)
    epochs = [(1.0, 2.0, None), (1.0, 3.0, 0.5), (1.0, 1.0, 0.4)]
    found = []
    for epoch, (loss, val_loss, miou) in enumerate(epochs):
        logs = {"loss": loss, "val_loss": val_loss} | ({"val_miou": miou} if miou else {})
        callback.on_epoch_end(epoch, logs)
        found.append([written(public, count) for count in range(epoch + 1)])
    assert found == [
        [[BEST, LAST, LOWEST]],
        [[LOWEST], [BEST, LAST]],
        [[], [BEST], [LAST, LOWEST]],
    ]


def test_an_earlier_runs_best_weights_do_not_stay_beside_this_runs(tmp_path):
    earlier = Checkpoints(Saver(), tmp_path / "loss_1", 0, tmp_path)
    earlier.on_epoch_end(0, {"loss": 1.0, "val_loss": 0.5, "val_miou": 0.5})
    former = tmp_path / "loss_1" / "best_miou_weights.weights.h5"  # of an earlier version
    former.write_text("0")
    publish(former, tmp_path / former.name)
    now = Checkpoints(Saver(), tmp_path / "loss_2", 0, tmp_path)
    assert written(tmp_path, 0) == [BEST, "best_miou_weights", LAST, LOWEST]
    now.save.count = 7
    now.on_epoch_end(0, {"loss": 1.0, "val_loss": NAN})
    assert (written(tmp_path, 0), written(tmp_path, 7)) == ([], [LAST])
    assert written(tmp_path / "loss_1", 0) == [BEST, "best_miou_weights", LAST, LOWEST]


def test_a_run_that_goes_on_shows_its_own_best_weights_again(tmp_path):
    """Between its two parts, another run has put its weights there."""
    first = Checkpoints(Saver(), tmp_path / "loss_1", 0, tmp_path)
    first.on_epoch_end(0, {"loss": 1.0, "val_loss": 0.5, "val_miou": 0.5})
    other = Checkpoints(Saver(), tmp_path / "loss_2", 0, tmp_path)
    other.save.count = 7
    other.on_epoch_end(0, {"loss": 1.0, "val_loss": 0.9})
    again = Checkpoints(Saver(), tmp_path / "loss_1", 0, tmp_path)
    again.state, again.save.count = first.state, 1
    again.on_epoch_end(1, {"loss": 1.0, "val_loss": 0.6})
    assert (written(tmp_path, 0), written(tmp_path, 1)) == ([BEST, LOWEST], [LAST])
    assert written(tmp_path, 7) == []


@pytest.mark.parametrize(
    ("period", "scored"), [(2, [2, 4, 5]), (1, [1, 2, 3, 4, 5]), (5, [5]), (9, [5]), (0, [])]
)
def test_epochs_that_are_scored(period, scored):
    calls = []

    def evaluate():
        calls.append(len(calls))
        return counts_of([[3, 1], [0, 4]])  # IoU 3/4 and 4/5

    callback = ValidationMeanIoU(evaluate, period, last_epoch=5)
    found = {}
    for epoch in range(5):
        logs, before = {"loss": 1.0}, callback.last_scores
        callback.on_epoch_end(epoch, logs)
        if "val_miou" in logs:
            found[epoch + 1] = logs["val_miou"]
            assert callback.scores is callback.last_scores is not before
            np.testing.assert_allclose(callback.scores.iou, [3 / 4, 4 / 5])
        else:
            assert callback.scores is None
            assert callback.last_scores is before
    assert found == dict.fromkeys(scored, pytest.approx((3 / 4 + 4 / 5) / 2))
    assert len(calls) == len(scored)


def test_the_best_scores_are_kept_for_a_run_that_goes_on():
    matrices = [[[3, 1], [0, 4]], [[4, 0], [0, 0]], [[4, 0], [0, 4]], [[0, 0], [0, 0]]]
    left = iter([matrices[0], *matrices])
    callback = ValidationMeanIoU(lambda: counts_of(next(left)), 1, last_epoch=9)
    assert callback.state == {"best": None}
    for epoch in range(5):  # 0.775 twice, then 1 of one class, then 1 of both, then none
        callback.on_epoch_end(epoch, {})
        if epoch < 2:
            assert callback.state == {"best": {"epoch": 1, "miou": 0.775, "iou": [0.75, 0.8]}}
    best = callback.state["best"]
    assert (best["epoch"], best["miou"]) == (3, 1)
    np.testing.assert_array_equal(best["iou"], [1, np.nan])


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_history_grows_by_a_row_an_epoch(tmp_path):
    log = RunLog(tmp_path)
    logs = {"loss": 0.5, "val_loss": 0.75, "batch_miou": 0.25, "learning_rate": 1e-4}
    logs["waiting"] = 0.125
    log.on_epoch_end(0, {**logs, "val_miou": 0.125})
    first = {
        "epoch": "1",
        "loss": "0.5",
        "val_loss": "0.75",
        "batch_miou": "0.25",
        "val_miou": "0.125",
        "learning_rate": "0.0001",
        "waiting": "0.125",
    }
    assert rows_of(tmp_path / "history.csv") == [first]
    with Image.open(tmp_path / "curves.png") as image:
        assert image.format == "PNG"
        before = np.array(image)
    log.on_epoch_end(1, {**logs, "loss": 0.25, "not_a_column": 3})
    second = first | {"epoch": "2", "loss": "0.25", "val_miou": "nan"}
    assert rows_of(tmp_path / "history.csv") == [first, second]
    with Image.open(tmp_path / "curves.png") as image:
        assert not np.array_equal(before, np.array(image))


def test_numbers_in_the_history_keep_all_digits(tmp_path):
    RunLog(str(tmp_path)).on_epoch_end(0, {"loss": 0.1 + 0.2, "learning_rate": 1.23e-7})
    (row,) = rows_of(tmp_path / "history.csv")
    assert (float(row["loss"]), float(row["learning_rate"])) == (0.1 + 0.2, 1.23e-7)


class Noted(keras.utils.PyDataset):
    """Four batches; notes the epoch that it was told when each is drawn."""

    def __init__(self):
        super().__init__()
        self.epoch = None
        self.drawn = []
        self.waited = 0.0

    def __len__(self):
        return 4

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __getitem__(self, index):
        self.drawn.append(self.epoch)
        return np.ones((2, 3), np.float32), np.zeros((2, 1), np.float32)


def one_layer():
    """A trainer of one small layer, for `fit`."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    return model


def test_the_dataset_knows_the_epoch_before_its_first_batch():
    dataset = Noted()
    one_layer().fit(
        dataset, initial_epoch=3, epochs=5, callbacks=[EpochOfDataset(dataset)], verbose=0
    )
    # Keras draws batches beforehand too, to learn their types; it does not train on them.
    assert dataset.drawn[-8:] == [3] * 4 + [4] * 4


def test_all_hooks_in_two_fits(tmp_path):
    """Keras hands what one hook adds to the logs to the next, and phases go on."""
    save, calls = Saver(), []

    def evaluate():
        calls.append(len(calls))
        return counts_of([[len(calls), 1], [0, 1]])  # better each time

    hooks = [ValidationMeanIoU(evaluate, 2, 5), Checkpoints(save, tmp_path, 0), RunLog(tmp_path)]
    data = np.ones((4, 3), np.float32), np.zeros((4, 1), np.float32)
    files = []
    for first, last in ((0, 3), (3, 5)):
        after = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: files.append(written(tmp_path, epoch))
        )
        one_layer().fit(
            *data,
            validation_data=data,
            initial_epoch=first,
            epochs=last,
            callbacks=[*hooks, after],
            verbose=0,
        )
    assert [BEST in names for names in files] == [True, True, False, True, True]
    assert all(LAST in names for names in files)
    rows = rows_of(tmp_path / "history.csv")
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5"]
    # IoU n / (n + 1) and 1 / 2, for n = 1, 2, 3
    means = [NAN, (1 / 2 + 1 / 2) / 2, NAN, (2 / 3 + 1 / 2) / 2, (3 / 4 + 1 / 2) / 2]
    np.testing.assert_allclose([float(row["val_miou"]) for row in rows], means)
    assert all(math.isfinite(float(row["loss"])) for row in rows)
    assert all(math.isfinite(float(row["val_loss"])) for row in rows)


def test_the_share_of_waiting_is_noted():
    dataset, logs = Noted(), {}
    hook = EpochOfDataset(dataset)
    hook.on_epoch_begin(0)
    dataset.waited = 0.01
    time.sleep(0.05)
    hook.on_train_batch_end(0)
    hook.on_epoch_end(0, logs)
    assert 0 < logs["waiting"] <= 0.01 / 0.05


def test_a_log_that_goes_on_keeps_the_rows_of_before(tmp_path):
    first, second = RunLog(tmp_path), RunLog(tmp_path)
    first.on_epoch_end(0, {"loss": 0.5})
    second.state = first.state
    second.on_epoch_end(1, {"loss": 0.25})
    assert [row["loss"] for row in rows_of(tmp_path / "history.csv")] == ["0.5", "0.25"]
    assert [row["loss"] for row in second.state["rows"]] == [0.5, 0.25]


@pytest.mark.parametrize(("epoch", "finished"), [(2, False), (3, True)])
def test_the_state_of_a_run(tmp_path, epoch, finished):
    part = RunLog(tmp_path)
    model = one_layer()
    hook = SaveState(
        tmp_path,
        lambda epoch: epoch == 4,
        {"policy": "float32"},
        lambda model: {"w": model.get_weights()},
        {"log": part},
    )
    hook.set_model(model)
    hook.on_epoch_end(epoch, {})
    assert [number for number, _ in find_states(tmp_path)] == [epoch + 1]
    state = read_state(tmp_path)
    assert state.facts == {
        "policy": "float32",
        "finished": finished,
        "callbacks": {"log": {"rows": []}},
    }
    for found, expected in zip(state.arrays["w"], model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
