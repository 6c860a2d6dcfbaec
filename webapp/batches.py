"""The network's threads: what waits is segmented in batches, and each gets an answer of its own."""

import contextlib
import itertools
import queue
import tempfile
import threading
from concurrent.futures import Future
from pathlib import Path

import numpy as np

from utils.messages import say

_THREADS = 2  # one reads or writes images while the other has the network


class FullError(Exception):
    """All places are taken."""


class Job:
    """An image on its way through the network, in a place that it holds until it is answered.

    Args:
        path: Path of its file, which the owner writes before the job is put into the queue.

    Attributes:
        path: as given.
        future: concurrent.futures.Future of what `answer` returns; cancelled while it waits, the
            job is left out.
        answer: callable of (path, pixels uint8 (H, W, in_channels), mask uint8 (H, W)), run in a
            thread; set before the job is put.
    """

    def __init__(self, path):
        self.path = path
        self.future = Future()
        self.answer = None

    def settle(self, outcome):
        """Takes its `utils.prediction.stream.Outcome`."""
        if outcome.error:
            self.future.set_exception(outcome.error)
        else:
            self.future.set_result(outcome.value)


class Batches:
    """Segments the images of jobs: those that wait together make a batch.

    Args:
        load: callable that returns a `unet.Unet`, called in a thread.
        batch_size: int, images a call of the network.
        places: int, jobs that there may be at a time, waiting or not.
        failed: callable without arguments, called if loading fails.

    Attributes:
        unet: `unet.Unet`, or None until it is loaded.
        error: the exception that kept it from being loaded, or None.
        places, taken: int, jobs that there may be, and that there are.
    """

    def __init__(self, load, batch_size, places, failed=lambda: None):
        self._load, self._failed, self._batch_size = load, failed, batch_size
        self._queue = queue.SimpleQueue()
        self._lock, self._numbers = threading.Lock(), itertools.count()
        self._loader = threading.Thread(target=self._start_work, name="loading")
        self._workers = [
            threading.Thread(target=self._work, name="network") for _ in range(_THREADS)
        ]
        self.unet = self.error = None
        self.places, self.taken = places, 0

    @property
    def status(self):
        """ "loading", "ready", or "stopped": a thread that should run does not."""
        if self._loader.is_alive():
            return "loading"
        is_ready = self.unet and all(worker.is_alive() for worker in self._workers)
        return "ready" if is_ready else "stopped"

    @contextlib.contextmanager
    def running(self):
        """Loads and works while inside; at the end what is in the queue is still answered."""
        with tempfile.TemporaryDirectory(prefix="unet_", ignore_cleanup_errors=True) as folder:
            self._folder = Path(folder)  # only this user can read it
            self._loader.start()
            try:
                yield
            finally:
                self._queue.put(None)
                self._loader.join()
                for worker in self._workers:
                    if worker.ident:  # it was started
                        worker.join()

    def admit(self):
        """A Job with a place; whoever asked for it puts or cancels it.

        Raises:
            FullError: if there is no place.
        """
        with self._lock:
            if self.taken >= self.places:
                raise FullError
            self.taken += 1
            job = Job(self._folder / str(next(self._numbers)))
        job.future.add_done_callback(lambda _: self._release(job))
        return job

    def _release(self, job):
        with contextlib.suppress(OSError):
            job.path.unlink(missing_ok=True)
        with self._lock:
            self.taken -= 1

    def put(self, job):
        """Puts a job into the queue."""
        self._queue.put(job)

    def _start_work(self):
        try:
            unet = self._load()
            self._warm_up(unet)
        except BaseException as error:  # whatever it is, somebody waits for the end of the loading
            self.error = error
            self._failed()
            return
        self.unet = unet
        for worker in self._workers:
            worker.start()
        say("The network is loaded; images are segmented.")

    def _warm_up(self, unet):
        """Has the network compiled for batches of any size, which the first client waits for."""
        described = unet.description
        shape = (*described.network_shape, described.in_channels)
        for model, size in itertools.product(unet.models, (1, self._batch_size)):
            model.predict_on_batch(np.zeros((size, *shape), np.float32))

    def _work(self):
        jobs = []
        try:
            while jobs := self._take():
                self._segment(jobs)
        finally:
            for job in jobs:
                if not job.future.done():
                    job.future.set_exception(RuntimeError("The network's thread has ended."))

    def _take(self):
        """The jobs that wait, at most a batch; none at the end."""
        jobs = []
        while len(jobs) < self._batch_size:
            try:
                job = self._queue.get(block=not jobs)
            except queue.Empty:
                break
            if job is None:
                self._queue.put(None)  # for the other thread, and the next time
                break
            if job.future.set_running_or_notify_cancel():
                jobs.append(job)
        return jobs

    def _segment(self, jobs):
        """Segments the images of jobs; what breaks at one of them leaves the others alone."""
        by_path = {job.path: job for job in jobs}

        def finish(path, pixels, mask):
            return by_path[path].answer(path, pixels, mask)

        try:
            for outcome in self.unet.predict_files(list(by_path), self._batch_size, finish):
                by_path[outcome.item].settle(outcome)
        except Exception as error:
            left = [job for job in jobs if not job.future.done()]
            if len(left) == 1:
                left[0].future.set_exception(error)
                return
            for job in left:
                self._segment([job])
