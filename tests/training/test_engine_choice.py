"""Which engine a run gets: when it is measured, noted, kept, or set."""

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from errors import UserError
from train import TrainConfig
from training import engine, engine_choice, engine_notes
from training.engine import ONEDNN, THREADS, Engine, parse_engine
from training.engine_choice import EngineChoice
from training.engine_trial import Outcome

LONG = TrainConfig(num_classes=3, precision="float32", time_limit=20.0)


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """machine(**answers): two cores with AVX2 alone, no GPU, TensorFlow not loaded; or else."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for name in (ONEDNN, THREADS, "KERAS_BACKEND"):
        monkeypatch.setenv(name, "")  # so that what is set meanwhile is taken back
        monkeypatch.delenv(name)

    def pretend(
        onednn=False, cores=2, processors=2, memory=10**11, loaded=False, gpus=(), units=(),
        system="Linux",
    ):  # fmt: skip
        for module in (engine, engine_choice):
            monkeypatch.setattr(module, "is_loaded", lambda: loaded)
        for module in (engine_choice, engine_notes):
            monkeypatch.setattr(module, "hardware_names", lambda: ["EPYC", *gpus])
            monkeypatch.setattr(module, "worker_count", lambda _: processors)
        for name, answer in (
            ("uses_onednn", onednn), ("count_cores", cores), ("bfloat16_units", list(units)),
            ("available_memory", memory),
        ):  # fmt: skip
            monkeypatch.setattr(engine_choice, name, lambda answer=answer: answer)
        monkeypatch.setattr(engine_choice, "platform", SimpleNamespace(system=lambda: system))

    pretend()
    return pretend


@pytest.fixture
def trials(monkeypatch):
    """trials(outcome, ...): what trials find, one after the other; gives the list of all calls."""
    calls = []

    def find(*outcomes):
        left = list(outcomes)

        def run_trial(job, usual, changes, budget):
            calls.append({"job": job, "usual": usual, "changes": changes, "budget": budget})
            return left.pop(0)

        monkeypatch.setattr(engine_choice, "run_trial", run_trial)
        return calls

    find()
    return find


def found(text, **seconds):
    return Outcome(parse_engine(text), {name.replace("__", ","): s for name, s in seconds.items()})


def choose(config=LONG, images=10, **options):
    """The choice of a run, through both of its steps."""
    choice = EngineChoice(config.engine, **options)
    choice.before_loading(config.parts, images, config.plan != "off")
    choice.after_planning(config.parts)
    return choice.engine


def test_a_long_run_is_measured_once_and_noted(trials, tmp_path, capsys):
    calls = trials(found("onednn,three_layers", fixed=2.0, onednn=1.8, onednn__three_layers=1.6))
    assert choose() == Engine(onednn=True, fused=False)
    (call,) = calls
    assert call["usual"] == Engine() and call["budget"] == 20.0
    assert call["changes"] == [{"onednn": True}, {"fused": False}]
    assert call["job"]["batch_size"] == 2
    assert call["job"]["network"]["input_shape"] == (512, 512)
    path = tmp_path / "keras" / "unet_training_engines.json"
    times = "fixed 2 s; onednn 1.8 s; onednn,three_layers 1.6 s"
    assert capsys.readouterr().out == (
        f"engine: onednn,three_layers (a training step: {times}; measured in 0 s, noted in "
        f"{path}).\n"
    )
    assert engine.engine_of_environment() == Engine(onednn=True)
    assert len(calls) == 1


def again(monkeypatch):
    """Another start of the program: its environment is as before the first."""
    monkeypatch.delenv(ONEDNN, raising=False)
    monkeypatch.delenv(THREADS, raising=False)


def test_the_next_run_takes_what_is_noted(trials, monkeypatch, tmp_path, capsys):
    calls = trials(found("onednn", fixed=2.0, onednn=1.8))
    choose()
    again(monkeypatch)
    capsys.readouterr()
    assert choose() == Engine(onednn=True)
    assert len(calls) == 1
    path = tmp_path / "keras" / "unet_training_engines.json"
    assert capsys.readouterr().out == (
        f"engine: onednn (a training step: fixed 2 s; onednn 1.8 s; noted in {path}).\n"
    )
    assert engine.engine_of_environment() == Engine(onednn=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 32}, {"input_shape": (256, 512)}, {"unfreeze_batch_size": 4}, {"num_classes": 4},
        {"backbone": "resnet50"}, {"in_channels": 1}, {"decoder_norm": "group"},
        {"decoder_width": 16}, {"recompute": True}, {"precision": "mixed_bfloat16"},
    ],
    ids=lambda changes: next(iter(changes)),
)  # fmt: skip
def test_another_network_is_measured_anew(trials, monkeypatch, changes):
    calls = trials(found("onednn", fixed=2.0, onednn=1.8), found("fixed", fixed=2.0, onednn=2.2))
    choose()
    again(monkeypatch)
    assert choose(replace(LONG, **changes)) == Engine()
    again(monkeypatch)
    assert choose() == Engine(onednn=True)  # the first note is still there
    assert len(calls) == 2


def test_another_machine_or_version_is_measured_anew(trials, machine, monkeypatch):
    calls = trials(*[found("fixed", fixed=2.0)] * 3)
    choose()
    machine(processors=4, cores=4)
    choose()
    monkeypatch.setattr(engine_notes, "_version", lambda package: "99")
    choose()
    assert len(calls) == 3


@pytest.mark.parametrize(
    "note",
    [
        "[", "[]", '{"KEY": 3}', '{"KEY": {"engine": "mkl", "seconds": {}, "failed": false}}',
        '{"KEY": {"engine": "onednn", "seconds": {"fixed": "much"}, "failed": false}}',
        '{"KEY": {"engine": "onednn", "seconds": 3, "failed": false}}', '{"KEY": {"seconds": {}}}',
        '{"KEY": {"engine": 5, "seconds": {}, "failed": false}}', "\udc80" * 3, "[" * 100_000,
    ],
)  # fmt: skip
def test_notes_that_are_none_are_written_anew(trials, tmp_path, note):
    calls = trials(found("fixed", fixed=2.0, onednn=2.1), found("fixed", fixed=1.0, onednn=1.1))
    choose()
    path = tmp_path / "keras" / "unet_training_engines.json"
    (key,) = json.loads(path.read_text(encoding="utf-8"))
    path.write_bytes(note.replace("KEY", key).encode("utf-8", errors="surrogateescape"))
    assert choose() == Engine()
    assert len(calls) == 2
    (kept,) = json.loads(path.read_text(encoding="utf-8")).values()
    assert kept == {"engine": "fixed", "seconds": {"fixed": 1.0, "onednn": 1.1}, "failed": False}


def test_notes_that_can_not_be_written_do_not_matter(trials, tmp_path, capsys):
    (tmp_path / "keras").write_text("a file where the folder should be")
    calls = trials(found("onednn", fixed=2.0, onednn=1.0))
    assert choose() == Engine(onednn=True)
    assert len(calls) == 1 and "engine: onednn" in capsys.readouterr().out


def test_a_machine_that_is_too_slow_says_so_once_and_keeps_what_is_usual(trials, capsys):
    calls = trials(Outcome(Engine()))
    for how in ("measured in 0 s, noted in", "noted in"):
        assert choose() == Engine()
        line = f"engine: fixed, since a trial would take more than 20 s ({how} "
        assert capsys.readouterr().out.startswith(line)
    assert len(calls) == 1


def test_a_trial_that_fails_says_so(trials, capsys):
    trials(Outcome(Engine(), {}, failed=True))
    assert choose() == Engine()
    assert capsys.readouterr().out.startswith("engine: fixed, since its trial failed (measured in")


# What is tried


def test_onednn_is_tried_where_tensorflow_does_not_use_it(trials, machine):
    calls = trials(*[found("fixed", fixed=1.0)] * 2)
    for answers, changes in (
        ({"onednn": True}, []),
        ({"onednn": None}, []),
        ({"onednn": False, "system": "Darwin"}, []),
        ({"onednn": True, "cores": 4, "processors": 8}, [{"threads": 4}]),
    ):
        machine(**answers)
        choose()
        assert calls[-1]["changes"] == [*changes, {"fused": False}]
    assert len(calls) == 2  # the first three are one to the notes: the same is tried


def test_memory_for_two_processes_is_needed(trials, machine):
    # 0.8 GB and 120 bytes x 64 filters x 2 images x 512 x 512 pixels = 4.8 GB, twice.
    calls = trials(found("fixed", fixed=1.0))
    machine(memory=9 * 10**9)
    assert choose() == Engine() and not calls
    machine(memory=10 * 10**9)
    choose()
    assert len(calls) == 1
    machine(memory=None, processors=3)
    trials(found("fixed", fixed=1.0))
    choose()
    assert len(calls) == 2


# Where nothing is measured


@pytest.mark.parametrize(
    "answers", [{"loaded": True}, {"gpus": ("H200",)}], ids=["loaded", "a GPU"]
)
def test_nothing_is_measured_where_nothing_can_be_chosen(trials, machine, answers, capsys):
    machine(**answers)
    assert choose() == Engine()
    assert trials() == [] and capsys.readouterr().out == ""


def test_several_devices_are_not_measured(trials):
    assert choose(single=False) == Engine()
    assert trials() == []


@pytest.mark.parametrize("by_file", [False, True])
def test_other_backends_are_not_measured(trials, monkeypatch, tmp_path, by_file):
    if by_file:
        (tmp_path / "keras").mkdir()
        (tmp_path / "keras" / "keras.json").write_text('{"backend": "jax"}')
    else:
        monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert choose() == Engine()
    assert trials() == []


@pytest.mark.parametrize("text", ["[", "[]", "{}"])
def test_without_a_word_on_it_the_backend_is_tensorflow(trials, tmp_path, text):
    (tmp_path / "keras").mkdir()
    (tmp_path / "keras" / "keras.json").write_text(text)
    calls = trials(found("fixed", fixed=1.0))
    choose()
    assert len(calls) == 1


@pytest.mark.parametrize(("name", "value"), [(ONEDNN, "1"), (ONEDNN, "0"), (THREADS, "3")])
def test_what_the_user_has_set_is_taken_and_noted_with_the_run(trials, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert choose().environment == {name: value}
    assert trials() == []


def test_an_engine_that_is_set_is_taken_without_a_trial(trials, capsys):
    assert choose(replace(LONG, engine="onednn,threads_2,three_layers")) == Engine(True, 2, False)
    assert engine.engine_of_environment() == Engine(True, 2)
    assert choose(replace(LONG, engine="fixed")).fused
    assert trials() == [] and capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("changes", "images", "expected"),
    [
        ({"time_limit": 14.0}, 10, False),
        ({"time_limit": 15.0}, 10, True),
        ({"time_limit": 14.0, "plan": "auto"}, 10, False),
        ({"time_limit": 0.0, "plan": "auto"}, 10, True),  # it plans for hours
        # 100 epochs x 512 x 512 pixels x 25e-6 s / 2 cores = 328 s for each image.
        ({"time_limit": 0.0}, 2, False),
        ({"time_limit": 0.0}, 3, True),
        ({"time_limit": 0.0, "crops_per_image": 2}, 2, True),
        ({"time_limit": 0.0, "init_epoch": 90}, 20, False),
        # A quarter of the width: 0.25^1.75 = 0.088 of the time.
        ({"time_limit": 0.0, "width": 16}, 30, False),
        ({"time_limit": 0.0, "width": 16}, 32, True),
        ({"time_limit": 0.0, "backbone": "mobilenetv2"}, 27, False),
        ({"time_limit": 0.0, "backbone": "mobilenetv2"}, 28, True),
    ],
)
def test_only_long_runs_are_measured(trials, changes, images, expected):
    calls = trials(*[found("fixed", fixed=1.0, onednn=1.1)] * 2)
    choose(replace(LONG, **changes), images)
    assert bool(calls) == expected


def test_units_for_bfloat16_make_runs_shorter(trials, machine):
    # A fifth of the time: 66 s for each image.
    machine(units=["avx512_bf16"])
    calls = trials(found("fixed", fixed=1.0))
    automatic = replace(LONG, time_limit=0.0, precision="auto")
    choose(automatic, 13)
    assert not calls
    choose(automatic, 14)
    assert len(calls) == 1


# With a plan


PLANNED = replace(LONG, plan="auto")


def test_a_plan_is_measured_at_its_own_timing_and_the_decoder_after_it(trials, monkeypatch):
    calls = trials(found("onednn", fixed=2.0, onednn=1.8), found("onednn,three_layers", onednn=0.5))
    choice = EngineChoice("auto")
    choice.before_loading(PLANNED.parts, 10, planned=True)
    assert choice.engine == Engine(onednn=True)
    network = calls[0]["job"]["network"]
    assert (network["width"], network["input_shape"]) == (32, (128, 128))
    assert calls[0]["changes"] == [{"onednn": True}]
    monkeypatch.setattr(engine_choice, "is_loaded", lambda: True)
    planned = replace(PLANNED, width=16, input_shape=(96, 160), unfreeze_batch_size=4)
    choice.after_planning(planned.parts)
    assert choice.engine == Engine(onednn=True, fused=False)
    assert calls[1]["job"]["network"]["input_shape"] == (96, 160)
    assert (calls[1]["usual"], calls[1]["changes"]) == (Engine(onednn=True), [{"fused": False}])
    assert calls[1]["job"]["batch_size"] == 4


def set_clock(monkeypatch, *times):
    """What the clock shows each time that it is looked at."""
    left = list(times)
    monkeypatch.setattr(engine_choice, "time", SimpleNamespace(monotonic=lambda: left.pop(0)))


def test_both_trials_of_a_plan_share_the_time(trials, monkeypatch):
    set_clock(monkeypatch, 0.0, 9.0, 9.0, 15.0)
    calls = trials(found("fixed", fixed=2.0, onednn=2.2), found("fixed", fixed=0.5))
    choose(PLANNED)
    assert [call["budget"] for call in calls] == [20.0, 11.0]


def test_the_second_trial_is_left_to_the_next_run_if_time_is_short(trials, monkeypatch):
    set_clock(monkeypatch, 0.0, 13.0, 13.0, 18.0)
    calls = trials(found("fixed", fixed=2.0, onednn=2.2), Outcome(Engine()))
    choose(PLANNED)
    assert len(calls) == 1
    choose(PLANNED)  # the first one is noted
    assert [call["budget"] for call in calls] == [20.0, 20.0]


def test_too_little_time_for_the_second_trial_is_not_noted(trials, monkeypatch, tmp_path):
    set_clock(monkeypatch, 0.0, 9.0, 9.0)
    trials(found("fixed", fixed=2.0, onednn=2.2), Outcome(Engine()))
    choose(PLANNED)
    path = tmp_path / "keras" / "unet_training_engines.json"
    assert len(json.loads(path.read_text(encoding="utf-8"))) == 1


def test_where_a_plan_has_nothing_to_try_first_the_decoder_has_all_the_time(trials, machine):
    machine(onednn=True)
    calls = trials(found("three_layers", fixed=2.0, three_layers=1.5))
    assert choose(PLANNED) == Engine(fused=False)
    assert [call["budget"] for call in calls] == [20.0]


# Runs that resume


@pytest.mark.parametrize("setting", ["auto", "fixed", "three_layers"])
def test_a_run_that_resumes_keeps_its_engine(trials, setting, capsys, monkeypatch):
    config = replace(LONG, engine=setting)
    assert choose(config, stored="onednn,three_layers") == Engine(onednn=True, fused=False)
    assert engine.engine_of_environment() == Engine(onednn=True)
    assert trials() == []
    assert capsys.readouterr().out == "engine: onednn,three_layers, as in the run.\n"
    again(monkeypatch)
    assert choose(config, stored="fixed") == Engine()
    assert trials() == [] and capsys.readouterr().out == ""


@pytest.mark.parametrize(("stored", "value"), [("onednn", "0"), ("fixed", "1")])
def test_another_environment_is_told_of(trials, monkeypatch, capsys, stored, value):
    monkeypatch.setenv(ONEDNN, value)
    choose(stored=stored)
    said = capsys.readouterr().err
    now = "onednn" if value == "1" else "no_onednn"
    assert said == (
        f"note: this run began with the engine {stored}, and TF_ENABLE_ONEDNN_OPTS or "
        f"TF_NUM_INTRAOP_THREADS say {now} here: it resumes, but its weights will differ in their "
        "last digits.\n"
    )


@pytest.mark.parametrize("stored", ["mkl", 3, {}])
def test_a_state_with_another_engine_is_refused(stored):
    message = (
        f"The run can't resume: its state names the engine {stored!r}, and there is none of that "
        "name. Start anew with --resume never, from its last_epoch_weights.weights.h5 with "
        "--model_path; its files stay."
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        EngineChoice("auto", stored)


# Settings that can't be


def test_an_engine_of_tensorflow_is_refused_on_another_backend(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(UserError) as caught:
        EngineChoice("onednn")
    assert str(caught.value) == (
        "engine is onednn, which is of TensorFlow, but Keras runs on jax. Set "
        "KERAS_BACKEND=tensorflow, or engine to auto."
    )
    assert EngineChoice("three_layers").engine == Engine(fused=False)


@pytest.mark.parametrize("loaded", [False, True])
def test_an_engine_against_the_environment_is_refused(machine, monkeypatch, loaded):
    machine(loaded=loaded)
    if not loaded:
        monkeypatch.setenv(ONEDNN, "0")
    with pytest.raises(UserError) as caught:
        EngineChoice("onednn,three_layers")
    assert str(caught.value) == (
        "engine is onednn,three_layers, but the environment says something else, or TensorFlow is "
        "loaded already. Set TF_ENABLE_ONEDNN_OPTS=1 before Python starts, or leave engine at auto."
    )


def test_the_home_folder_serves_without_keras_home(monkeypatch, tmp_path):
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert engine_notes.notes_path() == Path(tmp_path, ".keras", "unet_training_engines.json")
