"""Exported files are run here by their own programs and compared with the network."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from made_networks import sharpen
from PIL import Image

from errors import UserError
from nets.precision import dtype_policy
from nets.unet import Unet
from nets.weights.description import Description
from utils.files import whole_folder
from utils.images.transforms import normalize, resize_image
from utils.labels import voc_palette
from utils.prediction import export
from utils.prediction.export import FORMATS, check_formats, draw_images, export_model
from utils.prediction.inference import predict_mask

PAGE = Path(__file__).resolve().parents[2] / "docs" / "export.md"
SIZE = (64, 80)
NAMES = ("background", "Straße", "树")
PALETTE = voc_palette(256)
PACKAGES = {
    "savedmodel": (),
    "onnx": ("onnx", "tf2onnx", "onnxruntime"),
    "onnx_float16": ("onnx", "tf2onnx", "onnxruntime"),
    "onnx_int8": ("onnx", "tf2onnx", "onnxruntime"),  # in test_export_int8.py
    "openvino": ("onnx", "tf2onnx", "openvino"),
    "litert": ("ai_edge_litert",),
}
FILES = {
    "savedmodel": "net_savedmodel",
    "onnx": "net.onnx",
    "onnx_float16": "net_float16.onnx",
    "openvino": "net_openvino",
    "litert": "net.tflite",
}
INSTALLED = [
    form for form in FORMATS if all(importlib.util.find_spec(one) for one in PACKAGES[form])
]


def describe(size=SIZE, **changes):
    return Description(
        **({"num_classes": 3, "backbone": "vgg", "input_shape": size, "name_classes": NAMES,
            "width": 4} | changes)
    )  # fmt: skip


def sharp_network():
    keras.utils.set_random_seed(0)
    return sharpen(Unet((*SIZE, 3), 3, width=4, encoder_initializer="he_normal"), SIZE)


@pytest.fixture(scope="module")
def network():
    return sharp_network()


@pytest.fixture(scope="module")
def images():
    images = np.random.default_rng(7).integers(0, 256, (3, *SIZE, 3), np.uint8)
    return normalize(images)


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    """The installed formats, exported once: {format: (Exported, its JSON)}."""
    folder = tmp_path_factory.mktemp("exported")
    results = export_model(network, describe(), folder, INSTALLED, PALETTE, name="net")
    notes = [json.loads((folder / f"{one.path.name}.json").read_bytes()) for one in results]
    return dict(zip(INSTALLED, zip(results, notes, strict=True), strict=True))


def need(form):
    for package in PACKAGES[form]:
        pytest.importorskip(package)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_the_network_of_the_tests_names_every_class(network):
    images = normalize(np.stack(draw_images(SIZE)))
    probabilities = network.predict_on_batch(images)
    assert np.bincount(probabilities.argmax(axis=-1).ravel(), minlength=3).min() > 100
    assert probabilities.max(axis=-1).mean() > 0.7


def test_savedmodel(network, images, exported):
    result, note = exported["savedmodel"]
    layer = keras.layers.TFSMLayer(str(result.path), call_endpoint=note["signature"])
    for batch in (images[:1], images):
        got = keras.ops.convert_to_numpy(layer(batch)[note["output"]["name"]])
        np.testing.assert_allclose(got, network.predict_on_batch(batch), atol=1e-4)


def test_onnx(network, images, exported):
    need("onnx")
    import onnxruntime

    result, note = exported["onnx"]
    session = onnxruntime.InferenceSession(result.path)
    (inputs,), (outputs,) = session.get_inputs(), session.get_outputs()
    assert (inputs.name, outputs.name) == (note["input"]["name"], note["output"]["name"])
    assert inputs.shape[1:] == note["input"]["shape"][1:]
    for batch in (images[:1], images):
        (got,) = session.run(None, {inputs.name: batch})
        np.testing.assert_allclose(got, network.predict_on_batch(batch), atol=1e-4)


def test_half_precision(network, images, exported):
    need("onnx_float16")
    import onnx
    import onnxruntime

    path = exported["onnx_float16"][0].path
    kinds = {one.data_type for one in onnx.load(path).graph.initializer if len(one.dims) == 4}
    assert kinds == {onnx.TensorProto.FLOAT16}
    (got,) = onnxruntime.InferenceSession(path).run(None, {"image": images})
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, network.predict_on_batch(images), atol=0.03)


def test_openvino(network, images, exported):
    need("openvino")
    import openvino

    result, note = exported["openvino"]
    assert names_in(result.path) == ["model.bin", "model.xml"]
    compiled = openvino.Core().compile_model(
        str(result.path / "model.xml"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    for batch in (images[:1], images):
        got = compiled({note["input"]["name"]: batch})[note["output"]["name"]]
        np.testing.assert_allclose(got, network.predict_on_batch(batch), atol=1e-4)


def test_any_size(network, tmp_path, rng):
    need("onnx")
    import onnxruntime

    open_size = Unet((None, None, 3), 3, width=4)
    open_size.set_weights(network.get_weights())
    form = "onnx"
    (result,) = export_model(
        open_size, describe((60, 70)), tmp_path, [form], PALETTE, multiple_of=16
    )
    note = json.loads((tmp_path / "unet.onnx.json").read_bytes())
    assert note["multiple_of"] == 16 and note["size"] == {"height": 60, "width": 70}
    assert note["input"]["shape"] == [None, None, None, 3]
    assert note["output"]["shape"] == [None, None, None, 3]
    session = onnxruntime.InferenceSession(result.path)
    for size in (SIZE, (16, 112), (48, 32)):
        batch = rng.uniform(-1, 1, (2, *size, 3)).astype(np.float32)
        (got,) = session.run(None, {"image": batch})
        np.testing.assert_allclose(got, open_size.predict_on_batch(batch), atol=1e-4)


@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        ((64, 80), [(64, 80), (80, 32)]),
        ((60, 70), [(64, 80), (80, 32)]),
        ((1, 1), [(16, 16), (32, 16)]),
    ],
)
def test_any_size_is_compared_at_two(size, sizes):
    assert export._sizes_to_compare(size, 16) == sizes
    assert export._sizes_to_compare(size, 0) == [size]


def test_a_file_that_is_wrong_at_another_size_alone(network, tmp_path, fake_export, monkeypatch):
    fake_export()
    monkeypatch.setattr(
        export,
        "_compare",
        lambda model, kind, path, images: (0.0 if images.shape[1:3] == SIZE else 0.5, 1.0),
    )
    export_saved(network, tmp_path)
    with pytest.raises(UserError, match="computes something else"):
        export_saved(Unet((None, None, 3), 3, width=4), tmp_path, multiple_of=16)


def test_any_size_needs_a_network_and_a_format_for_it(network, tmp_path):
    with pytest.raises(UserError, match=r"is built for images of \(64, 80\), but the files are"):
        export_saved(network, tmp_path, multiple_of=16)
    need("litert")
    with pytest.raises(UserError, match="format litert takes images of one size, but export_size"):
        check_formats(["litert"], any_size=True)


def test_litert(network, images, exported):
    need("litert")
    from ai_edge_litert.interpreter import Interpreter

    result, note = exported["litert"]
    interpreter = Interpreter(str(result.path))
    assert interpreter.get_input_details()[0]["shape"].tolist() == note["input"]["shape"]
    assert interpreter.get_output_details()[0]["shape"].tolist() == note["output"]["shape"]
    run = interpreter.get_signature_runner(note["signature"])
    for image in images:
        got = run(**{note["input"]["name"]: image[None]})[note["output"]["name"]]
        np.testing.assert_allclose(got, network.predict_on_batch(image[None]), atol=1e-4)


@pytest.mark.parametrize("form", FORMATS)
def test_result_and_note(form, exported):
    need(form)
    result, note = exported[form]
    assert result.path.name == note["file"] == FILES[form]
    files = [result.path] if result.path.is_file() else result.path.rglob("*")
    size = sum(path.stat().st_size for path in files if path.is_file())
    # 97,707 parameters of 4 (or 2) bytes each, once, and the graph.
    half = form == "onnx_float16"
    least, most = (0.195, 0.39) if half else (0.39, 0.8)
    assert least < result.megabytes == size / 1e6 < most
    assert result.largest_difference < (0.03 if half else 1e-4)
    assert result.same_class > (0.99 if half else 0.999)
    batch = 1 if form == "litert" else None
    assert note["format"] == form
    assert (note["size"], note["multiple_of"]) == ({"height": 64, "width": 80}, None)
    assert note["letterbox"] == {"keep_aspect": True, "centred": True, "fill": [128] * 3}
    assert (note["channels"], note["color_order"], note["value_range"]) == (3, "RGB", None)
    tensor = {"dtype": "float32", "layout": "NHWC"}
    assert note["input"] == {"name": "image", "shape": [batch, 64, 80, 3], **tensor}
    assert note["output"] == {"name": "probabilities", "shape": [batch, 64, 80, 3], **tensor}
    assert note["num_classes"] == 3 and tuple(note["class_names"]) == NAMES
    assert note["palette"] == [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    assert (note["backbone"], note["keras_version"]) == ("vgg", keras.__version__)


def test_the_note_s_normalization_is_the_one_of_training(exported):
    numbers = exported["savedmodel"][1]["normalization"]
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    expected = normalize(np.stack([values] * 3, axis=-1))[..., 0]
    np.testing.assert_allclose(values * numbers["scale"] + numbers["offset"], expected, atol=1e-6)


def test_nothing_else_is_left(exported):
    folder = exported["savedmodel"][0].path.parent
    files = [FILES[form] for form in INSTALLED]
    assert names_in(folder) == sorted(files + [f"{name}.json" for name in files])


@pytest.mark.parametrize("form", FORMATS)
def test_a_wrong_export_leaves_nothing(form, network, tmp_path, monkeypatch):
    need(form)
    right = export._write

    def wrong(model, *args):
        weights = model.get_weights()
        model.set_weights([weight * 1.1 for weight in weights])
        right(model, *args)
        model.set_weights(weights)

    monkeypatch.setattr(export, "_write", wrong)
    with pytest.raises(UserError, match=f"The {form} export computes something else"):
        export_model(network, describe(), tmp_path, [form], PALETTE, name="net")
    assert names_in(tmp_path) == []


@pytest.fixture
def fake_export(network, monkeypatch):
    """fake_export(change): exports quickly, and the file computes change(probabilities)."""

    def fake(change=lambda probabilities: probabilities, content=b"new"):
        def write(model, kind, size, path):
            path.mkdir()
            (path / "saved_model.pb").write_bytes(content)

        def open_it(path):
            return lambda images: change(network.predict_on_batch(images).copy())

        monkeypatch.setattr(export, "_write", write)
        kind = export._FORMATS["savedmodel"]._replace(open=open_it)
        monkeypatch.setitem(export._FORMATS, "savedmodel", kind)

    return fake


def export_saved(network, folder, **changes):
    (result,) = export_model(network, describe(), folder, ["savedmodel"], PALETTE, **changes)
    return result


def shift_one(by):
    def change(probabilities):
        probabilities[0, 3, 4, 1] += by
        return probabilities

    return change


def test_one_probability_that_is_off_by_more_than_a_thousandth(network, tmp_path, fake_export):
    fake_export(shift_one(9e-4))
    assert export_saved(network, tmp_path).largest_difference == pytest.approx(9e-4, rel=0.01)
    fake_export(shift_one(1.1e-3))
    with pytest.raises(UserError, match=r"differ by up to 0.0011 \(at most 0.001 is allowed\)"):
        export_saved(network, tmp_path)


def test_classes_that_change_by_a_hair(tmp_path, monkeypatch):
    """Three images of 5,120 pixels: 15 of them are 0.098%, 16 are 0.104%."""
    even = Unet((*SIZE, 3), 3, width=4)
    head = even.get_layer("head_conv")
    head.set_weights([np.zeros((1, 1, 4, 3)), np.array([1e-4, 0, -1])])
    calls = []

    def open_it(pixels):
        def run(images):
            calls.append(len(images))
            probabilities = even.predict_on_batch(images).copy()
            if len(calls) == 1:
                rows = probabilities[0].reshape(-1, 3)
                rows[:pixels, 0], rows[:pixels, 1] = rows[:pixels, 1], rows[:pixels, 0].copy()
            return probabilities

        calls.clear()
        return run

    def use(pixels):
        kind = export._FORMATS["savedmodel"]._replace(open=lambda path: open_it(pixels))
        monkeypatch.setitem(export._FORMATS, "savedmodel", kind)

    monkeypatch.setattr(export, "_write", lambda model, kind, size, path: path.mkdir())
    use(15)
    assert export_saved(even, tmp_path).same_class == pytest.approx(1 - 15 / (3 * 64 * 80))
    assert calls == [2, 1]  # all images, and more than one at once
    use(16)
    with pytest.raises(UserError, match=r"same class in 99.90% of the pixels \(at least 99.9%"):
        export_saved(even, tmp_path)


@pytest.mark.parametrize("change", [shift_one(np.nan), lambda probabilities: probabilities[:, 1:]])
def test_not_a_number_and_another_shape_are_wrong(change, network, tmp_path, fake_export):
    fake_export(change)
    with pytest.raises(UserError, match="computes something else"):
        export_saved(network, tmp_path)
    assert names_in(tmp_path) == []


def test_images_of_the_caller_are_letterboxed(network, tmp_path, fake_export, monkeypatch):
    seen = []
    fake_export()
    monkeypatch.setattr(
        export, "_compare", lambda model, kind, path, images: (0.0, float(seen.append(images) or 1))
    )
    export_saved(network, tmp_path, examples=[np.full((30, 90, 3), 255, np.uint8)])
    assert seen[0].shape == (1, *SIZE, 3)
    grey = 128 / 127.5 - 1
    np.testing.assert_allclose(seen[0][0, [0, 32, 63], 0, 0], [grey, 1, grey], atol=1e-6)


def test_a_right_export_replaces_an_earlier_one(network, tmp_path, fake_export):
    fake_export(content=b"old")
    path = export_saved(network, tmp_path).path
    fake_export(content=b"new")
    export_saved(network, tmp_path)
    assert (path / "saved_model.pb").read_bytes() == b"new"
    assert names_in(tmp_path) == ["unet_savedmodel", "unet_savedmodel.json"]


def test_a_wrong_export_keeps_an_earlier_one(network, tmp_path, fake_export):
    fake_export(content=b"old")
    path = export_saved(network, tmp_path).path
    note = (tmp_path / "unet_savedmodel.json").read_bytes()
    fake_export(shift_one(1), content=b"new")
    with pytest.raises(UserError):
        export_saved(network, tmp_path)
    assert (path / "saved_model.pb").read_bytes() == b"old"
    assert (tmp_path / "unet_savedmodel.json").read_bytes() == note
    assert names_in(tmp_path) == ["unet_savedmodel", "unet_savedmodel.json"]


def test_a_folder_that_can_t_be_renamed_keeps_the_earlier_one(tmp_path, monkeypatch):
    path = tmp_path / "made"
    path.mkdir()
    (path / "old").touch()
    replace = os.replace

    def refuse(source, target):
        if Path(source).name == "new":
            raise PermissionError("no")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError, match="no"), whole_folder(path) as new:
        new.mkdir()
    assert names_in(tmp_path) == ["made"] and names_in(path) == ["old"]


@pytest.mark.parametrize(("form", "kind"), [("savedmodel", "file"), ("onnx", "folder"),
                                            ("savedmodel", "folder")])  # fmt: skip
def test_what_is_no_export_is_never_replaced(form, kind, network, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "check_formats", lambda *_: None)
    path = tmp_path / FILES[form]
    if kind == "file":
        path.write_bytes(b"mine")
    else:
        path.mkdir()
        (path / "mine").touch()
    with pytest.raises(UserError, match=f"exists and is not a {form} export. Move it away"):
        export_model(network, describe(), tmp_path, [form], PALETTE, name="net")
    assert names_in(tmp_path) == [path.name]
    assert kind == "file" or names_in(path) == ["mine"]


@pytest.mark.parametrize("form", ["onnx", "litert"])
def test_a_missing_package_is_named_before_anything_is_done(form, tmp_path, monkeypatch):
    for package in PACKAGES[form]:
        monkeypatch.setitem(sys.modules, package, SimpleNamespace(__spec__=object()))
    check_formats(["savedmodel", form])
    missing = PACKAGES[form][-1]
    monkeypatch.setitem(sys.modules, missing, None)
    folder = tmp_path / "out"
    with pytest.raises(UserError, match=rf"{form} needs .* \({missing}\)\. Install") as caught:
        export_model(None, None, folder, ["savedmodel", form], PALETTE)
    assert "pip install -r requirements-export.txt" in str(caught.value)
    assert not folder.exists()


@pytest.mark.parametrize(("formats", "got"), [(("onnx", "coreml"), "'coreml'"), ((), "none")])
def test_unknown_formats(formats, got):
    message = f"formats must be one or more of {', '.join(PACKAGES)}; got {got}."
    with pytest.raises(UserError, match=re.escape(message)):
        check_formats(formats)


def test_another_backend(network, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(UserError, match=r"Keras runs on jax\. Set KERAS_BACKEND=tensorflow"):
        export_saved(network, tmp_path)


def test_another_precision(tmp_path):
    with dtype_policy("mixed_bfloat16"):
        coarse = Unet((*SIZE, 3), 3, width=4)
    with pytest.raises(UserError, match=r"computes in mixed_bfloat16 \(layer block1_conv1\)"):
        export_saved(coarse, tmp_path)


def test_a_policy_set_elsewhere_changes_nothing(network, tmp_path):
    with dtype_policy("mixed_bfloat16"):
        assert export_saved(network, tmp_path).largest_difference < 1e-5


@pytest.mark.parametrize("changes", [{"input_shape": (64, 64)}, {"num_classes": 4}])
def test_another_description(changes, network, tmp_path):
    with pytest.raises(UserError, match=r"has input \(64, 80, 3\) and 3 classes, but its desc"):
        export_model(network, describe(**changes), tmp_path, ["savedmodel"], PALETTE)


def test_a_short_palette(network, tmp_path):
    with pytest.raises(UserError, match="palette holds 2 colours, but num_classes is 3"):
        export_model(network, describe(), tmp_path, ["savedmodel"], PALETTE[:2])


def test_a_network_of_any_size_is_exported_for_the_described_one(tmp_path):
    need("onnx")
    import onnxruntime

    any_size = Unet((None, None, 3), 3, width=4)
    (result,) = export_model(any_size, describe(), tmp_path, ["onnx"], PALETTE)
    (inputs,) = onnxruntime.InferenceSession(result.path).get_inputs()
    assert inputs.shape[1:] == [*SIZE, 3]


def test_only_our_lines_reach_the_terminal(network, tmp_path, capfd):
    results = export_model(network, describe(), tmp_path, INSTALLED, PALETTE)
    printed = capfd.readouterr()
    assert printed.out.splitlines() == [str(result) for result in results]
    assert printed.err == ""
    pattern = r".*unet_savedmodel: \d+\.\d MB; probabilities differ by at most \S+e\S+, same class "
    assert re.fullmatch(pattern + r"in 100\.000% of the pixels", printed.out.splitlines()[0])


def test_images_to_compare_on():
    images = draw_images(SIZE)
    assert {(image.shape, image.dtype.name) for image in images} == {((*SIZE, 3), "uint8")}
    assert all(image.std() > 20 for image in images)
    np.testing.assert_array_equal(images, draw_images(SIZE))


def test_the_page_s_program(network, tmp_path):
    """It needs no Keras, and its mask is the one of `predict_mask`."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (program,) = (block for block in blocks if "import onnxruntime" in block)
    need("onnx")
    (onnx,) = set(re.findall(r'"([^"]+\.onnx)"', program))
    (photo,) = set(re.findall(r'"([^"]+\.jpg)"', program))
    (result,) = set(re.findall(r'"([^"]+\.png)"', program))
    onnx = tmp_path / onnx
    export_model(network, describe(), onnx.parent, ["onnx"], PALETTE, name=onnx.stem)
    (tmp_path / photo).parent.mkdir(parents=True, exist_ok=True)
    # At other sizes the program resizes classes, `predict_mask` probabilities.
    for size, least in ((SIZE, 0.999), ((50, 90), 0.88), ((130, 61), 0.88)):
        image = resize_image(draw_images((64, 64))[0], size)
        Image.fromarray(image).save(tmp_path / photo, "PNG")  # the pixels as they are
        subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=60)
        with Image.open(tmp_path / result) as mask:
            ids, colors = np.array(mask), mask.getpalette()
        expected = predict_mask(network.predict_on_batch, image, SIZE)
        assert ids.shape == size and (ids == expected).mean() >= least
        assert colors[:9] == PALETTE[:3].ravel().tolist()


@pytest.mark.parametrize("channels", [1, 5])
def test_other_channels(channels, tmp_path):
    network = Unet((*SIZE, channels), 3, width=4)
    formats = [form for form in ("savedmodel", "onnx") if form in INSTALLED]
    results = export_model(network, describe(in_channels=channels), tmp_path, formats, PALETTE)
    assert all(result.largest_difference < 1e-5 for result in results)
    note = json.loads((tmp_path / "unet_savedmodel.json").read_bytes())
    assert note["channels"] == channels
    assert note["color_order"] == {1: "grey", 5: "as in the image files"}[channels]
    assert note["letterbox"]["fill"] == [128] * channels
    assert note["input"]["shape"] == [None, *SIZE, channels]
    with pytest.raises(UserError, match=rf"has input \(64, 80, {channels}\) .* says \(64, 80, 3\)"):
        export_model(network, describe(), tmp_path, ["savedmodel"], PALETTE)


def test_no_two_channels_of_the_images_are_alike():
    for image, colors in zip(draw_images(SIZE, 7), draw_images(SIZE), strict=True):
        assert image.shape == (*SIZE, 7)
        np.testing.assert_array_equal(image[..., :3], colors)
        channels = image.reshape(-1, 7).T
        assert len({channel.tobytes() for channel in channels}) == 7
