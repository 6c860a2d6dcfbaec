"""What the page says of runs: which there are, how far they are, with which settings they go on."""

import json
import math
import os

import numpy as np
import pytest

from errors import UserError
from train import TrainConfig
from training.resuming import to_json
from utils.config import to_arguments
from utils.runs.state import State, save_state
from webapp.served import Served
from webapp.train_processes import TrainingProcess
from webapp.train_runs import (
    Entry,
    can_resume,
    describe,
    find_entry,
    find_output,
    find_run,
    list_entries,
    read_history,
    read_tail,
    select,
    settings_to_resume,
)
from webapp.train_view import View, look

HEAD = "epoch,loss,val_loss,batch_miou,val_miou,learning_rate,waiting\n"


@pytest.fixture
def logs(tmp_path, monkeypatch):
    """The folder `logs` of the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs"


@pytest.fixture
def served(logs, tmp_path):
    return Served((logs,), 10**6)


def make_run(folder, mious=(), finished=None, age=0, **settings):
    """The folder of a run with an epoch for each of `mious`, NaN where it was not scored."""
    folder.mkdir(parents=True)
    rows = [f"{n},{1 / n},0.5,0.25,{miou},0.001,0.0\n" for n, miou in enumerate(mious, 1)]
    (folder / "history.csv").write_text(HEAD + "".join(rows), encoding="utf-8")
    (folder / "settings.json").write_text("{}", encoding="utf-8")
    if finished is not None:
        config = TrainConfig(num_classes=3, **settings)
        facts = {"finished": finished, "run": {"settings": to_json(config)}}
        save_state(folder, State(len(mious), facts, {"weights": [np.zeros(3)]}))
    os.utime(folder, (10**9 - age, 10**9 - age))
    return folder


def write_output(folder, stamp, *lines):
    """An output that the page's Start leaves."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"page_{stamp}.log"
    path.write_text("\n".join(("$ python train.py --num_classes=3", *lines)), encoding="utf-8")
    os.utime(path, (9**9, 9**9))
    return path


def running(*paths):
    """Processes, of which each holds one of these."""
    return [TrainingProcess(9, frozenset({path.resolve()})) for path in paths]


def test_runs_of_all_served_folders_what_runs_first_then_the_newest(logs, served):
    old = make_run(logs / "loss_1", age=90)
    new = make_run(logs / "second" / "loss_1", age=10)
    fold = make_run(logs / "crossed" / "fold_0" / "loss_1", age=50)
    (logs / "loss_2").mkdir()  # holds nothing yet
    found = list_entries(served, running(old))
    assert found == [Entry(old, True), Entry(new, False), Entry(fold, False)]


def test_a_run_is_over_when_its_process_is(logs, served):
    """It gives back its lock before it has ended, and writes its output until then."""
    run = make_run(logs / "loss_1")
    output = write_output(logs, 1, "All settings: logs/loss_1/settings.json")
    assert list_entries(served, running(output)) == [Entry(run, True)]
    assert list_entries(served, []) == [Entry(run, False)]


def test_a_link_that_leads_out_is_not_followed(logs, served, tmp_path):
    make_run(tmp_path / "private" / "loss_1")
    (logs / "loss_3").symlink_to(tmp_path / "private" / "loss_1")
    assert list_entries(served, []) == []
    with pytest.raises(UserError, match="There is no training"):
        find_entry(served, str(logs / "loss_3"))


@pytest.mark.parametrize("chosen", [None, "", "/etc", "../private", "logs", "page_1.log"])
def test_what_is_no_training_is_refused(served, chosen):
    with pytest.raises(UserError, match="There is no training"):
        find_entry(served, chosen)


def test_an_output_stands_for_its_run_once_there_is_one(logs, served):
    output = write_output(logs, 1, "Images to train: 4")
    (entry,) = list_entries(served, [])
    assert entry.path == output and select(served, [entry], str(output)) == entry
    run = make_run(logs / "loss_1")
    output.write_text("$ python train.py\nAll settings: logs/loss_1/settings.json\n")
    (entry,) = list_entries(served, [])
    assert entry.path == run
    assert select(served, [entry], str(output)) == entry
    assert find_entry(served, str(run)) == (entry, output)


def test_of_outputs_without_a_run_the_newest_is_of_interest_and_what_runs(logs, served):
    outputs = [write_output(logs, stamp, "error: nothing") for stamp in (1, 2, 3)]
    assert [entry.path for entry in list_entries(served, [])] == outputs[-1:]
    assert list_entries(served, running(outputs[0])) == [
        Entry(outputs[0], True), Entry(outputs[2], False),
    ]  # fmt: skip


def test_the_newest_of_several_outputs_of_a_run_is_its_output(logs):
    run = make_run(logs / "loss_1")
    line = "All settings: logs/loss_1/settings.json"
    write_output(logs, 1, line)
    second = write_output(logs, 2, "Resuming logs/loss_1 after epoch 2.", line)
    write_output(logs, 3, "All settings: logs/loss_12/settings.json")
    assert find_output(run) == second
    assert find_run(second).samefile(run)


def test_the_output_of_a_cross_validation_is_that_of_its_folds(logs):
    folds = [make_run(logs / f"fold_{index}" / "loss_1") for index in (0, 1)]
    lines = [f"All settings: logs/fold_{index}/loss_1/settings.json" for index in (0, 1)]
    output = write_output(logs, 1, *lines)
    assert find_run(output).samefile(folds[1])
    assert [find_output(fold) for fold in folds] == [output, output]


def test_the_end_of_an_output_is_as_a_terminal_shows_it(logs):
    output = write_output(logs, 1, "checking  1%\rchecking 50%\rchecked", "done\r", "")
    assert read_tail(output).splitlines()[1:] == ["checked", "done"]
    output.write_text("\n".join(map(str, range(100))))
    assert read_tail(output).splitlines() == [str(number) for number in range(76, 100)]
    output.write_bytes(b"x" * 10**5 + "\n\u00e9nd".encode())
    assert read_tail(output).endswith("\n\u00e9nd")
    assert len(read_tail(output)) < 20000


def test_a_history_that_is_missing_or_none_is_empty(logs):
    assert read_history(logs) == []
    (logs / "history.csv").write_text("epoch,loss\n1,many\n", encoding="utf-8")
    assert read_history(logs) == []
    (logs / "history.csv").write_text("epoch,loss\n1,0.5,7\n", encoding="utf-8")
    assert read_history(logs) == []


def test_states_of_runs(logs):
    scored = (math.nan, 0.512, 0.4)
    made = {
        name: make_run(logs / f"loss_{name}", mious, finished)
        for name, mious, finished in (
            ("new", (), None), ("broken", scored, False), ("done", scored, True),
        )
    }  # fmt: skip
    best = "Best validation mIoU 51.2%, epoch 2."
    assert describe(Entry(made["done"], False), None) == f"Finished: 3 epochs are done.\n{best}"
    text = describe(Entry(made["broken"], False), None)
    assert text == f"Interrupted: 3 epochs are done.\n{best}"
    text = describe(Entry(made["new"], False), None)
    assert text == "It ended before its first epoch was saved, so it can't be resumed."
    resumable = {name: can_resume(Entry(folder, False)) for name, folder in made.items()}
    assert resumable == {"new": False, "broken": True, "done": False}
    assert not can_resume(Entry(made["broken"], True))


def test_what_runs_says_how_long_it_will(logs):
    run = make_run(logs / "loss_1", (0.5,))
    line = "epoch 1/9: loss 0.5000, lr 1.0e-4, 8.1 img/s, took 3s, left 24s"
    output = write_output(logs, 1, "epoch 0", line, "")
    assert describe(Entry(run, True), output).splitlines() == [
        "Running: 1 epoch is done.", "Best validation mIoU 50.0%, epoch 1.", line,
    ]  # fmt: skip


def test_why_one_ended_is_said(logs):
    output = write_output(logs, 1, "Checked.", "error: No dataset.", "  do: Make one.", "")
    assert describe(Entry(output, False), output) == "error: No dataset.\n  do: Make one."
    assert describe(Entry(output, True), output).startswith("Starting: ")
    run = make_run(logs / "loss_1", (0.5,), finished=False)
    assert describe(Entry(run, False), output).endswith("\nerror: No dataset.\n  do: Make one.")
    output.write_text("$ python train.py\nKilled\n")
    assert describe(Entry(output, False), output) == "Killed"


def test_a_run_goes_on_with_what_its_state_says(logs):
    run = make_run(logs / "loss_1", (0.5,), False, input_shape=(32, 48), resume="never")
    config, typed = settings_to_resume(run, None)
    assert config == TrainConfig(num_classes=3, input_shape=(32, 48))
    assert to_arguments(config, typed) == ["--num_classes=3", "--input_shape=32,48"]
    with pytest.raises(UserError, match="has no state that can be read"):
        settings_to_resume(make_run(logs / "loss_2"), None)


def test_or_with_the_command_that_started_it(logs):
    """What was typed stays so, though it be as shipped: a plan leaves it alone."""
    run = make_run(logs / "loss_1", (0.5,), False)
    output = write_output(logs, 1)
    output.write_text("$ python train.py --num_classes=4 --width=64 --resume=never\n")
    config, typed = settings_to_resume(run, output)
    assert config == TrainConfig(num_classes=4)
    assert {"num_classes", "width"} <= typed
    assert "--width=64" in to_arguments(config, typed)
    output.write_text("no command")
    assert settings_to_resume(run, output)[0].num_classes == 3


def test_a_view_of_nothing_yet(served):
    assert look(served, None) == View()
    assert list(View().frame("Loss").columns) == ["epoch", "value", "of"]


def test_a_view_of_a_run(logs, served):
    make_run(logs / "loss_1", (math.nan, 0.75), finished=True, age=5)
    other = make_run(logs / "loss_2", (0.5,), finished=False)
    view = look(served, None)
    assert view.chosen == str(other) and view.resumable and not view.running
    assert [label for label, _ in view.choices] == [str(other), str(logs / "loss_1")]
    view = look(served, str(logs / "loss_1"))
    assert not view.resumable
    frame = view.frame("Mean IoU")
    assert frame[frame["of"] == "validation"].values.tolist() == [[2.0, 0.75, "validation"]]
    assert len(frame[frame["of"] != "validation"]) == 2
    unscored = View(rows=[{"epoch": 1.0, "batch_miou": 0.5, "val_miou": math.nan}])
    assert unscored.frame("Mean IoU")["of"].tolist() == ["training (augmented)", "validation"]
    assert json.loads(view.frame("Loss").to_json())["value"]["0"] == 1.0
