"""The project on real images: CamVid, ISBI 2012 and unet-keras' examples.

They lie beside the project and are no part of it; without them these tests are skipped.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import get_miou
import train
from unet import Unet
from utils.checking.report import check_samples
from utils.data.voc import read_samples

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason="the public data sets are not here"),
]


def test_the_sets_are_whole_and_their_classes_occur():
    camvid = [read_samples(DATA / "camvid", split) for split in ("train", "val")]
    assert [len(samples) for samples in camvid] == [367, 101]
    pixels = check_samples(*camvid, 11, (11, 255)).pixels
    # 468 images of 480x360; the rest of the pixels is void.
    assert pixels[11] == 2_801_266
    assert pixels[:11].sum() == 468 * 480 * 360 - 2_801_266
    assert (pixels[:11] > 500_000).all()
    isbi = [read_samples(DATA / "isbi2012", split) for split in ("train", "val")]
    assert [len(samples) for samples in isbi] == [20, 4]
    assert check_samples(*isbi, 2, (255,)).pixels.sum() == 24 * 512 * 512


@pytest.mark.system
def test_camvid_trains_and_is_scored(tmp_path):
    """A narrow network at 64x64, two epochs: the whole way, and more than a constant gets."""
    train.main(
        train.TrainConfig(
            VOCdevkit_path=str(DATA / "camvid"),
            num_classes=11,
            ignore_labels=(11, 255),
            model_path="",
            input_shape=(64, 64),
            width=8,
            unfreeze_epoch=2,
            unfreeze_batch_size=16,
            init_lr=1e-3,
            eval_flag=False,
            save_dir=str(tmp_path / "logs"),
        )
    )
    weights = tmp_path / "logs" / "last_epoch_weights.weights.h5"
    scores = get_miou.main(
        get_miou.MiouConfig(
            model_path=str(weights),
            VOCdevkit_path=str(DATA / "camvid"),
            miou_out_path=str(tmp_path / "miou_out"),
        )
    )
    masks = [np.array(Image.open(s.mask_path)) for s in read_samples(DATA / "camvid", "val")]
    assert scores.pixels == sum(int((mask != 11).sum()) for mask in masks)
    # The most frequent class alone, everywhere, gets its share in pixels as accuracy.
    counts = np.bincount(np.concatenate([mask.ravel() for mask in masks]), minlength=12)[:11]
    assert scores.accuracy > counts.max() / counts.sum()

    unet = Unet(weights)
    for name in ("street.jpg", "cell.png"):
        image = Image.open(DATA / "img" / name)
        assert unet.detect_image(image).size == image.size
        assert unet.get_miou_png(image).size == image.size
