"""The phases of a training: which epochs, with what frozen."""

import pytest


@pytest.fixture
def config(train_config):
    return train_config


def test_phases_of_fine_tuning_and_of_training_from_scratch(config):
    fine_tuning = config(freeze_epoch=3, unfreeze_epoch=5, freeze_batch_size=4).parts.phases.plan(
        "x"
    )
    assert [(p.first_epoch, p.last_epoch, p.batch_size, p.train_encoder) for p in fine_tuning] == [
        (0, 3, 4, False),
        (3, 5, 2, True),
    ]
    later = config(init_epoch=4, freeze_epoch=3, unfreeze_epoch=5).parts.phases.plan("x")
    assert [(p.first_epoch, p.last_epoch, p.train_encoder) for p in later] == [(4, 5, True)]
    scratch = config(freeze_epoch=3, unfreeze_epoch=5).parts.phases.plan("")
    assert [(p.first_epoch, p.last_epoch, p.train_encoder) for p in scratch] == [(0, 5, True)]


def test_phases_end_with_the_last_epoch(config):
    (phase,) = config(freeze_epoch=9, unfreeze_epoch=5).parts.phases.plan("x")
    assert (phase.first_epoch, phase.last_epoch, phase.train_encoder) == (0, 5, False)
