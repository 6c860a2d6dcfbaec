"""The int8 file is run here by ONNX Runtime alone, and its mIoU counted by hand."""

import json
import re

import keras
import numpy as np
import pytest
from made_networks import sharpen
from PIL import Image

import predict
from errors import UserError
from nets.unet import Unet, build
from nets.weights.description import Description
from nets.weights.storage import save_weights
from predict import PredictConfig
from utils.images.transforms import normalize
from utils.labels import voc_palette
from utils.prediction import export_int8 as module
from utils.prediction.export import draw_images, export_model
from utils.prediction.export_formats import check_formats
from utils.prediction.export_int8 import Validation, export_int8
from utils.prediction.inference import predict_mask

SIZE = (64, 80)
NAMES = ("background", "Straße", "树")
PALETTE = voc_palette(256)
DESCRIBED = Description(3, "vgg", SIZE, NAMES, 4)

for package in ("onnx", "tf2onnx", "onnxruntime"):
    pytest.importorskip(package)


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return sharpen(build(DESCRIBED, SIZE, fused=False, encoder_initializer="he_normal"), SIZE)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Paths of images of several sizes."""
    folder = tmp_path_factory.mktemp("images")
    sizes = (SIZE, SIZE, (90, 50), SIZE)
    for index, size in enumerate(sizes):
        drawn = draw_images(size)[index % 3]
        Image.fromarray(np.roll(drawn, 11 * index, axis=0)).save(folder / f"{index}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def truth(network, images):
    """What the network predicts, but for a block of each image: float32's mIoU is below 1."""
    masks = []
    for path in images:
        mask = predict_mask(network.predict_on_batch, np.array(Image.open(path)), SIZE)
        mask[5:20, 10:30] = (mask[5:20, 10:30] + 1) % 3
        masks.append(mask)
    return masks


def miou_by_hand(masks, truth):
    """Mean over the three classes of intersection / union, over all images."""
    ious = []
    for index in range(3):
        found = np.concatenate([mask.ravel() == index for mask in masks])
        true = np.concatenate([mask.ravel() == index for mask in truth])
        ious.append((found & true).sum() / (found | true).sum())
    return float(np.mean(ious))


@pytest.fixture(scope="module")
def validation(images, truth):
    return Validation(images, lambda masks: miou_by_hand(list(masks), truth), 1.0)


@pytest.fixture(scope="module")
def exported(network, validation, tmp_path_factory):
    """(Int8Exported, its JSON)."""
    folder = tmp_path_factory.mktemp("exported")
    result = export_int8(network, DESCRIBED, folder, PALETTE, validation)
    assert names_in(folder) == ["unet_int8.onnx", "unet_int8.onnx.json"]
    return result, json.loads((folder / "unet_int8.onnx.json").read_bytes())


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def session_of(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    return lambda batch: session.run(["probabilities"], {"image": batch})[0]


def test_its_figures_are_those_of_the_file(exported, images, truth, network):
    result, note = exported
    run = session_of(result.file.path)
    masks = {}
    for name, model in (("int8", run), ("float32", network.predict_on_batch)):
        masks[name] = [predict_mask(model, np.array(Image.open(path)), SIZE) for path in images]
    # A block of 300 pixels of each is another class.
    assert 0.8 < result.miou_float32 == miou_by_hand(masks["float32"], truth) < 0.98
    assert result.miou == miou_by_hand(masks["int8"], truth)
    assert 0 < result.miou_float32 - result.miou < 0.1
    about = note["int8"]
    assert (about["miou"], about["miou_float32"]) == (result.miou, result.miou_float32)
    assert (about["images"], about["calibrated_on"], about["max_fall"]) == (4, 4, 1.0)
    assert about["milliseconds"] > 0 and about["milliseconds_float32"] > 0


def test_its_differences_are_those_of_the_file(exported, images, network):
    result, note = exported
    run = session_of(result.file.path)
    whole = [path for path in images if Image.open(path).size == SIZE[::-1]]
    batch = normalize(np.stack([np.array(Image.open(path)) for path in whole]))
    got, expected = run(batch), network.predict_on_batch(batch)
    difference = np.abs(got - expected).max()
    assert 0.01 < difference <= result.file.largest_difference + 1e-5 < 0.9
    assert (got.argmax(-1) == expected.argmax(-1)).mean() > 0.95
    assert 0.95 < note["same_class"] == result.file.same_class < 1
    assert note["largest_difference"] == result.file.largest_difference


def test_its_convolutions_are_integers_but_for_the_head(exported):
    import onnx

    result = exported[0]
    graph = onnx.load(result.file.path).graph
    kinds = {one.name: one.data_type for one in graph.initializer if len(one.dims) == 4}
    integers = {name for name, kind in kinds.items() if kind == onnx.TensorProto.INT8}
    floats = {name for name, kind in kinds.items() if kind == onnx.TensorProto.FLOAT}
    assert len(integers) == 21 and len(floats) == 1 and "head_conv" in floats.pop()
    assert not [node for node in graph.node if node.op_type in ("ConvTranspose", "Tile")]
    values = [onnx.numpy_helper.to_array(one) for one in graph.initializer if one.name in integers]
    # 7 bits, so that no processor saturates; each filter has a range of its own.
    assert max(np.abs(one).max() for one in values) <= 64
    assert all((np.abs(one).max(axis=(1, 2, 3)) >= 63).all() for one in values)
    # 97,707 parameters, mostly of 1 byte, and the graph.
    assert 0.09 < result.file.megabytes < 0.35


def test_the_json_says_how_to_run_it(exported):
    note = exported[1]
    assert (note["file"], note["format"]) == ("unet_int8.onnx", "onnx_int8")
    tensor = {"dtype": "float32", "layout": "NHWC"}
    assert note["input"] == {"name": "image", "shape": [None, *SIZE, 3], **tensor}
    assert note["output"] == {"name": "probabilities", "shape": [None, *SIZE, 3], **tensor}
    assert note["multiple_of"] is None and tuple(note["class_names"]) == NAMES


def test_what_is_printed(network, validation, tmp_path, capfd):
    result = export_int8(network, DESCRIBED, tmp_path, PALETTE, validation)
    printed = capfd.readouterr()
    first, second = printed.out.splitlines()
    assert first == "onnx_int8: calibrating and scoring on 4 validation images."
    assert second == str(result) and printed.err == ""
    pattern = (
        r".*unet_int8\.onnx: 0\.\d MB; mIoU (\d+\.\d\d)% where float32 has (\d+\.\d\d)%, on 4 "
        r"images; \d+ ms an image where float32 takes \d+, both by ONNX Runtime on this machine"
    )
    shown = re.fullmatch(pattern, second).groups()
    assert shown == (f"{100 * result.miou:.2f}", f"{100 * result.miou_float32:.2f}")


def test_a_fall_of_more_than_is_allowed_leaves_nothing(network, validation, exported, tmp_path):
    fall = exported[0].miou_float32 - exported[0].miou
    just_enough, too_little = (validation._replace(max_fall=fall + by) for by in (1e-9, -1e-9))
    with pytest.raises(UserError) as caught:
        export_int8(network, DESCRIBED, tmp_path, PALETTE, too_little)
    assert re.match(
        rf"The onnx_int8 export loses {fall:.4f} of mIoU \({exported[0].miou:.4f}, and float32 "
        rf"has {exported[0].miou_float32:.4f}\) on 4 validation images; .* is allowed "
        r"\(int8_max_fall\)\. .*unet_int8\.onnx was not written\. Take the format onnx or ",
        str(caught.value),
    )
    assert names_in(tmp_path) == []
    export_int8(network, DESCRIBED, tmp_path, PALETTE, just_enough)
    earlier = (tmp_path / "unet_int8.onnx").read_bytes()
    with pytest.raises(UserError, match="of mIoU"):
        export_int8(network, DESCRIBED, tmp_path, PALETTE, too_little)
    assert (tmp_path / "unet_int8.onnx").read_bytes() == earlier


def test_scores_that_are_no_number(network, validation, tmp_path):
    with pytest.raises(UserError, match="None of the 4 validation images has a pixel that counts"):
        export_int8(network, DESCRIBED, tmp_path, PALETTE, validation._replace(score=consume))
    scores = iter((0.5, float("nan")))
    later = validation._replace(score=lambda masks: (list(masks), next(scores))[1])
    with pytest.raises(UserError, match=r"loses nan of mIoU"):
        export_int8(network, DESCRIBED, tmp_path, PALETTE, later)
    assert names_in(tmp_path) == []


def consume(masks):
    return float("nan") if list(masks) else 0.0


def test_no_images(network, validation, tmp_path):
    with pytest.raises(UserError, match="There are no validation images to make onnx_int8 with"):
        export_int8(network, DESCRIBED, tmp_path, PALETTE, validation._replace(paths=[]))


def test_images_of_other_channels(network, validation, tmp_path):
    import tifffile

    path = tmp_path / "five.tif"
    tifffile.imwrite(path, np.zeros((5, *SIZE), np.uint8), photometric="minisblack")
    with pytest.raises(UserError, match=r"five\.tif holds 5 pages .* but in_channels is 3"):
        export_int8(network, DESCRIBED, tmp_path, PALETTE, validation._replace(paths=[path]))


def test_what_is_no_export_stays(network, validation, tmp_path):
    (tmp_path / "unet_int8.onnx").mkdir()
    with pytest.raises(UserError, match="exists and is not a onnx_int8 export"):
        export_int8(network, DESCRIBED, tmp_path, PALETTE, validation)


def test_export_model_points_to_it(network, tmp_path):
    with pytest.raises(UserError, match="export_model makes no onnx_int8, which needs validation"):
        export_model(network, DESCRIBED, tmp_path, ["onnx_int8"], PALETTE)
    with pytest.raises(UserError, match="format onnx_int8 takes images of one size, but export_"):
        check_formats(["onnx_int8"], any_size=True)


def test_windows_are_calibrated_on_as_they_are_predicted(network, images, tmp_path):
    """An image of 64x200 is three windows of 64x80, of 60 or more pixels each."""
    described = Description(3, "vgg", (64, 200), NAMES, 4, window=SIZE)
    Image.fromarray(draw_images((64, 200))[2]).save(tmp_path / "long.png")
    seen = []

    def keep(masks):
        seen.append([mask.shape for mask in masks])
        return 1.0

    result = export_int8(
        network, described, tmp_path, PALETTE, Validation([tmp_path / "long.png"], keep, 0.0)
    )
    assert seen == [[(64, 200)]] * 2
    assert (result.images, result.calibrated_on) == (1, 3)


def test_the_recorder_keeps_a_spread(monkeypatch):
    monkeypatch.setattr(module, "_MOST_INPUTS", 4)
    recorder = module._Recorder(lambda batch: batch + 1)
    for index in range(11):
        batch = np.full((1, 2, 2, 3), index, np.float32)
        assert recorder(batch).max() == index + 1
        batch[:] = -1  # the caller's own, which it may use again
    assert [int(one.max()) for one in recorder.kept] == [0, 4, 8]
    monkeypatch.setattr(module, "_MOST_BYTES", 100)  # two inputs of 48 bytes
    recorder = module._Recorder(lambda batch: batch)
    for index in range(6):
        recorder(np.full((1, 2, 2, 3), index, np.float32))
    assert [int(one.max()) for one in recorder.kept] == [0, 4]


# The script


@pytest.fixture
def weights(tmp_path):
    """A weights file of a tiny network."""
    described = Description(3, "vgg", (32, 48), NAMES, 4)
    keras.utils.set_random_seed(1)
    path = tmp_path / "tiny.weights.h5"
    save_weights(Unet((32, 48, 3), 3, width=4), path, described)
    return str(path)


def test_the_script_scores_as_get_miou_does(weights, voc_dir, tmp_path, capsys):
    import get_miou

    config = PredictConfig(
        weights,
        mode="export",
        export_path=str(tmp_path / "export"),
        export_formats=("onnx", "onnx_int8"),
        VOCdevkit_path=str(voc_dir),
        int8_max_fall=1.0,
    )
    assert predict.main(config) == 0
    assert "on 2 images; " in capsys.readouterr().out
    names = ["unet.onnx", "unet.onnx.json", "unet_int8.onnx", "unet_int8.onnx.json"]
    assert names_in(tmp_path / "export") == names
    scores = get_miou.main(
        get_miou.MiouConfig(
            weights,
            VOCdevkit_path=str(voc_dir),
            miou_out_path=str(tmp_path / "out"),
            precision="float32",
        )
    )
    about = json.loads((tmp_path / "export" / "unet_int8.onnx.json").read_bytes())["int8"]
    assert about["miou_float32"] == pytest.approx(scores.miou, abs=1e-3)


def test_the_script_needs_a_dataset_before_the_network(tmp_path):
    config = PredictConfig(
        "no.weights.h5",
        mode="export",
        export_formats=("onnx_int8",),
        VOCdevkit_path=str(tmp_path),
    )
    with pytest.raises(UserError, match="No dataset in VOCdevkit_path"):
        predict.main(config)


def test_samples_are_spread_over_the_list(voc_dir):
    names = ["train_a", "train_b", "train_c", "train_d", "val_a", "val_b"]
    config = PredictConfig(
        VOCdevkit_path=str(voc_dir), val_list=str(voc_dir / "all.txt"), int8_images=3
    )
    (voc_dir / "all.txt").write_text("\n".join(names))
    assert [one.name for one in predict.spread_samples(config)] == ["train_a", "train_c", "val_b"]


def test_settings_that_make_no_sense():
    with pytest.raises(UserError, match="int8_images must be at least 1; got 0"):
        PredictConfig(int8_images=0)
    with pytest.raises(UserError, match=r"int8_max_fall must be at least 0; got -0\.1"):
        PredictConfig(int8_max_fall=-0.1)
