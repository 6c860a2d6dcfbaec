"""Which encoder a plan takes: the usual one while the time allows it, else one whose weights are
here."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from keras_encoders import write_random_weights
from made_sets import CELLS, FAST, SLOW, STREET
from stand_ins import KERAS_FILES

import train
from nets.backbones import BACKBONES
from nets.weights.storage import open_weights
from training.plan import Machine, make_plan
from training.plan_start import Lighter
from training.planning import find_lighter
from utils.runs.state import read_state

HERE = ["resnet50", "efficientnetb0", "mobilenetv2", "mobilenetv3large"]  # most work first
# Of VGG16 at width 64, 60 minutes allow each image of STREET 0.51 passes at its full size and 1.4
# at 60% of it; 12 are wanted. So a lighter encoder must need less than 1 / 8.5 of the time.
HOUR = {"time_limit": 60.0}
FULL_SECONDS = SLOW.pixel_seconds(64)


class Stopwatch:
    """Times encoders, as shares of VGG16's time; notes which."""

    def __init__(self, **shares):
        self.shares, self.timed = shares, []

    def __call__(self, backbone):
        self.timed.append(backbone)
        return Machine(FULL_SECONDS * self.shares[backbone], 0.01, 64, memory=24 * 10**9)


def plan(stopwatch, fingerprint=STREET, machine=SLOW, has_imagenet=True, names=HERE, **settings):
    return make_plan(
        fingerprint, machine, HOUR | settings, has_imagenet=has_imagenet,
        lighter=Lighter(names, stopwatch),
    )  # fmt: skip


def test_vgg_stays_while_the_time_allows_its_passes():
    stopwatch = Stopwatch()
    for changes in ({"machine": FAST}, {"time_limit": 6000.0}, {"time_limit": 540.0}):
        chosen = plan(stopwatch, **changes).values
        assert "backbone" not in chosen
        assert (chosen["model_path"], chosen["width"]) == ("imagenet", 64)
    assert stopwatch.timed == []


def test_the_encoder_with_most_work_that_the_time_allows():
    stopwatch = Stopwatch(efficientnetb0=0.2, mobilenetv2=0.11, mobilenetv3large=0.01)
    made = plan(stopwatch)
    # ResNet50 has 345 / 860 of VGG16's work: that can't be enough, and is not tried.
    assert stopwatch.timed == ["efficientnetb0", "mobilenetv2"]
    chosen = made.values
    assert (chosen["backbone"], chosen["model_path"], chosen["width"]) == (
        "mobilenetv2", "imagenet", 64,
    )  # fmt: skip
    assert all(side % 32 == 0 for side in chosen["val_input_shape"])
    reason = {choice.name: choice.reason for choice in made.choices}["backbone"]
    assert reason == (
        "lighter: at 60% of the images' size there is time for 13 passes over the set, with vgg "
        "for 1.4; 12 are wanted"
    )


def test_what_follows_is_planned_with_its_speed():
    slow, quick = (plan(Stopwatch(efficientnetb0=share)).values for share in (0.1, 0.01))
    assert quick["val_input_shape"] > slow["val_input_shape"]
    steps = [one["unfreeze_batch_size"] * np.prod(one["input_shape"]) for one in (slow, quick)]
    assert steps[0] < steps[1]


def test_two_are_timed_at_most():
    stopwatch = Stopwatch(efficientnetb0=0.5, mobilenetv2=0.5)
    chosen = plan(stopwatch).values
    assert stopwatch.timed == ["efficientnetb0", "mobilenetv2"]
    assert "backbone" not in chosen and (chosen["model_path"], chosen["width"]) == ("", 16)


@pytest.mark.parametrize(
    "settings", [{"backbone": "vgg"}, {"width": 64}, {"width": 32}, {"model_path": "a.weights.h5"}]
)
def test_a_network_that_is_set_stays(settings):
    stopwatch = Stopwatch()
    chosen = plan(stopwatch, **settings).values
    assert "backbone" not in chosen and stopwatch.timed == []
    assert settings.items() <= (chosen | {"backbone": "vgg"}).items()


def test_without_weights_for_vgg():
    """From scratch it needs 40 passes; where the time allows these, it stays."""
    stopwatch = Stopwatch(efficientnetb0=0.1)
    assert plan(stopwatch, has_imagenet=False).values["backbone"] == "efficientnetb0"
    stopwatch.timed.clear()
    chosen = plan(stopwatch, machine=FAST, has_imagenet=False).values
    assert (chosen["model_path"], chosen["width"]) == ("", 64)
    assert "backbone" not in chosen and stopwatch.timed == []


@pytest.mark.parametrize("names", [(), ("resnet50",)])
def test_without_light_encoders_all_is_as_ever(names):
    for fingerprint in (CELLS, STREET):
        for has_imagenet in (True, False):
            made = plan(Stopwatch(), fingerprint, SLOW, has_imagenet, names, time_limit=5.0)
            usual = make_plan(fingerprint, SLOW, {"time_limit": 5.0}, has_imagenet=has_imagenet)
            assert str(made) == str(usual)


# Which are here, and a run that takes one


def test_encoders_with_less_work_and_weights_on_this_machine(no_weights):
    assert find_lighter("vgg") == []
    for folder in ("model_data", "keras/models"):
        (no_weights / folder).mkdir(parents=True)
    for name, folder in (
        ("mobilenetv2", "model_data"), ("resnet50", "keras/models"), ("vgg19", "model_data"),
        ("efficientnetb0", "model_data"), ("vgg", "model_data"),
    ):  # fmt: skip
        (no_weights / folder / KERAS_FILES[name]).touch()
    assert find_lighter("vgg") == ["resnet50", "efficientnetb0", "mobilenetv2"]
    assert find_lighter("efficientnetb0") == ["mobilenetv2"]
    assert find_lighter("vgg19") == ["vgg", *find_lighter("vgg")]


@pytest.mark.usefixtures("quick")
def test_a_run_takes_the_encoder_and_resumes_with_it(
    train_config, no_weights, rng, monkeypatch, capsys
):
    record = BACKBONES["mobilenet"]
    (no_weights / "model_data").mkdir()
    write_random_weights(record, no_weights / "model_data" / record.keras.name, rng)

    def measure(network, policy, width=32):
        seconds = {"vgg": 1.0, "mobilenet": 1e-6}[network.backbone]
        return Machine(seconds, 0.01, width)

    monkeypatch.setattr("training.planning.measure_machine", measure)
    settings = train_config(
        plan="auto", model_path="auto", width=64, eval_flag=False, save_period=0,
        freeze_train=False, unfreeze_epoch=1, crops_per_image=1, init_lr=1e-4,
        input_shape=(512, 512),
    )  # fmt: skip
    train.main(settings)
    out = capsys.readouterr().out
    assert re.search(r"^  backbone +'mobilenet' +lighter: at ", out, re.MULTILINE)
    assert "STARTS FROM SCRATCH" not in out  # which VGG16 would, without its weights
    (folder,) = Path(settings.save_dir).glob("loss_*")
    stored = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    assert (stored["backbone"], stored["model_path"]) == ("mobilenet", "imagenet")
    weights = Path(settings.save_dir) / "last_epoch_weights.weights.h5"
    assert open_weights(weights).description.backbone == "mobilenet"

    monkeypatch.setattr("training.planning.measure_machine", None)  # nothing is measured again
    train.main(dataclasses.replace(settings, unfreeze_epoch=2))
    assert f"Resuming {folder} after epoch 1" in capsys.readouterr().out
    assert read_state(folder).epoch == 2
