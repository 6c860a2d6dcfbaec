"""The Keras data set: what a batch holds, and that nothing but seed and epoch decides it."""

import time
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tifffile
from PIL import Image

from errors import UserError
from utils.data.augment import Augment
from utils.data.borders import BorderWeights
from utils.data.dataset import UnetDataset
from utils.data.masks import read_mask
from utils.data.voc import Sample, read_samples
from utils.images.reading import read_image
from utils.images.transforms import letterbox_image, letterbox_mask, normalize
from utils.labels import VOID

SHAPE = (48, 64)


@pytest.fixture
def samples(voc_dir):
    """The six samples of `voc_dir`."""
    return read_samples(voc_dir, "train") + read_samples(voc_dir, "val")


def training(samples, batch_size=2, **options):
    return UnetDataset(samples, SHAPE, batch_size, 3, Augment(), **options)


def batches(dataset):
    """(images, masks) of all batches in a row."""
    drawn = [dataset[index] for index in range(len(dataset))]
    return tuple(np.concatenate(parts) for parts in zip(*drawn, strict=True))


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("augment", [None, Augment()])
def test_shapes_types_and_ranges(samples, augment):
    dataset = UnetDataset(samples, SHAPE, 4, 3, augment)
    assert len(dataset) == 2
    images, masks = dataset[0]
    assert (images.shape, images.dtype) == ((4, 48, 64, 3), np.float32)
    assert (masks.shape, masks.dtype) == ((4, 48, 64), np.uint8)
    assert images.min() >= -1
    assert images.max() <= 1
    assert images.std() > 0.1
    assert set(np.unique(masks)) == {0, 1, 2, 255}


@pytest.mark.parametrize("augment", [None, Augment()])
@pytest.mark.parametrize(
    ("batch_size", "expected"), [(1, [1] * 6), (3, [3, 3]), (4, [4, 2]), (5, [5, 1]), (9, [6])]
)
def test_the_last_batch_may_be_smaller(samples, augment, batch_size, expected):
    dataset = UnetDataset(samples, SHAPE, batch_size, 3, augment)
    drawn = [dataset[index] for index in range(len(dataset))]
    assert [len(images) for images, _ in drawn] == expected
    assert [len(masks) for _, masks in drawn] == expected


def devices(count, process=0, processes=1):
    return SimpleNamespace(count=count, process=process, processes=processes)


@pytest.mark.parametrize("augment", [None, Augment()])
@pytest.mark.parametrize(("count", "filled"), [(2, 2), (4, 4), (3, 3)])
def test_the_last_batch_of_several_devices_is_filled_with_void(samples, augment, count, filled):
    one = UnetDataset(samples[:5], SHAPE, 4, 3, augment)
    several = UnetDataset(samples[:5], SHAPE, 4, 3, augment, devices=devices(count))
    assert [len(dataset[1][0]) for dataset in (one, several)] == [1, filled]
    assert len(several) == len(one)
    images, masks = several[1]
    assert same((images[:1], masks[:1]), one[1])
    for image in images:  # the image that the batch holds already
        np.testing.assert_array_equal(image, images[0])
    assert (masks[1:] == VOID).all()
    assert several.batch_samples(1) == one.batch_samples(1)


@pytest.mark.parametrize("augment", [None, Augment()])
def test_processes_make_their_part_of_each_batch(samples, augment):
    whole = UnetDataset(samples, SHAPE, 4, 3, augment, seed=3, devices=devices(4))
    parts = [
        UnetDataset(samples, SHAPE, 4, 3, augment, seed=3, devices=devices(4, process, 2))
        for process in (0, 1)
    ]
    for index in range(len(whole)):
        drawn = [part[index] for part in parts]
        assert [len(images) for images, _ in drawn] == [2, 2]
        joined = tuple(np.concatenate(arrays) for arrays in zip(*drawn, strict=True))
        assert same(joined, whole[index])


def test_weights_are_those_of_the_masks_as_they_are_in_the_batch(samples):
    weigh = BorderWeights(10.0, 5.0)
    plain, weighed = training(samples, 4), training(samples, 4, weigh=weigh)
    for index in range(len(weighed)):
        images, masks, weights = weighed[index]
        assert same((images, masks), plain[index])
        assert (weights.shape, weights.dtype) == (masks.shape, np.float32)
        np.testing.assert_array_equal(weights, [weigh(mask) for mask in masks])
        assert weights.max() > 1 and not weights[masks != 0].any()


@pytest.mark.parametrize("processes", [1, 2])
def test_devices_share_weights_as_they_share_masks(samples, processes):
    options = {"weigh": BorderWeights(), "seed": 3}
    whole = training(samples[:5], 4, **options)
    parts = [
        training(samples[:5], 4, **options, devices=devices(4, process, processes))
        for process in range(processes)
    ]
    for index, filling in ((0, 0), (1, 3)):
        drawn = [part[index] for part in parts]
        images, masks, weights = (np.concatenate(arrays) for arrays in zip(*drawn, strict=True))
        count = 4 - filling
        assert same((images[:count], masks[:count], weights[:count]), whole[index])
        assert (masks[count:] == VOID).all() and not weights[count:].any()


def test_validation_is_every_sample_once_in_order_and_letterboxed(samples):
    dataset = UnetDataset(samples, SHAPE, 4, 3)
    images, masks = batches(dataset)
    assert len(images) == len(samples)
    for sample, image, mask in zip(samples, images, masks, strict=True):
        expected, _ = letterbox_image(read_image(sample.image_path), SHAPE)
        np.testing.assert_array_equal(image, normalize(expected))
        ids = letterbox_mask(read_mask(sample.mask_path, 3), SHAPE, VOID)
        np.testing.assert_array_equal(mask, ids)
    dataset.set_epoch(1)
    assert same(batches(dataset), (images, masks))


def test_the_number_of_workers_does_not_matter(samples):
    one, four = training(samples, num_workers=1), training(samples, num_workers=4)
    for epoch in (0, 1):
        one.set_epoch(epoch)
        four.set_epoch(epoch)
        assert same(batches(one), batches(four))


def test_epoch_and_seed_decide(samples):
    dataset = training(samples)
    first = batches(dataset)
    dataset.set_epoch(1)
    second = batches(dataset)
    assert not same(first, second)
    assert not same(first, batches(training(samples, seed=1)))
    dataset.set_epoch(0)
    assert same(first, batches(dataset))
    assert same(first, batches(training(samples)))


def test_drawing_in_another_order_gives_the_same_batches(samples):
    straight, mixed = training(samples), training(samples)
    expected = [straight[index] for index in range(3)]
    for index in (2, 0, 1, 1, 0):
        assert same(mixed[index], expected[index])


def test_batches_made_ahead_are_not_carried_into_another_epoch(samples):
    dataset, fresh = training(samples, 1, num_workers=1), training(samples, 1)
    dataset[0]  # starts on the next ones
    dataset.set_epoch(1)
    fresh.set_epoch(1)
    for index in (1, 2):
        assert same(dataset[index], fresh[index])


class Names:
    """In the place of an Augment: says which sample it was given, and draws once."""

    def __init__(self):
        self.draws = {}

    def __call__(self, image, mask, size, rng):
        self.draws.setdefault(image.shape, []).append(rng.random())
        return np.zeros((*size, 3), np.uint8), np.full(size, image.shape[0], np.uint8)


def test_training_takes_every_sample_once_an_epoch_in_a_new_order(samples):
    heights = sorted(len(read_image(sample.image_path)) for sample in samples)
    augment = Names()
    dataset = UnetDataset(samples, SHAPE, 4, 3, augment)
    orders = []
    for epoch in range(4):
        dataset.set_epoch(epoch)
        _, masks = batches(dataset)
        orders.append(masks[:, 0, 0].tolist())
    assert all(sorted(order) == heights for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    draws = [draw for one in augment.draws.values() for draw in one]
    assert len(set(draws)) == len(draws) == 4 * len(samples)


def test_two_batches_are_made_ahead_and_no_more(samples):
    augment = Names()
    dataset = UnetDataset(samples, SHAPE, 1, 3, augment)
    assert not augment.draws
    dataset[0]
    deadline = time.monotonic() + 10
    while len(augment.draws) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(augment.draws) == 3


def test_keras_is_told_to_use_one_worker(samples):
    dataset = training(samples, num_workers=4)
    assert (dataset.workers, dataset.use_multiprocessing) == (1, False)


def test_ignored_labels_become_void(samples):
    _, masks = batches(UnetDataset(samples, SHAPE, 6, 3, ignore_labels=(1, 255)))
    assert set(np.unique(masks)) == {0, 2, 255}


def test_no_samples_make_no_batches():
    assert len(UnetDataset([], SHAPE, 4, 3)) == 0


def check_error(dataset, message):
    """The batch raises UserError, which is kept in `error`."""
    assert dataset.error is None
    with pytest.raises(UserError, match=message) as caught:
        dataset[0]
    assert dataset.error is caught.value


@pytest.mark.parametrize("augment", [None, Augment()])
def test_a_broken_image_is_named_and_kept(samples, augment):
    path = samples[0].image_path
    path.write_bytes(path.read_bytes()[:400])
    check_error(
        UnetDataset(samples, SHAPE, 6, 3, augment), r"The image .*train_a\.jpg can't be read"
    )


def test_a_mask_of_another_size_is_named_and_kept(samples):
    samples[0] = Sample("mixed", samples[0].image_path, samples[1].mask_path)
    check_error(
        UnetDataset(samples, SHAPE, 6, 3),
        r"The image .*train_a\.jpg and its mask differ in size: "
        r"\(40, 60\) and \(60, 40\) \(height, width\)\.",
    )


def test_a_value_beyond_the_classes_is_named_and_kept(samples):
    check_error(UnetDataset(samples, SHAPE, 6, 2), r"The mask .*\.png holds the value 2 in ")


def test_a_colour_mask_is_named_and_kept(samples):
    Image.open(samples[0].mask_path).convert("RGB").save(samples[0].mask_path)
    check_error(UnetDataset(samples, SHAPE, 6, 3), r"train_a\.png is not a class-id mask")


def test_other_batches_still_come_after_an_error(samples):
    samples[0].image_path.unlink()
    dataset, whole = UnetDataset(samples, SHAPE, 2, 3), UnetDataset(samples[2:], SHAPE, 2, 3)
    for _ in range(2):
        with pytest.raises(UserError, match="There is no file"):
            dataset[0]
    assert same(dataset[1], whole[0])
    assert same(dataset[2], whole[1])


class Recorded(UnetDataset):
    """Keeps (epoch, index) of every batch that Keras asks for."""

    def __getitem__(self, index):
        self.__dict__.setdefault("asked", []).append((self.epoch, index))
        return super().__getitem__(index)


def tiny_network():
    """One 1x1 convolution: enough to tell the colours of `voc_dir` apart."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((*SHAPE, 3)), keras.layers.Conv2D(3, 1, activation="softmax")]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=VOID)
    model.compile(keras.optimizers.Adam(0.1), loss)
    return model


def test_keras_fits_two_epochs_and_evaluates(samples):
    train = Recorded(samples[:5], SHAPE, 2, 3, Augment())
    val = Recorded(samples[5:], SHAPE, 2, 3)
    epochs = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: train.set_epoch(epoch))
    history = tiny_network().fit(
        train, validation_data=val, epochs=2, shuffle=False, callbacks=[epochs], verbose=0
    )
    assert history.history["loss"][1] < history.history["loss"][0]
    assert history.history["val_loss"][1] < history.history["val_loss"][0]
    # Beforehand Keras may look at the first batches, to learn their shapes.
    assert train.asked[-6:] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert set(train.asked[:-6]) <= {(0, 0), (0, 1)}
    assert val.asked[-2:] == [(0, 0), (0, 0)]


def test_the_error_is_found_again_when_keras_wraps_it(samples):
    samples[4].image_path.write_bytes(b"no image")
    dataset = training(samples)
    with pytest.raises(Exception, match="can't be read"):
        tiny_network().fit(dataset, shuffle=False, verbose=0)
    assert isinstance(dataset.error, UserError)
    assert str(samples[4].image_path) in str(dataset.error)


def fit_until_the_data_goes(samples, folder):
    """Trains one sample a step, loses the folder after the first; returns what was kept."""
    dataset = training(samples * 10, 1, num_workers=1)
    lose = keras.callbacks.LambdaCallback(
        # At once: while a tree is removed, the folders in it go before it.
        on_train_batch_end=lambda batch, logs: batch or folder.rename(folder.with_name("gone"))
    )
    with pytest.raises(Exception, match="can't be read"):
        tiny_network().fit(dataset, shuffle=False, callbacks=[lose], verbose=0)
    return dataset.error


@pytest.mark.parametrize("lost", ["", "VOC2007", "VOC2007/JPEGImages", "VOC2007/SegmentationClass"])
def test_a_dataset_that_goes_in_the_middle_of_an_epoch(voc_dir, samples, lost):
    error = fit_until_the_data_goes(samples, voc_dir / lost)
    assert isinstance(error, UserError)
    assert f"can't be read: the folder {voc_dir / lost} is gone. Is the disk" in str(error)
    named = Path(str(error).split(" can't be read")[0]).parent
    assert named in {voc_dir / "VOC2007" / name for name in ("JPEGImages", "SegmentationClass")}
    assert lost in ("", "VOC2007") or named == voc_dir / lost


@pytest.mark.parametrize("reader", ["read_image", "read_mask"])
@pytest.mark.parametrize("error", [MemoryError(), OSError(5, "Input/output error", "a.jpg")])
def test_other_errors_are_kept_as_they_are(samples, monkeypatch, reader, error):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(f"utils.data.dataset.{reader}", fail)
    dataset = training(samples)
    with pytest.raises(type(error)):
        dataset[0]
    assert dataset.error is error


def test_no_file_is_blamed_when_memory_runs_out(samples, monkeypatch):
    error = MemoryError()

    def fail(*args):
        raise error

    monkeypatch.setattr("utils.images.opening.open_header", fail)
    monkeypatch.setattr("utils.images.reading.plain_jpeg_size", lambda path: None)
    dataset = training(samples)
    with pytest.raises(MemoryError):
        dataset[0]
    assert dataset.error is error


def test_samples_of_a_batch(samples):
    # The height of each image, which `Names` writes into the mask, tells which it is.
    heights = {len(read_image(sample.image_path)): sample for sample in samples}
    dataset = UnetDataset(samples, SHAPE, 4, 3, Names())
    for epoch in (0, 1):
        dataset.set_epoch(epoch)
        for index in range(2):
            drawn = [heights[height] for height in dataset[index][1][:, 0, 0]]
            assert dataset.batch_samples(index) == drawn
    assert UnetDataset(samples, SHAPE, 4, 3).batch_samples(1) == samples[4:]


def test_the_cache_keeps_what_fits_and_changes_nothing(voc_dir, monkeypatch):
    samples = read_samples(voc_dir, "train")
    sizes = [read_image(s.image_path).size * 4 // 3 for s in samples]  # 3 colours and a mask
    reads = []

    def count(path, **options):
        reads.append(path)
        return read_image(path, **options)

    monkeypatch.setattr("utils.data.dataset.read_image", count)
    plain = UnetDataset(samples, (32, 32), 4, 3, Augment(), num_workers=1)
    cached = UnetDataset(
        samples, (32, 32), 4, 3, Augment(), num_workers=1, cache_bytes=sizes[0] + sizes[1]
    )
    for epoch in range(3):
        for dataset in (plain, cached):
            dataset.set_epoch(epoch)
        for expected, actual in zip(plain[0], cached[0], strict=True):
            np.testing.assert_array_equal(expected, actual)
    # Three epochs of four without; with, an image that is kept is read once.
    kept = len(cached._cache)
    assert kept >= 1
    assert sum(image.nbytes + mask.nbytes for image, mask in cached._cache.values()) <= sum(
        sizes[:2]
    )
    assert len(reads) == 12 + kept + 3 * (4 - kept)


def test_waiting_is_measured_and_starts_anew_each_epoch(voc_dir):
    dataset = UnetDataset(read_samples(voc_dir, "train"), (32, 32), 2, 3)
    dataset[0]
    assert dataset.waited > 0
    dataset.set_epoch(1)
    assert dataset.waited == 0


@pytest.mark.parametrize("count", [1, 5])
def test_images_with_other_channels(samples, tmp_path, rng, count):
    channels, made = {}, []
    for sample in samples:
        with Image.open(sample.mask_path) as mask:
            pixels = rng.integers(0, 256, (*mask.size[::-1], count)).astype(np.uint8)
        path = tmp_path / f"{sample.name}.tif"
        tifffile.imwrite(path, pixels.squeeze(), photometric="minisblack", planarconfig="contig")
        channels[sample.name] = pixels
        made.append(sample._replace(image_path=path))
    dataset = UnetDataset(made, SHAPE, 4, 3, in_channels=count)
    images, _ = dataset[0]
    assert images.shape == (4, *SHAPE, count)
    for image, sample in zip(images, made, strict=False):
        expected, _ = letterbox_image(channels[sample.name], SHAPE)
        np.testing.assert_array_equal(image, normalize(expected))
    augmented, masks = UnetDataset(made, SHAPE, 4, 3, Augment(), in_channels=count)[0]
    assert (augmented.shape, masks.shape) == ((4, *SHAPE, count), (4, *SHAPE))
    with pytest.raises(UserError, match=rf"has {count} channels?, but in_channels is 4"):
        UnetDataset(made, SHAPE, 4, 3, in_channels=4)[0]


def test_several_crops_of_each_image_make_an_epoch(samples):
    dataset = training(samples, batch_size=5, crops=4)
    assert (dataset.count, len(dataset)) == (24, 5)
    drawn = [dataset.batch_samples(index) for index in range(len(dataset))]
    names = sorted(sample.name for batch in drawn for sample in batch)
    assert names == sorted(4 * [sample.name for sample in samples])
    first, second = (dataset.load_sample(0, position) for position in (0, 1))  # of one image
    assert not same(first, second)


def test_one_crop_of_each_image_is_as_ever(samples):
    assert same(batches(training(samples, crops=1)), batches(training(samples)))


def test_validation_in_windows_covers_the_whole_image(samples):
    whole = UnetDataset(samples, (64, 96), 1, 3)
    parts = UnetDataset(samples, (64, 96), 1, 3, window=(32, 48), crops=9)
    per_image = parts.count // len(samples)
    assert per_image == 3 * 3  # overlapping by a quarter at least
    image, mask = whole.load_sample(0, 1)
    seen = np.zeros((64, 96), bool)
    for position in range(per_image, 2 * per_image):
        part, ids = parts.load_sample(0, position)
        assert part.shape == (32, 48, 3)
        index = position - per_image
        top, left = 16 * (index // 3), 24 * (index % 3)
        here = slice(top, top + 32), slice(left, left + 48)
        assert same((part, ids), (image[here], mask[here]))
        seen[here] = True
    assert seen.all()
