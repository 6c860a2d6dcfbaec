"""summary.py: the table, the totals, what is measured, and a weights file's word."""

import re

import keras
import pytest

import summary
from errors import RunError, UserError
from nets.backbones import BACKBONES
from nets.cost import multiply_adds
from nets.unet import build
from nets.weights.description import Description
from nets.weights.storage import open_weights, save_weights
from summary import SummaryConfig, describe, format_layers, main
from training import costs
from training.costs import time_calls

TINY = {"width": 4, "num_classes": 3, "input_shape": (32, 64), "precision": "float32"}
DESCRIPTION = Description(3, "vgg", (48, 32), ("a", "b", "c"), 4, in_channels=2)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "tiny.weights.h5"
    save_weights(build(DESCRIPTION), path, DESCRIPTION)
    return str(path)


def rows(text, *names):
    return [line.split() for line in text.splitlines() if line.startswith(names)]


def test_layers_and_totals(capsys):
    main(SummaryConfig(**TINY, repeats=0))
    out = capsys.readouterr().out
    # 3 * 3 * 3 * 4 + 4 parameters; 32 * 64 pixels by 108 products.
    assert rows(out, "block1_conv1") == [
        ["block1_conv1", "Conv2D", "32", "x", "64", "x", "4", "112", "0.22", "M"]
    ]
    assert rows(out, "head_conv")[0][-3:] == ["15", "0.02", "M"]
    assert "pool" not in out
    encoder = sum(int(row[-3].replace(",", "")) for row in rows(out, "block"))
    others = sum(int(row[-3].replace(",", "")) for row in rows(out, "decoder", "head"))
    assert rows(out, "  of the encoder")[0][3] == f"{encoder:,}"
    assert rows(out, "  of the other")[0][4] == f"{others:,}"
    assert rows(out, "parameters")[0][1] == f"{encoder + others:,}"
    assert "unet_vgg, 32 x 64 x 3, 3 classes" in out
    assert "memory of training" in out
    assert "prediction" not in out
    assert max(map(len, out.splitlines())) <= 100


def test_layers_without_weights_if_asked_for():
    model = build(DESCRIPTION, (48, 32))
    text = format_layers(model, "vgg", all_layers=True)
    assert rows(text, "block1_pool") == [
        ["block1_pool", "MaxPooling2D", "24", "x", "16", "x", "4", "0", "0.00", "M"]
    ]
    assert len(format_layers(model, "vgg").splitlines()) == len(text.splitlines()) - (
        1 + 4 + 1  # the image, poolings, softmax
    )


def test_resnet_fits_a_terminal(capsys):
    tiny = TINY | {"input_shape": (64, 32), "width": 64}
    main(SummaryConfig(**tiny, backbone="resnet50", all_layers=True, repeats=0))
    out = capsys.readouterr().out
    assert rows(out, "  batch statistics")[0][2] == "53,120"
    assert max(map(len, out.splitlines())) <= 100


def test_everything_is_timed_and_only_what_is_trained_changes(monkeypatch, capsys):
    built, states = [], []

    def build_and_keep(*arguments):
        built.append(build(*arguments))
        return built[0]

    def pretend(call, repeats):
        assert repeats == 3
        call()
        states.append(built[0].get_weights())
        return 2.0 * len(states)

    monkeypatch.setattr("nets.unet.build", build_and_keep)
    monkeypatch.setattr(costs, "time_calls", pretend)
    monkeypatch.setattr(summary, "peak_memory", lambda: 1_234_000_000)
    main(SummaryConfig(**TINY, batch_size=2, repeats=3, time_training=True))
    out = capsys.readouterr().out
    assert re.search(r"memory of prediction +1\.23 GB", out)
    # 2, 4 and 6 s for two images
    assert re.search(r"prediction +1\.0000 s per image \(median of 3", out)
    assert re.search(r"training, encoder frozen +2\.0000 s", out)
    assert re.search(r"training, all layers +3\.0000 s", out)
    predicted, frozen, trained = states
    changed = [(a != b).any() for a, b in zip(predicted, frozen, strict=True)]
    # Kernels and biases of the encoder's 13 convolutions come first.
    assert not any(changed[:26]) and all(changed[26:])
    assert all((a != b).any() for a, b in zip(frozen, trained, strict=True))


def test_all_encoders_in_one_table(monkeypatch, capsys):
    names = ("vgg", "mobilenet", "vgg19")
    monkeypatch.setattr(summary, "BACKBONES", {name: BACKBONES[name] for name in names})
    monkeypatch.setattr("summary.estimate_training_memory", lambda *_: 1.5e9)
    tiny = TINY | {"input_shape": (64, 64)}
    main(SummaryConfig(**tiny, all=True))
    head, *lines = capsys.readouterr().out.splitlines()[-4:]
    assert "ms" not in head and head.split()[0] == "backbone"
    # The cheapest first: VGG19 is VGG16 with three more convolutions.
    assert [line.split()[0] for line in lines] == ["mobilenet", "vgg", "vgg19"]
    described = Description(3, "vgg", (64, 64), (), 4)
    model = build(described, (64, 64))
    products = sum(multiply_adds(layer, layer.output.shape) for layer in model.layers)
    values = ["4", f"{1e-6 * model.count_params():.1f}", f"{1e-9 * products:.2f}", "1.50"]
    assert lines[1].split()[1:] == values
    assert lines[0].split()[1] == "2"  # MobileNet's first convolution has 32 filters, here 2


def test_the_table_is_sorted_by_time_where_there_is_one(monkeypatch, capsys):
    names = ("vgg", "mobilenet")
    monkeypatch.setattr(summary, "BACKBONES", {name: BACKBONES[name] for name in names})
    seconds = iter([0.02, 0.03, 0.04, 0.05, 0.06, 0.07])
    monkeypatch.setattr(costs, "time_calls", lambda call, repeats: next(seconds))
    config = SummaryConfig(**TINY | {"input_shape": (32, 32)}, all=True, time_training=True)
    assert config.steps == 5
    main(config)
    head, *lines = capsys.readouterr().out.splitlines()[-3:]
    assert head.endswith("ms to predict  ms to train frozen  ms to train")
    assert [line.split()[0] for line in lines] == ["vgg", "mobilenet"]
    assert [line.split()[-3:] for line in lines] == [
        ["20.0", "30.0", "40.0"],
        ["50.0", "60.0", "70.0"],
    ]
    assert len({len(line) for line in (head, *lines)}) == 1


@pytest.mark.parametrize(("values", "steps"), [({}, 5), ({"all": True}, 0), ({"repeats": 2}, 2)])
def test_how_many_steps_are_timed(values, steps):
    assert SummaryConfig(**values).steps == steps


@pytest.mark.parametrize("values", [{"backbone": "vgg"}, {"model_path": "a.weights.h5"}])
def test_all_takes_no_single_network(values):
    with pytest.raises(UserError, match=r"^all compares every encoder, each with new weights"):
        SummaryConfig(all=True, **values)


def test_the_median_leaves_out_the_first_call(monkeypatch):
    clock = iter([0, 1, 10, 17, 20, 22])  # 1, 7 and 2 s
    calls = []
    monkeypatch.setattr(costs.time, "perf_counter", lambda: next(clock))
    assert time_calls(lambda: calls.append(1), 3) == 2
    assert len(calls) == 4


def test_a_weights_file_says_what_it_holds(weights, capsys):
    assert describe(SummaryConfig(model_path=weights))[0] == DESCRIPTION
    main(SummaryConfig(model_path=weights, precision="float32", input_shape=(32, 32), repeats=1))
    out = capsys.readouterr().out
    assert "unet_vgg, 32 x 32 x 2, 3 classes" in out
    assert "s per image (median of 1" in out


@pytest.mark.parametrize(
    ("name", "value", "held"),
    [
        ("num_classes", 4, 3),
        ("backbone", "resnet50", "vgg"),
        ("width", 8, 4),
        ("in_channels", 3, 2),
    ],
)
def test_a_contradiction_is_refused(weights, name, value, held):
    message = f"{name} is {value!r}, but {weights} holds {name} {held!r}. Leave {name} out"
    with pytest.raises(UserError, match=re.escape(message)):
        main(SummaryConfig(model_path=weights, **{name: value}))


def test_a_size_that_the_files_network_cannot_take(weights):
    config = SummaryConfig(model_path=weights, input_shape=(40, 0), precision="float32")
    with pytest.raises(UserError, match=r"at least 1 pixel high and wide; got \(40, 0\)"):
        main(config)


def test_a_size_that_is_padded_within(weights, capsys):
    main(SummaryConfig(model_path=weights, input_shape=(40, 32), precision="float32", repeats=0))
    out = capsys.readouterr().out
    assert "unet_vgg, 40 x 32 x 2, 3 classes" in out
    assert rows(out, "block1_conv1")[0][2] == "48"


def test_a_file_that_says_nothing_tells_by_its_shapes(tmp_path, capsys):
    path = str(tmp_path / "plain.weights.h5")
    build(DESCRIPTION).save_weights(path)
    main(SummaryConfig(model_path=path, input_shape=(32, 32), precision="float32", repeats=0))
    assert "unet_vgg, 32 x 32 x 2, 3 classes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_classes": 1}, "num_classes must be 2 to 255"),
        ({"backbone": "vgg18"}, "backbone must be one of"),
        ({"in_channels": 0}, "in_channels must be at least 1; got 0."),
        ({"width": 0}, "width must be at least 1; got 0."),
        ({"batch_size": 0}, "batch_size must be at least 1; got 0."),
        ({"repeats": -1}, "repeats must be at least 0; got -1."),
        ({"repeats": 0, "time_training": True}, "repeats must be at least 1; got 0."),
        ({"input_shape": (500, 0)}, "input_shape must be at least 1 pixel"),
        ({"precision": "float64"}, "precision must be one of"),
        ({"name_classes": ("a", "b")}, "write_names, name_classes and model_path belong together"),
        ({"write_names": True, "model_path": "x"}, "Give all three."),
        ({"write_names": True, "name_classes": ("a", "b")}, "Give all three."),
    ],
)
def test_settings_that_make_no_sense(values, message):
    with pytest.raises(UserError, match=re.escape(message)):
        SummaryConfig(**values)


def test_names_are_written_and_no_more(weights, capsys):
    names = ("nothing", "cell", "core")
    main(SummaryConfig(model_path=weights, name_classes=names, write_names=True))
    out = capsys.readouterr().out
    assert "0 was 'a', is 'nothing'; 1 was 'b', is 'cell'; 2 was 'c', is 'core'." in out
    assert "multiply-adds" not in out
    assert open_weights(weights).description.name_classes == names


def test_memory_that_runs_out_is_one_message(monkeypatch, capsys):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(keras.Model, "predict_on_batch", fail)
    with pytest.raises(RunError, match=r"^Memory ran out\. Take a smaller batch_size"):
        main(SummaryConfig(**TINY))
    assert "multiply-adds per image" in capsys.readouterr().out


def test_other_errors_stay_what_they_are(monkeypatch):
    def fail(*_):
        raise ValueError("another")

    monkeypatch.setattr(keras.Model, "predict_on_batch", fail)
    with pytest.raises(ValueError, match="another"):
        main(SummaryConfig(**TINY))
