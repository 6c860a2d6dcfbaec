import re
from types import SimpleNamespace

import keras
import pytest

from errors import UserError
from nets import precision, processor
from nets.checks import PRECISIONS, check_precision
from nets.precision import choose_precision, dtype_policy


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Pretends to be a machine: seconds of the convolution by dtype, its GPUs, and what its
    processor says of itself, which is nothing by default."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    monkeypatch.setattr(processor, "_GPUS", tmp_path / "gpus")

    def pretend(seconds, gpus=(), says=None, backend="tensorflow"):
        timed = []
        monkeypatch.setattr(keras.config, "backend", lambda: backend)
        monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
        if says is not None:
            (tmp_path / "cpuinfo").write_text(says, encoding="utf-8")

        def time_convolution(dtype):
            timed.append(dtype)
            return seconds[dtype]

        def list_devices(device_type=None):
            if device_type == "gpu" and not gpus:
                raise RuntimeError("Unknown backend: 'gpu' requested")  # as JAX does
            return list(gpus) or ["cpu:0"]

        monkeypatch.setattr(precision, "time_convolution", time_convolution)
        monkeypatch.setattr(keras.distribution, "list_devices", list_devices)
        return timed

    return pretend


@pytest.fixture
def global_policy():
    """The global policy, put back whatever a test leaves behind."""
    former = keras.config.dtype_policy()
    yield former
    keras.config.set_dtype_policy(former)


@pytest.mark.parametrize("name", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_explicit_precision_is_taken_without_timing(machine, name):
    timed = machine({})
    assert choose_precision(name) == (name, f"precision: {name}, as set.")
    assert timed == []


@pytest.mark.parametrize("function", [check_precision, choose_precision])
@pytest.mark.parametrize("value", ["float64", "", None])
def test_unknown_precision_is_refused(function, value):
    message = (
        f"precision must be one of auto, float32, mixed_bfloat16, mixed_float16; got {value!r}."
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        function(value)


@pytest.mark.parametrize("name", PRECISIONS)
def test_known_precisions_pass_the_check(name):
    check_precision(name)


def test_auto_keeps_float32_where_bfloat16_is_slow(machine):
    timed = machine({"float32": 1.0, "bfloat16": 2.0})
    policy, reason = choose_precision("auto")
    assert policy == "float32"
    # 1.0 s / 2.0 s
    assert reason == (
        "precision: float32 (a convolution in bfloat16 0.5 times as fast as float32; "
        "worth it from 1.5 on)."
    )
    assert timed == ["float32", "bfloat16"]


def test_auto_takes_bfloat16_where_it_is_fast(machine):
    timed = machine({"float32": 9.0, "bfloat16": 2.0})
    # 9.0 s / 2.0 s
    assert choose_precision("auto") == (
        "mixed_bfloat16",
        "precision: mixed_bfloat16 (a convolution in bfloat16 4.5 times as fast as float32).",
    )
    assert timed == ["float32", "bfloat16"]


@pytest.mark.parametrize(
    ("bfloat16_seconds", "policy"), [(2.0, "mixed_bfloat16"), (2.01, "float32")]
)
def test_auto_wants_a_speedup_of_one_and_a_half(machine, bfloat16_seconds, policy):
    machine({"float32": 3.0, "bfloat16": bfloat16_seconds})  # 3 / 2 = 1.5
    assert choose_precision()[0] == policy


def test_a_backend_that_lists_no_devices_has_no_gpu(machine, monkeypatch):
    def list_devices(device_type=None):
        raise AttributeError("no distribution")

    timed = machine({"float32": 4.0, "bfloat16": 5.0})
    monkeypatch.setattr(keras.distribution, "list_devices", list_devices)
    assert choose_precision("auto")[0] == "float32"
    assert timed == ["float32", "bfloat16"]


def test_auto_prefers_bfloat16_on_a_gpu(machine):
    timed = machine({"float32": 4.0, "bfloat16": 2.0, "float16": 1.0}, gpus=["gpu:0"])
    assert choose_precision("auto")[0] == "mixed_bfloat16"
    assert timed == ["float32", "bfloat16"]


def test_auto_takes_float16_on_a_gpu_that_is_slow_in_bfloat16(machine):
    timed = machine({"float32": 4.0, "bfloat16": 5.0, "float16": 2.0}, gpus=["gpu:0"])
    assert choose_precision("auto") == (
        "mixed_float16",
        "precision: mixed_float16 (a convolution in float16 2.0 times as fast as float32).",
    )
    assert timed == ["float32", "bfloat16", "float16"]


def test_auto_keeps_float32_on_a_gpu_slow_in_both(machine):
    machine({"float32": 4.0, "bfloat16": 5.0, "float16": 4.0}, gpus=["gpu:0"])
    policy, reason = choose_precision("auto")
    assert policy == "float32"
    # 4 / 5 and 4 / 4
    assert "bfloat16 0.8 times as fast as float32, float16 1.0 times as fast" in reason


def test_auto_never_takes_float16_without_a_gpu(machine):
    timed = machine({"float32": 4.0, "bfloat16": 5.0, "float16": 1.0})
    assert choose_precision("auto")[0] == "float32"
    assert "float16" not in timed


def test_measuring_works(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "none")
    policy, reason = choose_precision("auto")
    assert policy in {"float32", "mixed_bfloat16", "mixed_float16"}
    assert reason.startswith(f"precision: {policy} (a convolution in ")


X86 = "processor\t: 0\nmodel name\t: A {0}\nflags\t\t: fpu sse2 avx2{0} clzero\n\nprocessor\t: 1\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd{} sm4\nCPU implementer\t: 0x41\n"


@pytest.mark.parametrize(
    ("says", "units"),
    [
        (X86.format(""), []),
        (X86.format(" avx512_bf16"), ["avx512_bf16"]),
        (X86.format(" amx_bf16 avx512_bf16 amx_tile"), ["amx_bf16", "avx512_bf16"]),
        (ARM.format(""), []),
        (ARM.format(" bf16 i8mm"), ["bf16"]),
        ("processor : 0\nmodel name : one that says no more\n", None),
    ],
)
def test_the_processor_decides_without_timing(machine, says, units):
    # By the stopwatch both would be chosen otherwise.
    seconds = {"float32": 1.0, "bfloat16": 0.1} if units == [] else {"float32": 1.0, "bfloat16": 9}
    timed = machine(seconds, says=says)
    assert processor.bfloat16_units() == units
    policy, reason = choose_precision("auto")
    if units is None:
        assert timed == ["float32", "bfloat16"]
        return
    assert timed == []
    if units:
        assert policy == "mixed_bfloat16"
        assert reason == f"precision: mixed_bfloat16 (the processor has {', '.join(units)})."
    else:
        assert policy == "float32"
        assert reason == "precision: float32 (the processor can't multiply bfloat16)."


def test_units_that_the_backend_does_not_use_decide_nothing(machine, monkeypatch):
    says = X86.format(" avx512_bf16")
    timed = machine({"float32": 1.0, "bfloat16": 2.0}, says=says, backend="jax")
    assert choose_precision("auto")[0] == "float32"
    assert timed == ["float32", "bfloat16"]
    machine({}, says=says)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    expected = "precision: float32 (TF_ENABLE_ONEDNN_OPTS is 0)."
    assert choose_precision("auto") == ("float32", expected)


def test_what_was_measured_is_noted_and_measured_once(machine, tmp_path):
    machine({"float32": 1.6, "bfloat16": 1.0})
    first, reason = choose_precision("auto")
    timed = machine({"float32": 0.8, "bfloat16": 1.0})  # busy now
    assert choose_precision("auto") == (
        first,
        f"{reason.removesuffix(').')}; noted in {tmp_path / 'keras' / 'unet_precision.json'}).",
    )
    assert (first, timed) == ("mixed_bfloat16", [])
    (tmp_path / "keras" / "unet_precision.json").write_text("[")
    assert choose_precision("auto")[0] == "float32"  # what can't be read is measured anew


def test_notes_are_of_one_machine_and_backend(machine, tmp_path, monkeypatch):
    fast, slow = {"float32": 2.0, "bfloat16": 1.0}, {"float32": 1.0, "bfloat16": 1.0}
    machine(fast)
    assert choose_precision("auto")[0] == "mixed_bfloat16"
    machine(slow, backend="torch")
    assert choose_precision("auto")[0] == "float32"
    machine(slow)
    assert choose_precision("auto")[0] == "mixed_bfloat16"
    monkeypatch.setattr(precision.platform, "node", lambda: "another")
    assert choose_precision("auto")[0] == "float32"
    information = tmp_path / "gpus" / "0000:01:00.0" / "information"
    information.parent.mkdir(parents=True)
    for model, policy in (("A", "mixed_bfloat16"), ("B", "float32"), ("A", "mixed_bfloat16")):
        information.write_text(f"Model: \t\t {model}\nIRQ: 1\n")
        seconds = (fast if model == "A" else slow) | {"float16": 1.0}
        machine(seconds, gpus=["gpu:0"])
        assert choose_precision("auto")[0] == policy


def test_where_nothing_can_be_noted_it_is_measured_each_time(machine, tmp_path):
    (tmp_path / "keras").write_text("a file")
    for seconds in ({"float32": 2.0, "bfloat16": 1.0}, {"float32": 1.0, "bfloat16": 1.0}):
        timed = machine(seconds)
        choose_precision("auto")
        assert timed == ["float32", "bfloat16"]


@pytest.mark.parametrize(
    ("trained", "flags", "gpus", "expected"),
    [
        ("float32", " amx_bf16", (), ("float32", "as in training.")),
        ("mixed_bfloat16", " amx_bf16", (), ("mixed_bfloat16", "as in training.")),
        ("mixed_bfloat16", "", (), ("float32", "in mixed_bfloat16, which is slow here.")),
        ("mixed_float16", "", (), ("float32", "in mixed_float16, which is slow here.")),
        ("mixed_float16", "", ("gpu:0",), ("mixed_float16", "as in training.")),
        ("", "", (), ("float32", "(the processor can't multiply bfloat16).")),
    ],
)
def test_auto_computes_as_in_training_unless_that_is_slow(machine, trained, flags, gpus, expected):
    machine({}, says=X86.format(flags), gpus=gpus)
    policy, reason = choose_precision("auto", trained)
    assert policy == expected[0]
    assert reason.endswith(expected[1])
    assert choose_precision("mixed_bfloat16", trained)[0] == "mixed_bfloat16"


def test_it_says_whose_choice_it_is():
    assert choose_precision("float32", said="as in the run")[1] == (
        "precision: float32, as in the run."
    )


def test_timing_is_the_median_after_two_warm_ups(monkeypatch):
    # Seconds of each run; the first two, and the outlier, must not count.
    durations = [100.0, 100.0, 1.0, 3.0, 50.0]
    readings = iter([reading for seconds in durations for reading in (0.0, seconds)])
    # The module's own name, for others read the real clock.
    clock = SimpleNamespace(perf_counter=lambda: next(readings))
    monkeypatch.setattr(precision, "time", clock)
    assert precision.time_convolution("float32", repeats=3) == 3.0


@pytest.mark.parametrize("name", ["float32", "mixed_bfloat16"])
def test_dtype_policy_holds_inside_and_is_put_back(global_policy, name):
    keras.config.set_dtype_policy("mixed_float16")
    with dtype_policy(name):
        assert keras.config.dtype_policy().name == name
        assert keras.layers.Dense(1).dtype_policy.name == name
    assert keras.config.dtype_policy().name == "mixed_float16"


def test_dtype_policy_is_put_back_after_an_exception(global_policy):
    with pytest.raises(RuntimeError, match="inside"), dtype_policy("mixed_bfloat16"):
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        raise RuntimeError("inside")
    assert keras.config.dtype_policy().name == global_policy.name


def test_dtype_policies_nest(global_policy):
    with dtype_policy("mixed_bfloat16"):
        with dtype_policy("float32"):
            assert keras.config.dtype_policy().name == "float32"
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    assert keras.config.dtype_policy().name == global_policy.name


def test_an_unknown_policy_changes_nothing(global_policy):
    with pytest.raises(ValueError), dtype_policy("float99"):
        pass
    assert keras.config.dtype_policy().name == global_policy.name
