"""The devices that train together: one, several of a machine, or those of several machines.

One device needs nothing of this. Several of one machine share each batch through Keras'
`DataParallel` (JAX) or `MirroredStrategy` (TensorFlow). On several machines the same command
runs as one process each, on JAX, told by Keras' own environment variables:

    KERAS_BACKEND=jax
    KERAS_DISTRIBUTION_JOB_ADDRESSES=10.0.0.1:1234   where process 0 listens
    KERAS_DISTRIBUTION_NUM_PROCESSES=2
    KERAS_DISTRIBUTION_PROCESS_ID=0                  another on each machine

Process 0 is the chief: it alone writes files and prints. Batch sizes are of all devices
together, and weights come out as those of one device.
"""

import contextlib
import functools
import os
import pickle
import re

import numpy as np

from errors import RunError, UserError
from utils.distributed.devices import Devices
from utils.distributed.job import PREFIX, count_tf_workers, read_job
from utils.distributed.lost_process import LOST, end_at_exit, end_on_abort
from utils.quiet import quiet

_HEARTBEAT = 20  # seconds of silence after which a process counts as gone
_CONNECTION = re.compile(  # what JAX's errors say when another process doesn't answer
    r"gloo|nccl|connection|socket|coordination|heartbeat|UNAVAILABLE|DEADLINE_EXCEEDED", re.I
)


class _Mirrored(Devices):
    """Several devices of this machine, by TensorFlow."""

    def __init__(self, names):
        self.count = len(names)
        self._strategy = _strategy(tuple(names))

    def scope(self):
        return self._strategy.scope()

    def check(self, name, batch_size, accumulate_steps=1):
        super().check(name, batch_size, accumulate_steps)
        if accumulate_steps > 1:
            raise UserError(
                "TensorFlow can't average the gradients of several steps on several devices. Set "
                "accumulate_steps to 1 with a larger batch size, or set KERAS_BACKEND=jax."
            )

    @property
    def total(self):
        # Each device sees its part of the batch alone, and ratios of sums (Dice, the mean
        # over what is not void) are not means of such ratios.
        import tensorflow as tf

        def total(values, axis=None):
            sums = tf.reduce_sum(values, axis)
            replica = tf.distribute.get_replica_context()  # None while the network is built
            return replica.all_reduce("SUM", sums) if replica else sums

        return total


@functools.cache  # a second one for the same devices mixes its sums up with those of the first
def _strategy(names):
    import tensorflow as tf

    return tf.distribute.MirroredStrategy([name.upper() for name in names])


class _Sharded(Devices):
    """Several devices of this machine or of several, by JAX."""

    def __init__(self, names, process=0, processes=1):
        import keras

        self.count, self.process, self.processes = len(names), process, processes
        self._parallel = keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)
        keras.distribution.set_distribution(self._parallel)

    @contextlib.contextmanager
    def alone(self):
        import keras

        keras.distribution.set_distribution(None)
        try:
            yield
        finally:
            keras.distribution.set_distribution(self._parallel)

    def gather(self, value):
        if self.processes == 1:
            return [value]
        from jax.experimental.multihost_utils import process_allgather

        data = np.frombuffer(pickle.dumps(value), np.uint8)
        sizes = process_allgather(np.int32(len(data)))
        rows = process_allgather(np.pad(data, (0, int(sizes.max()) - len(data))))
        return [pickle.loads(row[:size]) for row, size in zip(rows, sizes, strict=True)]

    def from_chief(self, make):
        if self.processes == 1:
            return make()
        from jax.experimental.multihost_utils import broadcast_one_to_all

        value = make() if self.chief else None
        data = np.frombuffer(pickle.dumps(value), np.uint8)
        size = int(broadcast_one_to_all(np.int32(len(data))))
        data = data if self.chief else np.zeros(size, np.uint8)
        sent = broadcast_one_to_all(data)
        return value if self.chief else pickle.loads(np.asarray(sent).tobytes())


@contextlib.contextmanager
def open_devices(wanted):
    """Takes the devices of a training, and finds the other machines' processes.

    Meanwhile all but the chief print nothing. What goes wrong in one process ends all of them.

    Args:
        wanted: int, devices of this machine (of each machine); 0: all.

    Yields:
        Devices.

    Raises:
        UserError: if there are fewer, the backend can't, or the environment contradicts itself.
        RunError: if the processes don't find each other, or another one has ended.
    """
    job = read_job(os.environ)
    if job is None and wanted == 1 and count_tf_workers(os.environ) <= 1:
        yield Devices()
        return
    with quiet():
        import keras
    backend = keras.config.backend()
    _check_backend(backend, job)
    if job is None:
        with _one_process(backend, wanted) as devices:
            yield devices
        return
    try:
        _initialize(job)
        with contextlib.ExitStack() as stack:
            if job.process:
                silence = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
                stack.enter_context(contextlib.redirect_stdout(silence))
            stack.callback(keras.distribution.set_distribution, None)
            yield _Sharded(_names_of_job(wanted), job.process, job.processes)
    except BaseException as error:
        end_at_exit(error)
        if is_lost(error):
            raise RunError(LOST) from error
        raise


def is_lost(error):
    """Whether an exception is what JAX raises when another process is gone."""
    of_jax = isinstance(error, (RuntimeError, ValueError)) and not isinstance(error, UserError)
    return of_jax and _CONNECTION.search(str(error)) is not None


@contextlib.contextmanager
def _one_process(backend, wanted):
    import keras

    names = _first(keras.distribution.list_devices(), wanted)
    if len(names) == 1:
        yield Devices()
    elif backend == "tensorflow":
        yield _Mirrored(names)
    else:
        try:
            yield _Sharded(names)
        finally:
            keras.distribution.set_distribution(None)


def _check_backend(backend, job):
    several = job or count_tf_workers(os.environ) > 1
    if backend == "tensorflow" and several:
        raise UserError(
            "TensorFlow can't train on several machines in Keras 3 (its strategy for it fails "
            "in fit, see github.com/keras-team/keras/issues/20585). Install requirements-jax.txt "
            f"and set KERAS_BACKEND=jax and the three variables {PREFIX}...; docs/machines.md has "
            "the commands."
        )
    if backend not in ("tensorflow", "jax"):
        raise UserError(
            f"Several devices need TensorFlow or JAX; the backend is {backend}. Set "
            "KERAS_BACKEND=jax, or devices=1."
        )


def _first(names, wanted):
    if wanted > len(names):
        raise UserError(
            f"devices is {wanted}, but this machine has {len(names)} ({', '.join(names)}). Set "
            "devices to as many, or to 0 for all."
        )
    return names[:wanted] if wanted else names


def _initialize(job):
    import jax

    end_on_abort()
    try:
        with quiet():
            # Not `keras.distribution.initialize`, which can't shorten the heartbeat.
            jax.distributed.initialize(
                job.address, job.processes, job.process, heartbeat_timeout_seconds=_HEARTBEAT
            )
    except RuntimeError as error:
        raise RunError(
            f"The {job.processes} processes did not find each other: {str(error).splitlines()[0]} "
            f"Is process 0 running at {job.address}, can the others reach it, and has each a "
            f"{PREFIX}PROCESS_ID of its own?"
        ) from error


def _names_of_job(wanted):
    """The names of the devices of all processes, those of process 0 first."""
    import jax

    of_process = {}
    for device in jax.devices():
        names = of_process.setdefault(device.process_index, [])
        names.append(f"{device.platform}:{device.id}")
    chosen = [_first(names, wanted) for _, names in sorted(of_process.items())]
    counts = [len(names) for names in chosen]
    if len(set(counts)) > 1:
        raise UserError(
            f"Each machine must have as many devices as the others; they have {counts}. Set "
            f"devices to {min(counts)}."
        )
    return [name for names in chosen for name in names]
