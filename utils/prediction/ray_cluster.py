"""Ray, started here or joined: how many workers it is to hold, and that it is silent."""

import logging
import os
import signal
import socket
import threading
from contextlib import contextmanager

from errors import UserError
from utils.images.foreign import is_installed
from utils.messages import say
from utils.parallel import worker_count
from utils.quiet import quiet

_CPUS = 4  # of a worker, where nothing else is asked for: each holds the network
_PATIENCE = 10  # seconds for the first answer of a cluster
_STORE = 100 * 2**20  # bytes of Ray's memory for objects, which are none but names here


def check_ray():
    """Raises UserError if Ray is not installed."""
    if not is_installed("ray"):
        raise UserError("Ray is not installed: pip install -r requirements-ray.txt")


@contextmanager
def joined(address, count=0):
    """Starts Ray, or joins a cluster, and leaves it at the end.

    Args:
        address: str. "local": processes of this machine alone; "auto" or "HOST:PORT": those of a
            cluster that is there.
        count: int, workers; 0: one for each GPU, or else for every four processors.

    Yields:
        (the module `ray`, how many workers, dict of options by which each claims its place).

    Raises:
        UserError: if there is no such cluster.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # which otherwise go to Ray's makers
    import ray

    _join(address, count)
    try:
        count, claims = plan_workers(count, ray.nodes())
        say(f"Ray: {_describe(count, claims)}.")
        yield ray, count, claims
    finally:
        ray.shutdown()


def _join(address, count):
    """Starts Ray, or joins a cluster; either silently."""
    import ray

    here = {
        "num_cpus": max(count, worker_count(0)),
        "include_dashboard": False,
        "object_store_memory": _STORE,
    }
    options = here if address == "local" else {}
    handler = signal.getsignal(signal.SIGTERM)
    # Ray gives its own processes 30 seconds to start, which a busy machine may not have.
    attempts = 2 if address == "local" else 1
    for left in reversed(range(attempts)):
        try:
            _check_reachable(address)
            with quiet():
                ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **options)
            break
        except Exception as error:  # of whatever kind: there is none for what is meant
            ray.shutdown()
            if not left:
                raise UserError(
                    f"Ray can't be used at {address!r} ({last_line(error)}). Start a cluster (ray "
                    "start --head) and give its HOST:PORT, or give local."
                ) from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)  # Ray's own would leave out what cleans up


def _knock(address):
    """Raises OSError where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


def _check_reachable(address):
    """Raises OSError if nothing answers at HOST:PORT, where Ray would try for many minutes."""
    host, _, port = address.rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()


def plan_workers(count, nodes):
    """How many workers there are to be, and what each claims of a machine.

    Args:
        count: int, those that are asked for; 0: as many as make sense.
        nodes: list of dict, as `ray.nodes` gives it.

    Returns:
        (int, dict of options for `ray.remote`).
    """
    machines = [node["Resources"] for node in nodes if node["Alive"]]
    gpus = int(sum(one.get("GPU", 0) for one in machines))
    processors = [int(one["CPU"]) for one in machines if one.get("CPU", 0) >= 1] or [1]
    if gpus:
        return count or gpus, {"num_cpus": 1, "num_gpus": 1}
    count = count or max(1, sum(processors) // _CPUS)
    # No more than the smallest machine has: a worker must find its place.
    return count, {"num_cpus": max(1, min(sum(processors) // count, *processors))}


def last_line(error):
    """The last line of an exception's text: what Ray says before is where it happened."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip(" .")


def _describe(count, claims):
    number = claims["num_cpus"]
    place = f"{number} processor{'s' if number > 1 else ''}"
    place = "a GPU" if "num_gpus" in claims else place
    return f"{count} workers with {place} each" if count > 1 else f"1 worker with {place}"
