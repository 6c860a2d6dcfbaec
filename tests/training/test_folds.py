"""Cross-validation by train.py --folds: one process a fold, in turn, each resumed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import train
from errors import UserError
from training import folds as folds_module
from training.folds import Fold, train_folds
from utils.config import load_config, to_arguments
from utils.data.voc import Samples, read_list
from utils.runs.folder import newest_run
from utils.runs.lock import FolderLock
from utils.runs.state import State
from utils.script import Terminated

PROJECT = Path(train.__file__).parent
BEST = "best_epoch_weights.weights.h5"
unix = pytest.mark.skipif(sys.platform == "win32", reason="it has other signals")


class InProcess:
    """In the place of `subprocess.Popen`: the script's work, done where the end is waited for."""

    started = ()

    def __init__(self, words):
        assert words[:2] == [sys.executable, "train.py"]
        type(self).started += (load_config(train.TrainConfig, words[2:]),)
        self.status = None

    def wait(self, timeout=None):
        if self.status is None:
            self.status = 130  # unless it comes to its end
            train.main(self.started[-1])
            self.status = 0
        return self.status

    def poll(self):
        return self.status


@pytest.fixture
def start(train_config, monkeypatch):
    """start(**changes): trains three folds; (exit status, settings of those that were started)."""

    def run(**changes):
        class Started(InProcess):
            pass

        monkeypatch.setattr("training.folds.subprocess.Popen", Started)
        run.started = lambda: Started.started
        config = train_config(**({"folds": 3, "save_period": 0} | changes))
        return train_folds(config, "train.py"), Started.started

    return run


@pytest.fixture
def logs(tmp_path):
    return tmp_path / "logs"


def stop_in(monkeypatch, fold):
    """Has a Ctrl-C come after the first epoch of a fold."""
    main = train.main

    def interrupted(config):
        with pytest.MonkeyPatch.context() as patch:
            if Path(config.save_dir).name == fold:

                def on_epoch_end(self, epoch, logs=None):
                    raise KeyboardInterrupt

                patch.setattr("utils.runs.progress.Progress.on_epoch_end", on_epoch_end)
            main(config)

    monkeypatch.setattr(train, "main", interrupted)


@pytest.fixture
def usual_ctrl_c():
    """Ctrl-C as in a terminal: what runs in the background of a shell ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# What is refused, before anything is written


@pytest.mark.parametrize("folds", [1, -1])
def test_one_fold_is_none(train_config, folds):
    with pytest.raises(UserError, match=f"folds must be at least 2, so that .*; got {folds}"):
        train_config(folds=folds)


def test_more_folds_than_images(start, logs):
    with pytest.raises(UserError, match="folds must be 2 up to the number of images, 6; got 7"):
        start(folds=7)
    assert not logs.exists()


@pytest.mark.parametrize(
    "environment",
    [
        {
            "KERAS_DISTRIBUTION_JOB_ADDRESSES": "10.0.0.1:1234",
            "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
            "KERAS_DISTRIBUTION_PROCESS_ID": "0",
        },
        {"TF_CONFIG": json.dumps({"cluster": {"worker": ["a:1", "b:1"]}})},
    ],
)
def test_several_machines_are_refused(start, logs, monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="folds are trained on one machine, and the environment"):
        start()
    assert not logs.exists()


def test_folders_in_use_are_left_alone(start, logs):
    for folder in (logs, logs / "fold_0"):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(folder)
        with pytest.raises(UserError, match=r"Another training is using .*logs.*\. Wait for it"):
            start()
        lock.release()
    assert not list(logs.rglob("loss_*"))


def test_runs_of_other_folds_would_be_averaged_with_these(start, logs):
    (logs / "fold_3" / "loss_a").mkdir(parents=True)
    (logs / "fold_10" / "loss_a").mkdir(parents=True)
    (logs / "fold_4").mkdir()  # without a run
    with pytest.raises(UserError, match=r"folds is 3, but .* runs of others: fold_10, fold_3"):
        start()


# Three folds


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_three_folds_and_their_sum(start, logs, voc_dir, capsys):
    status, started = start()
    assert status == 0
    assert [Path(one.save_dir).name for one in started] == ["fold_0", "fold_1", "fold_2"]
    validated = []
    for index in range(3):
        folder = logs / f"fold_{index}"
        train_names, val_names = (read_list(voc_dir, folder / f"{n}.txt") for n in ("train", "val"))
        assert len(train_names) == 4 and len(val_names) == 2
        assert not set(train_names) & set(val_names)
        validated += val_names
        assert (folder / BEST).is_file()
    assert len(set(validated)) == 6
    found = json.loads((logs / "folds.json").read_text(encoding="utf-8"))
    scores = []
    for index in range(3):
        _, state = newest_run(logs / f"fold_{index}")
        rows = state.facts["callbacks"]["log"]["rows"]
        scores.append(max(row["val_miou"] for row in rows))
        best = state.facts["callbacks"]["scoring"]["best"]
        assert best["miou"] == scores[-1] == pytest.approx(np.nanmean(best["iou"]))
        assert [one["iou"]["folds"][index] for one in found["classes"]] == pytest.approx(
            best["iou"], nan_ok=True
        )
    assert found["miou"]["folds"] == scores
    assert found["miou"]["deviation"] == pytest.approx(np.std(scores, ddof=1))
    assert {"folds.csv", "folds.png"} <= {path.name for path in logs.iterdir()}
    out = capsys.readouterr().out
    assert "6 images, split into 3 folds at random (seed 11)" in out
    assert f"=== {logs / 'fold_1'}: 4 images train, 2 validate\n" in out
    assert f"--model_path '{logs / 'fold_*' / BEST}'" in out
    # Again, all is finished; another number of epochs trains all on.
    assert start() == (0, ())
    assert f"=== {logs / 'fold_1'}: 4 images train, 2 validate; finished already.\n" in (
        capsys.readouterr().out
    )
    (first,) = start(unfreeze_epoch=3, resume="auto")[1][:1]
    assert first.unfreeze_epoch == 3
    assert capsys.readouterr().out.count("Resuming ") == 3


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_an_interrupted_fold_goes_on_and_finished_ones_stay(start, logs, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        stop_in(patch, "fold_1")
        with pytest.raises(KeyboardInterrupt):
            start()
    assert len(start.started()) == 2
    assert not (logs / "folds.json").exists()
    before = (logs / "fold_0" / BEST).stat()
    # What has changed is told before anything is trained.
    with pytest.raises(
        UserError, match=r"fold_1.*was interrupted after epoch 1 and can't resume"
    ) as e:
        start(init_lr=2e-3)
    assert "init_lr was 0.001, is 0.002" in str(e.value)
    assert start.started() == ()
    capsys.readouterr()
    status, started = start()
    assert status == 0
    assert [Path(one.save_dir).name for one in started] == ["fold_1", "fold_2"]
    assert "Resuming" in capsys.readouterr().out
    assert (logs / "fold_0" / BEST).stat() == before
    assert len(list(logs.glob("fold_*/loss_*"))) == 3
    assert len(start(resume="never")[1]) == 3


# What each fold is told


class Ends:
    """In the place of `subprocess.Popen`: a process that ends with a status."""

    def __init__(self, status):
        self.status = status
        self.words = []

    def __call__(self, words):
        self.words.append(words)
        return self

    def wait(self, timeout=None):
        return self.status


@pytest.mark.parametrize(("status", "expected"), [(2, 2), (-9, 137), (130, 130)])
def test_a_fold_that_fails_ends_all_with_its_status(
    train_config, monkeypatch, logs, capsys, status, expected
):
    process = Ends(status)
    monkeypatch.setattr("training.folds.subprocess.Popen", process)
    assert train_folds(train_config(folds=3), "train.py") == expected
    assert len(process.words) == 1
    assert f"{logs / 'fold_0'} broke off, see above. The same command goes on with it." in (
        capsys.readouterr().out
    )


def test_folds_that_begin_anew_each_time_go_on_by_another_command(
    train_config, monkeypatch, capsys
):
    monkeypatch.setattr("training.folds.subprocess.Popen", Ends(2))
    train_folds(train_config(folds=3, resume="never"), "train.py")
    assert "The command without resume=never goes on with it." in capsys.readouterr().out


def test_the_time_is_shared_and_what_was_typed_stays_typed(
    train_config, monkeypatch, voc_dir, logs, capsys
):
    process = Ends(1)
    monkeypatch.setattr("training.folds.subprocess.Popen", process)
    given = to_arguments(train_config(folds=4, time_limit=10.0))
    config = load_config(train.TrainConfig, [*given, "--init_lr", "1e-4"])
    train_folds(config, "train.py")
    words = process.words[0]
    assert words[:2] == [sys.executable, "train.py"]
    assert "--time_limit=2.5" in words
    assert "Each fold has 2.5 of the 10 minutes.\n" in capsys.readouterr().out
    assert "--init_lr=0.0001" in words  # though it is what train.py has
    made = load_config(train.TrainConfig, words[2:])
    assert (made.folds, made.save_dir) == (0, str(logs / "fold_0"))
    assert made.val_list == str(logs / "fold_0" / "val.txt")
    assert made.VOCdevkit_path == str(voc_dir)


def test_all_folds_have_the_plan_of_the_first(train_config, monkeypatch):
    planned = State(1, {"plan": {"width": 16, "input_shape": [96, 128]}}, {})

    monkeypatch.setattr("training.folds.newest_run", lambda folder: (folder, planned))
    nothing = Samples([], [])
    folds = [Fold(Path("logs") / f"fold_{index}", nothing) for index in range(2)]
    config = train_config(folds=2, plan="auto")
    first, second = (folds_module._settings_of(fold, folds, config) for fold in folds)
    assert (first.plan, first.width) == ("auto", 8)
    assert (second.plan, second.width, second.input_shape) == ("off", 16, (96, 128))


# How a fold ends


class Slow:
    """A process that notes what it is told and ends at the `ends`-th wait."""

    def __init__(self, ends):
        self.ends, self.told = ends, []

    def wait(self, timeout=None):
        self.ends -= 1
        if self.ends > 0:
            raise subprocess.TimeoutExpired("train.py", timeout)
        return 130

    def poll(self):
        return 130 if self.ends <= 0 else None

    def send_signal(self, number):
        self.told.append(number)

    def terminate(self):
        self.told.append("terminate")

    def kill(self):
        self.told.append("kill")


@pytest.mark.parametrize(
    ("stop", "ends", "told"),
    [
        (KeyboardInterrupt(), 1, []),  # Ctrl-C has reached it too
        (KeyboardInterrupt(), 2, ["terminate"]),
        (Terminated(signal.SIGTERM), 1, [signal.SIGTERM]),
    ],
)
def test_a_fold_ends_with_the_process_that_waits_for_it(stop, ends, told):
    process = Slow(ends)
    folds_module._end(process, stop)
    assert process.told == told


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), Terminated(signal.SIGTERM)])
def test_a_fold_that_does_not_end_is_killed(stop):
    process = Slow(3 if not isinstance(stop, Terminated) else 2)
    with pytest.raises(subprocess.TimeoutExpired):
        folds_module._end(process, stop)
    assert process.told[-1] == "kill"


# In processes of their own


def run_folds(config, folder, until=None, number=signal.SIGTERM, group=False):
    """(status, output) of train.py --folds; ended by a signal as soon as `until()` is true."""
    log = folder / "log.txt"
    with open(log, "w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, PROJECT / "train.py", *to_arguments(config)],
            cwd=folder,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUTF8": "1"},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        deadline = time.monotonic() + 900
        try:
            while until and process.poll() is None and not until():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            if until:
                assert process.poll() is None, log.read_text(encoding="utf-8")
                (os.killpg if group else os.kill)(process.pid, number)
            status = process.wait(900)
        finally:
            with contextlib.suppress(ProcessLookupError):  # and whatever it has started
                os.killpg(process.pid, signal.SIGKILL)
    return status, log.read_text(encoding="utf-8")


@pytest.mark.system
@pytest.mark.usefixtures("usual_ctrl_c")
@unix
def test_three_folds_that_are_ended_twice(train_config, tmp_path, logs):
    """By SIGTERM, of which the fold hears from its parent, and by Ctrl-C, which reaches both."""
    config = train_config(folds=3, unfreeze_epoch=8, eval_period=4, save_period=0)

    def has_begun(fold):
        return lambda: list((logs / fold).glob("loss_*/state_ep*.h5"))

    status, said = run_folds(config, tmp_path, has_begun("fold_0"))
    assert status == 128 + signal.SIGTERM
    assert said.count("stopped by SIGTERM.") == 2  # the fold, then its parent
    status, said = run_folds(config, tmp_path, has_begun("fold_1"), signal.SIGINT, group=True)
    assert status == 130
    assert "Resuming" in said
    assert "Traceback" not in said
    assert not (logs / "folds.json").exists()
    status, said = run_folds(config, tmp_path)
    assert status == 0, said
    assert "fold_0: 4 images train, 2 validate; finished already." in said
    assert said.count("Resuming ") == 1
    assert len(list(logs.glob("fold_*/loss_*"))) == 3
    for index in range(3):
        _, state = newest_run(logs / f"fold_{index}")
        assert state.facts["finished"]
        rows = state.facts["callbacks"]["log"]["rows"]
        assert [row["epoch"] for row in rows] == list(range(1, 9))
    found = json.loads((logs / "folds.json").read_text(encoding="utf-8"))
    assert len(found["miou"]["folds"]) == 3
    assert "deviation" in said


@pytest.mark.system
@unix
def test_a_mistake_in_a_fold_is_one_message(train_config, tmp_path, voc_dir):
    """A broken image is found by the fold that comes to it."""
    (voc_dir / "VOC2007" / "JPEGImages" / "val_a.jpg").write_bytes(b"no image")
    status, said = run_folds(train_config(folds=2), tmp_path)
    assert status == 2
    assert said.count("error: ") == 1
    assert "val_a.jpg can't be read" in said
    assert "fold_0 broke off, see above." in said
