"""Work over many files in threads: in order, with a progress bar, in bounded memory."""

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

_WAITING = 8  # results that may wait for the consumer, a worker


def worker_count(num_workers):
    """Resolves 0, which means automatic, to the number of processors that may be used."""
    if num_workers:
        return num_workers
    usable = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(usable(0)) if usable else os.cpu_count() or 1


def ordered_map(function, items, workers, title, progress=True):
    """Applies a function to all items in threads and yields the results in order.

    At most a few items a worker are under way or waiting, however many there are.

    Args:
        function: callable of one item; NumPy, OpenCV and Pillow leave the interpreter's
            lock while they work, so threads are enough.
        items: sequence.
        workers: int, threads; 0: automatic.
        title: str, of the progress bar, which only a terminal shows.
        progress: bool, whether to show it at all.
    """
    workers = worker_count(workers)
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(desc=title, total=len(items), disable=None if progress else True, leave=False) as bar,
    ):
        waiting = deque()
        try:
            for item in items:
                if len(waiting) == workers * _WAITING:
                    yield waiting.popleft().result()
                    bar.update()
                waiting.append(pool.submit(function, item))
            while waiting:
                yield waiting.popleft().result()
                bar.update()
        finally:
            for future in waiting:
                future.cancel()
