"""For comparisons: calls timed in turn, and others' code in a process of its own."""

import json
import os
import subprocess
import time

import numpy as np


def time_in_turn(calls, rounds, warm_up=1):
    """{name: median seconds} of calls that are made in turn, after some that don't count."""
    seconds = {name: [] for name in calls}
    for turn in range(rounds + warm_up):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(times)) for name, times in seconds.items()}


class Upstream:
    """A process that runs code in a checkout of unet-tf2, under Keras 2, or PyTorch's.

    Args:
        python: path of an interpreter that has tf_keras.
        checkout: path.
        code: str, Python. It finds `options` as JSON in its first argument, reads requests as
            lines of JSON, and prints "done" after each.
        options: dict.
    """

    def __init__(self, python, checkout, code, options):
        self._process = subprocess.Popen(
            [python, "-c", code, json.dumps(options)],
            cwd=checkout,
            env=os.environ | {"TF_USE_LEGACY_KERAS": "1", "MPLBACKEND": "agg"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()

    def call(self, request):
        """Runs one request there and waits for its end."""
        print(json.dumps(request), file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            if line.startswith("done"):
                return
        raise RuntimeError("The other process ended.")
