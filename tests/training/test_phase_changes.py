"""From the frozen phase to the next: what is measured, when it begins, and after a break."""

import csv
from pathlib import Path

import pytest

import train
from errors import UserError
from utils.runs.callbacks import EpochOfDataset
from utils.runs.state import find_states, read_state

# Steps of 1e-30 change no float32 weight: the validation loss stays.
STILL = {"optimizer_type": "sgd", "init_lr": 1e-30, "momentum": 0.0, "eval_flag": False}


@pytest.fixture
def config(train_config, start_weights, quick):
    """config(**changes): a tiny training whose encoder is frozen first."""
    start = start_weights()
    return lambda **changes: train_config(**({"model_path": start} | STILL | changes))


def rows_of(settings):
    (path,) = Path(settings.save_dir).glob("loss_*/history.csv")
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def folders_of(settings):
    return sorted(Path(settings.save_dir).glob("loss_*"))


def facts_of(settings):
    (folder,) = folders_of(settings)
    return read_state(folder).facts


def interrupt_before(monkeypatch, epoch):
    """Ctrl-C when an epoch, from 0, begins; `monkeypatch.undo` ends that."""
    begin = EpochOfDataset.on_epoch_begin

    def on_epoch_begin(self, now, logs=None):
        if now == epoch:
            raise KeyboardInterrupt
        begin(self, now, logs)

    monkeypatch.setattr(EpochOfDataset, "on_epoch_begin", on_epoch_begin)


def test_the_validation_loss_of_the_same_network_is_the_same_in_both_phases(config):
    settings = config(freeze_batch_size=2, unfreeze_batch_size=1, freeze_epoch=1, unfreeze_epoch=2)
    train.main(settings)
    frozen, thawed = (float(row["val_loss"]) for row in rows_of(settings))
    assert frozen == pytest.approx(thawed, rel=1e-5)


def test_a_plateau_of_the_frozen_phase_thaws_the_encoder(config, capsys):
    settings = config(early_stopping_patience=1, freeze_epoch=6, unfreeze_epoch=9)
    train.main(settings)
    # The first epoch is the best; each phase then waits for one.
    assert [row["epoch"] for row in rows_of(settings)] == ["1", "2", "3"]
    out = capsys.readouterr().out
    assert "(early_stopping_patience is 1). The encoder is thawed now." in out
    assert "Epochs 3 to 9: all layers, batch size 2." in out
    assert "Stopped early. In 1 epochs the validation loss did not fall" in out
    assert facts_of(settings)["finished"] is True


def test_a_break_at_the_plateau_does_not_keep_the_encoder_frozen(config, monkeypatch, capsys):
    settings = config(early_stopping_patience=1, freeze_epoch=6, unfreeze_epoch=9)
    with monkeypatch.context() as patch:
        interrupt_before(patch, 2)  # thawed, but no state says so yet
        with pytest.raises(KeyboardInterrupt):
            train.main(settings)
    capsys.readouterr()
    train.main(settings)
    assert "Epochs 3 to 9: all layers" in capsys.readouterr().out
    assert [row["epoch"] for row in rows_of(settings)] == ["1", "2", "3"]


def test_what_is_thawed_early_goes_on_thawed_after_a_break(config, monkeypatch, capsys):
    # The first epoch is the best; after 2 and 3 the encoder is thawed, 4 and 5 end the run.
    settings = config(early_stopping_patience=2, freeze_epoch=7, unfreeze_epoch=9)
    with monkeypatch.context() as patch:
        interrupt_before(patch, 4)
        with pytest.raises(KeyboardInterrupt):
            train.main(settings)
    assert "Epochs 4 to 9: all layers" in capsys.readouterr().out
    train.main(settings)
    assert "Epochs 5 to 9: all layers" in capsys.readouterr().out
    assert [row["epoch"] for row in rows_of(settings)] == ["1", "2", "3", "4", "5"]


def test_a_plateau_with_nothing_after_the_frozen_phase_ends_the_run(config, capsys):
    settings = config(early_stopping_patience=1, freeze_epoch=9, unfreeze_epoch=9)
    train.main(settings)
    assert len(rows_of(settings)) == 2
    assert "thawed now" not in capsys.readouterr().out
    assert facts_of(settings)["finished"] is True


@pytest.mark.parametrize("patience", [3, 0])
def test_more_patience_alone_continues_a_run_that_was_stopped(config, patience, capsys):
    settings = {"early_stopping_patience": 1, "unfreeze_epoch": 5, "freeze_train": False}
    train.main(config(**settings))
    train.main(config(**settings | {"early_stopping_patience": patience}))
    # The first is the best; with a patience of 3 epochs 2 to 4 are waited for.
    expected = 4 if patience else 5
    assert len(rows_of(config(**settings))) == expected
    assert "after epoch 2." in capsys.readouterr().out


def test_more_epochs_for_a_run_that_was_stopped_need_more_patience(config):
    settings = {"early_stopping_patience": 1, "unfreeze_epoch": 5, "freeze_train": False}
    train.main(config(**settings))
    with pytest.raises(
        UserError,
        match=r"A longer unfreeze_epoch alone does not continue .* early stopping ended it after "
        r"epoch 2, .* set early_stopping_patience above 1, or to 0; for a new run, resume=never",
    ):
        train.main(config(**settings | {"unfreeze_epoch": 9}))
    assert len(folders_of(config())) == 1
    train.main(config(**settings | {"unfreeze_epoch": 9, "early_stopping_patience": 2}))
    assert len(rows_of(config())) == 3


def test_once_thawed_a_longer_time_does_not_freeze_again(config, monkeypatch, capsys):
    monkeypatch.setattr("training.loop._AFTERWARDS", 0.1)
    settings = {"freeze_epoch": 1, "unfreeze_epoch": 2}  # half of the time each
    train.main(config(time_limit=0.1, **settings))
    assert capsys.readouterr().out.count(": all layers, batch size") == 1
    # Of ten times the time less than half is gone, so that by its share the encoder were frozen.
    monkeypatch.setattr("training.loop.fit", lambda *given, **options: given[3].start + 1)
    train.main(config(time_limit=1.0, **settings))
    out = capsys.readouterr().out
    assert "Resuming" in out
    assert "encoder frozen" not in out
    assert ": all layers, batch size" in out


def test_a_run_of_an_earlier_version_looks_for_the_lowest_loss_anew(config, monkeypatch, capsys):
    from utils.runs import callbacks

    settings = config(unfreeze_epoch=3, freeze_train=False)
    with monkeypatch.context() as patch:
        interrupt_before(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            train.main(settings)
    (folder,) = folders_of(settings)
    state = read_state(folder)
    former = state.facts | {"callbacks": state.facts["callbacks"] | {}}
    del former["loss_of"], former["callbacks"]["phases"]
    former["callbacks"]["checkpoints"]["lowest_loss"] = 0.001  # that a mean over batches gave
    for _, path in find_states(folder):
        path.unlink()
    callbacks.save_state(folder, state._replace(facts=former))
    train.main(settings)
    assert "losses were means over batches" in capsys.readouterr().out
    lowest = facts_of(settings)["callbacks"]["checkpoints"]["lowest_loss"]
    assert lowest == pytest.approx(float(rows_of(settings)[2]["val_loss"]), rel=1e-6)
