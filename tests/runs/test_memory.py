"""The memory estimate, advice when memory runs out, and accumulated gradients."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from nets.precision import dtype_policy
from nets.unet import Unet
from training.optimization import compile_trainer, make_loss, make_optimizer
from training.settings import LossSettings, OptimizerSettings
from utils.runs import memory
from utils.runs.memory import (
    available_memory,
    describe_memory,
    estimate_training_memory,
    explain_out_of_memory,
    peak_memory,
    return_free_memory,
)

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def small_process(monkeypatch):
    """The process holds 100 MB, a compiled step takes nothing, and memory is given back."""
    monkeypatch.setenv("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
    monkeypatch.setattr(memory, "_resident_memory", lambda: 100_000_000)
    monkeypatch.setattr(memory, "_COMPILED", 0)


def test_what_is_not_given_back_adds_to_the_estimate(small_process, monkeypatch):
    given_back = estimate_training_memory(two_stages(), 5, (8, 8))
    monkeypatch.delenv("TF_ONEDNN_USE_SYSTEM_ALLOCATOR")
    kept = estimate_training_memory(two_stages(), 5, (8, 8))
    assert kept - 100_000_000 == pytest.approx(1.4 * (given_back - 100_000_000), abs=1)


def two_stages(**options):
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", name="block1_conv1", **options)(inputs)
    x = keras.layers.MaxPooling2D(name="block1_pool")(x)
    x = keras.layers.UpSampling2D(name="decoder1_upsample")(x)
    x = keras.layers.Conv2D(2, 1, name="decoder1_conv1", dtype="float32")(x)
    return keras.Model(inputs, x)


def test_what_a_layer_keeps_inside_counts(small_process):
    """The decoder's parts one after the other: what was upsampled and concatenated, once more."""
    sizes = [
        estimate_training_memory(Unet((32, 48, 3), 3, width=4, fused=fused), 2, (32, 48))
        for fused in (True, False)
    ]
    # Each stage doubles what is below and adds its skip: channels at 1/8, 1/4, 1/2 and 1/1.
    channels = {8: 32 + 32, 4: 32 + 16, 2: 16 + 8, 1: 8 + 4}
    kept = sum(2 * 32 * 48 // stride**2 * count for stride, count in channels.items())
    assert sizes[1] - sizes[0] == 4 * kept


def test_estimate_by_hand(small_process):
    # Weights: 3*3*3*4 + 4 + 4*2 + 2 = 122 numbers, two slots. A batch of 5, 8x8, float32:
    # 320 pixels. Kept: images 3, conv 4, upsampled 4 (the head's input), head 2; the
    # probabilities (2) once more, and seven times in the loss.
    pixels = 5 * 8 * 8
    expected = 100_000_000 + 2 * 4 * 122 + 4 * pixels * (3 + 4 + 4 + 2 + 2 + 7 * 2)
    assert estimate_training_memory(two_stages(), 5, (8, 8)) == expected


def test_estimate_of_recomputation_by_hand(small_process):
    # Between the stages: images 3, and the pooled 4 on a quarter of the pixels. The largest
    # stage keeps 3 + 4 and its gradients half of that again, less than the loss.
    pixels = 5 * 8 * 8
    expected = 100_000_000 + 2 * 4 * 122 + 4 * pixels * (3 + 4 // 4 + 2 + 7 * 2)
    assert estimate_training_memory(two_stages(), 5, (8, 8), recompute=True) == expected


def test_estimate_counts_number_formats(small_process):
    # In bfloat16 images and the first convolution take half; the head stays float32.
    pixels = 5 * 8 * 8
    with dtype_policy("mixed_bfloat16"):
        model = two_stages()
    expected = 100_000_000 + 2 * 4 * 122 + pixels * (2 * (3 + 4) + 4 * (4 + 2 + 2 + 7 * 2))
    assert estimate_training_memory(model, 5, (8, 8)) == expected


def test_estimate_without_a_system_that_tells(small_process, monkeypatch):
    known = estimate_training_memory(two_stages(), 5, (8, 8))
    monkeypatch.setattr(memory, "_resident_memory", lambda: None)
    unknown = estimate_training_memory(two_stages(), 5, (8, 8))
    assert unknown - known == 800_000_000 + 4 * 122 - 100_000_000


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 5000 * 1024),
        ({"memory.max": "max", "memory.current": "7"}, 5000 * 1024),
        ({"memory.max": "3000", "memory.current": "1000"}, 2000),
        ({"memory.max": "3000", "memory.current": "3001"}, 0),
        (
            {
                "memory.max": "3000",
                "memory.current": "2900",
                "memory.stat": "anon 1\ninactive_file 300\nactive_file 50\nfile 9",
            },
            100 + 300 + 50,
        ),
        ({"memory/memory.limit_in_bytes": "900", "memory/memory.usage_in_bytes": "300"}, 600),
    ],
)
def test_available_memory_is_the_least_limit(tmp_path, files, expected):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:  5000 kB\n")
    for name, text in files.items():
        path = tmp_path / "sys" / "fs" / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert available_memory(tmp_path) == expected


def test_available_memory_without_meminfo(tmp_path, monkeypatch):
    sizes = {"SC_AVPHYS_PAGES": 30, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__, raising=False)
    assert available_memory(tmp_path) == 30 * 4096
    monkeypatch.delattr(os, "sysconf")  # Windows
    assert available_memory(tmp_path) is None


def test_description(small_process, monkeypatch):
    # An image takes 0.4 GB, or 0.25 GB with recomputation, and the process 0.1 GB.
    monkeypatch.setattr(
        memory,
        "estimate_training_memory",
        lambda model, size, shape, again, slots: 1e8 + size * (2.5e8 if again else 4e8),
    )
    describe = lambda **more: describe_memory(None, 6, (512, 384), **more)  # noqa: E731
    assert describe() == "Memory: about 2.5 GB for batch size 6 at 512x384."
    assert describe(free=2_400_000_000) == (
        "Memory: about 2.5 GB for batch size 6 at 512x384 (2.5 GB are free)."
    )
    assert describe(free=1_700_000_000, accumulate_steps=2).splitlines() == [
        "Memory: about 2.5 GB for batch size 6 at 512x384 (1.8 GB are free).",
        "Warning: that may be too little. By this estimate batch size 4 would fit: set "
        "accumulate_steps to 3 with it; or set recompute, which would fit.",
    ]
    assert "or set recompute, which takes less." in describe(free=1_000_000_000)
    assert describe(free=100_000_000, recompute=True).endswith(
        "By this estimate no batch size would fit: take a smaller input_shape."
    )


class ResourceExhaustedError(Exception):
    """Stands for TensorFlow's, of the same name."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        ResourceExhaustedError("..."),
        RuntimeError("Graph execution error: OOM when allocating tensor with shape[2,512,512,64]"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 bytes."),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_out_of_memory_is_recognized(error):
    assert explain_out_of_memory(error, 4) == (
        "Memory ran out at batch size 4. Try batch size 2 with accumulate_steps 2, or recompute."
    )


def test_out_of_memory_is_found_behind_another_error():
    try:
        try:
            raise MemoryError
        except MemoryError as error:
            raise ValueError("wrapped") from error
    except ValueError as error:
        assert "batch size 4" in explain_out_of_memory(error, 4)


def test_out_of_memory_advice():
    assert explain_out_of_memory(ValueError("another"), 4) is None
    # 5 x 3 = 15 images for a change of the weights; with 2 a step that takes 8 steps.
    assert explain_out_of_memory(MemoryError(), 5, 3, recompute=True).endswith(
        "Try batch size 2 with accumulate_steps 8."
    )
    assert explain_out_of_memory(MemoryError(), 1).endswith(
        "Try recompute, or a smaller input_shape."
    )
    assert explain_out_of_memory(MemoryError(), 1, recompute=True).endswith(
        "Try a smaller input_shape."
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")
def test_the_peak_outlives_what_took_it():
    # In a process of its own: this one may have held more before.
    source = (
        "from utils.runs.memory import peak_memory\n"
        "start = peak_memory(); block = bytearray(10**8)\n"
        "del block; print(0.9e8 < peak_memory() - start < 1.1e8, 1e6 < start < 1e8)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", source], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert run.stdout == "True True\n"


def test_the_peak_without_a_system_that_tells(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(memory.Path, "read_text", missing)
    assert peak_memory() is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")
def test_freed_memory_goes_back(tmp_path):
    source = (
        "import os; from utils.runs.memory import return_free_memory, _resident_memory as held\n"
        "return_free_memory(); start = held(); blocks = [bytearray(b'1') * 2**23] * 1\n"
        "assert os.environ['TF_ONEDNN_USE_SYSTEM_ALLOCATOR'] == '1'\n"
        "top = held(); del blocks; print(top - start > 7e6, held() - start < 2e6)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", source], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert run.stdout == "True True\n"


def test_a_choice_of_the_user_stays(monkeypatch):
    monkeypatch.setenv("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "0")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: None)  # no mallopt
    return_free_memory()
    assert os.environ["TF_ONEDNN_USE_SYSTEM_ALLOCATOR"] == "0"


def compiled(steps, kind="sgd"):
    keras.utils.set_random_seed(0)
    model = Unet((32, 32, 3), 3, width=4)
    optimizer = make_optimizer(
        OptimizerSettings(kind, 0.1 if kind == "sgd" else 1e-3, 0.9, accumulate_steps=steps)
    )
    return model, compile_trainer(model, optimizer, make_loss(LossSettings(False, False)))


def make_images(rng, count):
    images = rng.uniform(-1, 1, (count, 32, 32, 3)).astype("float32")
    return images, rng.integers(0, 3, (count, 32, 32)).astype("uint8")


def difference(one, other):
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return max(np.abs(a - b).max() for a, b in pairs)


def test_accumulated_steps_equal_a_larger_batch(rng):
    (accumulating, trainer), (whole, reference) = compiled(2), compiled(1)
    images, masks = make_images(rng, 8)
    for start in (0, 4):
        reference.train_on_batch(images[start : start + 4], masks[start : start + 4])
        for half in (start, start + 2):
            trainer.train_on_batch(images[half : half + 2], masks[half : half + 2])
    assert difference(accumulating, whole) <= 1e-6
    assert difference(whole, compiled(1)[0]) > 1e-3
    assert int(trainer.optimizer.iterations) == int(reference.optimizer.iterations) == 2


def test_accumulated_gradients_outlive_an_epoch(rng):
    # Three steps an epoch, two a change: the third one's gradient waits for the next epoch.
    model, trainer = compiled(2)
    images, masks = make_images(rng, 6)
    trainer.fit(images, masks, batch_size=2, epochs=1, shuffle=False, verbose=0)
    names = [variable.path for variable in trainer.optimizer.variables]
    waiting = [
        variable.numpy()
        for variable in trainer.optimizer.variables
        if variable.path.endswith("gradient_accumulator")
    ]
    assert len(waiting) == len(model.trainable_variables), names
    assert max(np.abs(values).max() for values in waiting) > 0
    trainer.fit(images, masks, batch_size=2, epochs=1, shuffle=False, verbose=0)
    assert int(trainer.optimizer.iterations) == 3
    assert all(
        np.abs(variable.numpy()).max() == 0
        for variable in trainer.optimizer.variables
        if variable.path.endswith("gradient_accumulator")
    )
