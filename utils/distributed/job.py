"""What environment variables say of a training on several machines."""

import json
import re
from typing import NamedTuple

from errors import UserError

PREFIX = "KERAS_DISTRIBUTION_"


class Job(NamedTuple):
    """Several processes that train together, as the environment says."""

    address: str
    processes: int
    process: int


def read_job(environment):
    """Reads what Keras' variables say of several machines.

    Args:
        environment: dict, `os.environ`.

    Returns:
        Job, or None without such variables or for a single process.

    Raises:
        UserError: if they say too little or what can't be.
    """
    names = [PREFIX + name for name in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")]
    given = [environment.get(name) for name in names]
    if not any(given):
        return None
    missing = [name for name, value in zip(names, given, strict=True) if not value]
    if missing:
        raise UserError(
            f"For a training on several machines {' and '.join(missing)} must be set too; for "
            f"one on this machine alone, unset all that begin with {PREFIX}."
        )
    addresses = given[0].split(",")
    try:
        processes, process = int(given[1]), int(given[2])
    except ValueError:
        processes, process = 0, 0
    if not 0 <= process < processes or len(addresses) not in (1, processes):
        raise UserError(
            f"{PREFIX}PROCESS_ID must be 0 to {names[1]} - 1, and {names[0]} the address of "
            f"process 0, or one per process; got {given[2]}, {given[1]} and {given[0]}."
        )
    if not re.fullmatch(r".+:\d+", addresses[0]):
        raise UserError(f"{names[0]} must name a port, as in 10.0.0.1:1234; got {given[0]}.")
    return Job(addresses[0], processes, process) if processes > 1 else None


def count_tf_workers(environment):
    """Machines that TF_CONFIG, TensorFlow's own variable, lists."""
    try:
        cluster = json.loads(environment.get("TF_CONFIG") or "{}").get("cluster", {})
        return sum(len(cluster.get(job, ())) for job in ("chief", "worker"))
    except (ValueError, AttributeError, TypeError):
        return 0
