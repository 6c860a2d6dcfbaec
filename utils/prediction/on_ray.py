"""A folder of images on Ray: workers, on one machine or many, segment it.

Ray places the workers, starts one again that was killed, and gives it its images again. Results
are whole files or none, so that what it had done by then is written once more, the same.
Program, weights, images and results lie in folders that all machines share.
"""

import logging
import os
import socket
import time
from collections import deque
from collections.abc import Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from errors import RunError, UserError
from utils.messages import LOGGER, note, say
from utils.prediction.folder import Here
from utils.prediction.ray_cluster import joined, last_line

_RETRIES = 3  # of images whose worker ended: they may be what it ended of
_CHUNKS = 4  # for each worker at least, if there are images enough, so that all end together
_BATCHES = 16  # in a chunk at most: what is lost with a worker is done again
_PATIENCE = 60  # seconds in which a network's file system shows what another machine wrote
_SHARED = (
    "On Ray, all machines share the folders of the program, the images and the results, under the "
    "same paths."
)
_PASSED_ON = ("KERAS_", "TF_")  # how variables begin that say how to compute


class Reply(NamedTuple):
    """What a worker has to say.

    Attributes:
        failed: dict, {Result: message} of the images that failed.
        sizes: sequence, as of `utils.prediction.outputs.Outputs`.
        notes: sequence of str, for users.
        facts: of the network, once it is loaded: (texts, names of classes, value range).
    """

    failed: dict[Any, str]
    sizes: Sequence[Any] = ()
    notes: Sequence[str] = ()
    facts: tuple[Any, ...] | None = None


class Worker:
    """A network in a process of Ray's; it is loaded when it is first needed.

    Args:
        load: callable that loads the `unet.Unet`.
        job: `utils.prediction.folder.Job`.
        folder: str, that paths are relative to.
    """

    def __init__(self, load, job, folder):
        self._load, self._job, self._folder = load, job, folder
        self._notes = _Notes()
        LOGGER.addHandler(self._notes)

    @cached_property
    def _here(self):
        try:
            os.chdir(self._folder)
        except OSError as error:
            raise UserError(
                f"The machine {socket.gethostname()} can't open {self._folder} "
                f"({error.strerror}). {_SHARED}"
            ) from None
        return Here(self._load(), self._job)

    def start(self):
        """Loads the network."""
        here = self._here
        return Reply({}, (), self._notes.take(), (here.texts, here.names, here.value_range))

    def segment(self, results):
        """Segments the images of Results, and saves what comes of them."""
        here, outputs = self._here, self._job.open_outputs()
        with outputs.writing(here.names):
            failed = here.segment(results, outputs, progress=False)
        return Reply(failed, outputs.sizes, self._notes.take())


class _Notes(logging.Handler):
    """Keeps what users should know, since nobody sees the output of workers."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self._texts = []

    def emit(self, record):
        self._texts.append(record.getMessage())

    def take(self):
        texts, self._texts = self._texts, []
        return texts


class OnRay:
    """Networks in Ray's processes, as `utils.prediction.folder.Here` is one in this.

    Args:
        workers: list of actors of the class Worker.
        batch_size: int, images the network takes at a time.

    Attributes:
        names, value_range: as of Here.
    """

    def __init__(self, workers, batch_size):
        self._count, self._batch_size = len(workers), batch_size
        self._running = {worker.start.remote(): (worker, []) for worker in workers}
        self._free, self._told = [], set()
        facts = None
        while not facts:  # of the first that has a place and a network
            _, facts = self._take({}, None)
        texts, self.names, self.value_range = facts
        for text in texts:
            say(text)

    def segment(self, results, outputs):
        """Segments images and saves their results; as `Here.segment`."""
        chunks = deque(divide(results, self._count, self._batch_size))
        failed, unseen, left = {}, [], len(results)
        with tqdm(desc="Predicting", total=left, disable=None, leave=False) as bar:
            self._give(chunks)
            while left:
                images, _ = self._take(failed, outputs)
                self._give(chunks)  # before the look at the files, which may take a while
                unseen += outputs.left_of([one for one in images if one not in failed])
                left -= len(images)
                bar.update(len(images))
        wait_for(unseen, outputs)
        return {one: failed[one] for one in results if one in failed}

    def _give(self, chunks):
        """Gives all workers that have nothing to do a chunk of those that are left."""
        while chunks and self._free:
            worker, chunk = self._free.pop(), chunks.popleft()
            self._running[worker.segment.remote(chunk)] = worker, chunk

    def _take(self, failed, outputs):
        """Waits for a reply; returns (images that it is about, facts)."""
        import ray
        from ray.exceptions import ActorDiedError, RayActorError, RayTaskError

        if not self._running:
            raise RunError(
                "No worker is left on Ray, for the reasons above. Start again, with --resume."
            )
        [reference], _ = ray.wait(list(self._running), num_returns=1)
        worker, images = self._running.pop(reference)
        try:
            reply = ray.get(reference)
        except RayTaskError as error:
            known = isinstance(error.cause, (UserError, RunError, OSError))
            raise error.cause if known else error from None
        except RayActorError as error:
            reply = Reply({one: _describe_end(one, error) for one in images})
            if isinstance(error, ActorDiedError):  # Ray does not start it again
                note(f"a worker on Ray is gone: {last_line(error)}")
                worker = None
        self._free += [worker] if worker else []
        failed |= reply.failed
        if outputs:
            outputs.sizes += reply.sizes
        for text in reply.notes:
            if text not in self._told:
                self._told.add(text)
                note(text)
        return images, reply.facts


def _describe_end(result, error):
    return (
        f"The image {result} was not finished: the worker that had it, with others, ended again "
        f"and again ({last_line(error)})."
    )


def divide(results, workers, batch_size):
    """Lists of Results for one call each.

    They are full batches but for the end of the last, as without Ray, so that the network sees
    the same arrays and the bytes come out the same.
    """
    batches = len(results) // (workers * _CHUNKS * batch_size)
    size = batch_size * min(max(batches, 1), _BATCHES)
    starts = list(range(0, len(results), size))
    if len(starts) > 1 and len(results) - starts[-1] < batch_size:
        starts.pop()
    return [results[start:end] for start, end in pairwise((*starts, len(results)))]


def wait_for(results, outputs):
    """Waits until all files of Results are seen here; RunError if they don't come."""
    end = time.monotonic() + _PATIENCE
    while results := outputs.left_of(results):
        if time.monotonic() > end:
            raise RunError(
                f"{len(results)} images are segmented, but their results are not here, such as "
                f"{results[0].drawn}. {_SHARED}"
            )
        time.sleep(1)


@contextmanager
def open_on_ray(load, job, address, count=0):
    """Gives the network OnRay.

    Args:
        load: callable that loads the `unet.Unet`, which can be sent to other processes.
        job: `utils.prediction.folder.Job`.
        address, count: as for `utils.prediction.ray_cluster.joined`.
    """
    with joined(address, count) as (ray, count, claims):
        actor = ray.remote(Worker).options(
            max_restarts=-1,
            max_task_retries=_RETRIES,
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": _variables(claims)},
            **claims,
        )
        workers = [actor.remote(load, job, os.getcwd()) for _ in range(count)]
        yield OnRay(workers, job.batch_size)


def _variables(claims):
    """Those of this process that workers need too: a cluster's own processes lack them."""
    found = {name: os.environ[name] for name in os.environ if name.startswith(_PASSED_ON)}
    root = Path(__file__).resolve().parents[__name__.count(".")]  # where imports begin
    paths = (str(root), os.environ.get("PYTHONPATH", ""))
    found["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    if "num_gpus" not in claims:  # side by side, workers with all processors each are slower
        found["TF_NUM_INTRAOP_THREADS"] = str(claims["num_cpus"])
    return found
