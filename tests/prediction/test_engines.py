"""Other programs that run the network: the same masks, and Keras where they don't serve."""

import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image

import get_miou
import predict
from errors import UserError
from nets.precision import dtype_policy
from nets.unet import build
from nets.weights.description import Description
from nets.weights.storage import save_weights
from unet import Unet
from utils.config import run_script
from utils.prediction import engines
from utils.prediction.engines import Runner, check_engine, notes_path

DESCRIPTION = Description(3, "vgg", (32, 48), ("nothing", "cell", "猫"), 4)
OTHERS = ("onnxruntime", "openvino")


def need(engine):
    for package in (engine, "onnx", "tf2onnx"):
        pytest.importorskip(package)


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    network = build(DESCRIPTION, (32, 48), encoder_initializer="he_normal")
    noise = np.random.default_rng(0).uniform(-1, 1, (1, 32, 48, 3)).astype(np.float32)
    head = network.get_layer("head_conv")
    logits = keras.Model(network.inputs, head.output).predict_on_batch(noise)
    kernel, bias = head.get_weights()
    # Each class is the largest somewhere.
    head.set_weights([kernel, bias - np.median(logits, axis=(0, 1, 2))])
    return network


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.weights.h5"
    save_weights(network, path, DESCRIPTION)
    return path


@pytest.fixture
def batch(rng):
    return rng.uniform(-1, 1, (2, 32, 48, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def installed(monkeypatch, tmp_path):
    """installed(*names): these engines and their converters alone are there. Notes are new."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))

    def pretend(*names):
        found = (*names, "onnx", "tf2onnx")
        monkeypatch.setattr(
            engines.importlib.util, "find_spec", lambda name: object() if name in found else None
        )

    return pretend


@pytest.fixture
def stand_in(installed, monkeypatch, network):
    """stand_in(onnxruntime=run, ...): these stand for the engines, the others are not there.

    A run is a callable of a batch, or an exception with which it fails to start. Returns a list
    that gets a name at each start.
    """

    def stand(**runs):
        installed(*runs)
        starts = []

        def starter(name):
            def start(path):
                starts.append(name)
                if isinstance(runs[name], Exception):
                    raise runs[name]
                return runs[name]

            return start

        monkeypatch.setattr(engines, "_STARTERS", {name: starter(name) for name in runs})
        monkeypatch.setattr(Runner, "_write", lambda self, folder: folder)
        monkeypatch.setattr(engines.importlib.metadata, "version", lambda name: "1")
        return starts

    return stand


@pytest.fixture
def clock(monkeypatch):
    """clock(keras=2.0, onnxruntime=1.0): seconds that an image takes, by the callable's name."""

    def set_seconds(**seconds):
        timed = []

        def time_it(run, image):
            name = getattr(run, "engine", "keras")
            timed.append(name)
            return seconds[name]

        monkeypatch.setattr(engines, "_time", time_it)
        return timed

    return set_seconds


def named(name, run):
    """A callable that says whose it is."""

    def call(batch):
        call.count += 1
        return run(batch)

    call.engine, call.count = name, 0
    return call


# Engines by name


@pytest.mark.parametrize("engine", OTHERS)
def test_an_engine_computes_what_keras_does(network, weights, batch, engine, capfd):
    need(engine)
    unet = Unet(weights, engine=engine)
    assert unet.engine == engine
    assert unet.precision_reason == f"precision: float32, as {engine} needs."
    for images in (batch, batch[:1], np.flip(batch, 2)):
        images = np.ascontiguousarray(images)
        got = unet._network(images)
        np.testing.assert_allclose(got, network.predict_on_batch(images), atol=1e-5)
    assert unet.engine == engine
    first = unet._network(batch[:1])
    kept = first.copy()
    unet._network(batch[1:])  # does not write over what the caller holds
    np.testing.assert_array_equal(first, kept)
    assert "note:" not in capfd.readouterr().err


@pytest.mark.parametrize("engine", OTHERS)
def test_the_masks_of_files_are_keras_s(weights, rng, tmp_path, engine):
    need(engine)
    paths = [tmp_path / f"{index}.png" for index in range(3)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(path)
    masks = []
    for name in ("keras", engine):
        unet = Unet(weights, precision="float32", engine=name, tta="h", input_shape=(40, 56))
        masks.append([one.value[1] for one in unet.predict_files(paths, batch_size=2)])
    assert np.mean(np.array(masks[0]) == np.array(masks[1])) > 0.999


def test_keras_is_called_once_by_another_engine_and_always_by_itself(network, batch, stand_in):
    run = named("openvino", network.predict_on_batch)
    stand_in(openvino=run)
    runner = Runner(network, DESCRIPTION, "openvino")
    for _ in range(3):
        np.testing.assert_array_equal(runner(batch), network.predict_on_batch(batch))
    assert (runner.name, run.count) == ("openvino", 3)
    assert Runner(network, DESCRIPTION, "keras")._run == network.predict_on_batch


def fail(batch):
    raise RuntimeError("out of luck\nand more")


def shifted(by):
    def run(network, batch):
        found = network.predict_on_batch(batch).copy()
        found[0, 1, 2, 0] += by
        return found

    return run


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (shifted(2e-3), "on the first image it computes something else than Keras."),
        (shifted(np.nan), "on the first image it computes something else than Keras."),
        (lambda network, batch: batch[..., :2], "on the first image it computes something else"),
        (lambda network, batch: fail(batch), "it failed (out of luck)."),
    ],
)
def test_keras_stays_if_the_first_images_differ(network, batch, stand_in, capsys, run, why):
    call = named("onnxruntime", lambda batch: run(network, batch))
    stand_in(onnxruntime=call)
    runner = Runner(network, DESCRIPTION, "onnxruntime")
    for _ in range(2):
        np.testing.assert_array_equal(runner(batch), network.predict_on_batch(batch))
    assert (runner.name, call.count) == ("keras", 1)
    assert f"note: Keras predicts instead of onnxruntime: {why}" in capsys.readouterr().err


def test_a_rounding_difference_is_none(network, batch, stand_in):
    stand_in(onnxruntime=lambda batch: shifted(9e-4)(network, batch))
    runner = Runner(network, DESCRIPTION, "onnxruntime")
    runner(batch)
    assert runner.name == "onnxruntime"


def test_an_engine_that_does_not_start(network, batch, stand_in, capsys):
    stand_in(openvino=RuntimeError())
    runner = Runner(network, DESCRIPTION, "openvino")
    assert runner.name == "keras"
    np.testing.assert_array_equal(runner(batch), network.predict_on_batch(batch))
    assert "it could not be started (RuntimeError)." in capsys.readouterr().err


def test_a_network_that_can_t_be_converted(network, batch, stand_in, monkeypatch, capsys):
    stand_in(openvino=fail)
    monkeypatch.setattr(Runner, "_write", lambda self, folder: fail(folder))
    runner = Runner(network, DESCRIPTION, "openvino")
    np.testing.assert_array_equal(runner(batch), network.predict_on_batch(batch))
    assert runner.name == "keras"
    assert "it could not be started (out of luck)." in capsys.readouterr().err


# Faults


def test_an_unknown_engine():
    with pytest.raises(UserError, match=r"engine must be one of auto, keras, .*; got 'tensorrt'"):
        check_engine("tensorrt")


def test_an_engine_that_is_not_installed(installed):
    installed("onnxruntime")
    check_engine("onnxruntime")
    with pytest.raises(UserError) as caught:
        check_engine("openvino")
    assert str(caught.value) == (
        "The engine openvino needs packages that are not installed (openvino). "
        "Install them: pip install -r requirements-openvino.txt"
    )


def test_an_engine_and_another_precision(installed, weights):
    installed("onnxruntime")
    message = "The engine onnxruntime computes in float32, but precision is mixed_bfloat16. Leave"
    with pytest.raises(UserError, match=message):
        Unet(weights, engine="onnxruntime", precision="mixed_bfloat16")
    with dtype_policy("mixed_bfloat16"):
        coarse = build(DESCRIPTION, (32, 48))
    with pytest.raises(UserError, match=message):
        Runner(coarse, DESCRIPTION, "onnxruntime")


def test_another_backend(installed, network, monkeypatch):
    installed("onnxruntime")
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(UserError, match="given the network by TensorFlow, but Keras runs on jax"):
        Runner(network, DESCRIPTION, "onnxruntime")


@pytest.mark.parametrize("script", [predict, get_miou])
def test_scripts_refuse_an_engine_before_anything_else(installed, monkeypatch, capsys, script):
    installed()
    monkeypatch.setattr("sys.argv", ["script", "--engine", "openvino"])
    with pytest.raises(SystemExit) as caught:
        run_script(script.main)
    assert caught.value.code == 2
    assert "The engine openvino needs packages" in capsys.readouterr().err


# By a measurement


def test_many_images_go_to_the_engine_that_is_measured_faster(
    network, stand_in, clock, batch, capsys
):
    runs = {name: named(name, network.predict_on_batch) for name in OTHERS}
    starts = stand_in(**runs)
    timed = clock(keras=3, onnxruntime=2, openvino=1.5)
    runner = Runner(network, DESCRIPTION)
    runner.consider(20)
    assert (runner.name, starts, timed) == ("openvino", list(OTHERS), ["keras", *OTHERS])
    assert "engine: openvino, 2.0 times as fast as Keras here (noted in" in capsys.readouterr().err
    np.testing.assert_array_equal(runner(batch), network.predict_on_batch(batch))
    # The next time, the note alone is asked.
    again = Runner(network, DESCRIPTION)
    again.consider(20)
    assert (again.name, starts[2:], timed[3:]) == ("openvino", ["openvino"], [])


@pytest.mark.parametrize(
    ("count", "seconds"),
    [
        (19, {"keras": 100, "onnxruntime": 1}),  # few images
        (20, {"keras": 1.4, "onnxruntime": 0.1}),  # soon done
        (100, {"keras": 1, "onnxruntime": 0.95}),  # hardly faster
        (100, {"keras": 1, "onnxruntime": 2}),
    ],
)
def test_keras_stays_where_little_is_to_gain(network, stand_in, clock, count, seconds):
    stand_in(onnxruntime=named("onnxruntime", network.predict_on_batch))
    clock(**seconds)
    runner = Runner(network, DESCRIPTION)
    runner.consider(count)
    assert runner.name == "keras"


def test_an_engine_that_starts_longer_than_it_saves(network, stand_in, clock):
    starts = stand_in(onnxruntime=named("onnxruntime", network.predict_on_batch))
    clock(keras=2, onnxruntime=1)
    Runner(network, DESCRIPTION).consider(20)
    path = notes_path()
    ((key, seconds),) = json.loads(path.read_text(encoding="utf-8")).items()
    assert (seconds["keras"], seconds["onnxruntime"]) == (2, 1) and "32x48" in key
    path.write_text(json.dumps({key: seconds | {"start": 50}}), encoding="utf-8")
    for count, name in ((50, "keras"), (51, "onnxruntime")):
        runner = Runner(network, DESCRIPTION)
        runner.consider(count)
        assert runner.name == name
    assert len(starts) == 2


@pytest.mark.parametrize("text", ["", "[1]", "{KEY: 3}", '{KEY: {"keras": "2", "start": 1}}'])
def test_what_is_no_note_is_measured_anew(network, stand_in, clock, text):
    stand_in(onnxruntime=named("onnxruntime", network.predict_on_batch))
    timed = clock(keras=2, onnxruntime=1)
    Runner(network, DESCRIPTION).consider(20)
    (key,) = json.loads(notes_path().read_text(encoding="utf-8"))
    notes_path().write_text(text.replace("KEY", json.dumps(key)), encoding="utf-8")
    runner = Runner(network, DESCRIPTION)
    runner.consider(20)
    assert runner.name == "onnxruntime" and len(timed) == 4


@pytest.mark.parametrize("run", [fail, RuntimeError("no"), lambda batch: batch])
def test_engines_that_do_not_serve_are_passed_over(network, stand_in, clock, run):
    stand_in(onnxruntime=run, openvino=named("openvino", network.predict_on_batch))
    clock(keras=3, onnxruntime=0.1, openvino=2)
    runner = Runner(network, DESCRIPTION)
    runner.consider(20)
    assert runner.name == "openvino"
    stand_in(onnxruntime=run)
    runner = Runner(network, DESCRIPTION)
    runner.consider(20)
    assert runner.name == "keras"


def test_a_gpu_another_backend_and_another_precision_keep_keras(
    network, stand_in, clock, monkeypatch
):
    starts = stand_in(onnxruntime=named("onnxruntime", network.predict_on_batch))
    timed = clock(keras=2, onnxruntime=1)
    with dtype_policy("mixed_bfloat16"):
        Runner(build(DESCRIPTION, (32, 48)), DESCRIPTION).consider(100)
    with monkeypatch.context() as patch:
        patch.setattr(keras.distribution, "list_devices", lambda: ["cpu:0", "gpu:0"])
        Runner(network, DESCRIPTION).consider(100)
    with monkeypatch.context() as patch:
        patch.setattr(keras.config, "backend", lambda: "jax")
        Runner(network, DESCRIPTION).consider(100)
    Runner(network, DESCRIPTION, "keras").consider(100)
    assert starts == timed == []


def test_without_extras_nothing_is_measured_or_written(network, installed, clock):
    installed()
    timed = clock()
    runner = Runner(network, DESCRIPTION)
    runner.consider(1000)
    assert (runner.name, timed, notes_path().exists()) == ("keras", [], False)


def test_files_ask_for_the_measurement_and_single_images_do_not(weights, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(Runner, "consider", lambda self, count: asked.append(count))
    unet = Unet(weights, precision="float32")
    unet.predict_array(np.zeros((32, 48, 3), np.uint8))
    list(unet.predict_files([tmp_path / "a.png", tmp_path / "b.png"]))
    assert asked == [2]


def test_versions():
    assert engines._version("keras") == keras.__version__
    assert engines._version("of-no-such-name") == "of another package"


def test_time_is_that_of_one_call(monkeypatch):
    ticks = iter([5.0, 7.5])
    monkeypatch.setattr(engines, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    assert engines._time(lambda image: None, None) == 2.5
