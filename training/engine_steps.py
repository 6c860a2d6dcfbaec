"""The process of an engine's trial: takes real training steps on noise, when it is asked to.

`training.engine_trial` starts it as `python -m training.engine_steps` and writes lines of JSON: the
job, then {"fused": true} for a step with that form of the decoder. Each is answered by a line:
{"seconds", "loss", "policy"}. The end of its input ends it.
"""

import json
import os
import sys
import time
from functools import cache

from training.settings import NetworkSettings
from utils.runs.memory import return_free_memory


def main(lines=sys.stdin):
    """Answers the lines that come in."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what libraries print is no answer
    step = open_job(json.loads(next(lines)))
    for line in lines:
        print(json.dumps(step(**json.loads(line))), file=answers, flush=True)


def open_job(job):
    """Loads Keras and makes what takes a step.

    Args:
        job: dict with "network", fields of `training.settings.NetworkSettings`, and "batch_size".

    Returns:
        callable of `fused` that gives a dict: seconds, loss, and the number format's name.

    Raises:
        RuntimeError: on a GPU, where nothing of this is to be chosen.
    """
    fields = job["network"].items()  # JSON has lists for tuples
    network = NetworkSettings(
        **{name: tuple(value) if isinstance(value, list) else value for name, value in fields}
    )
    if network.recompute:
        return_free_memory()
    import keras

    from nets.precision import choose_precision
    from training.machine import draw_noise, has_gpu, make_trainer

    if has_gpu():
        raise RuntimeError("Engines are of CPUs.")
    policy, _ = choose_precision(network.precision)
    batch = draw_noise(network, job["batch_size"], network.input_shape)

    @cache
    def trainer(fused):
        keras.utils.set_random_seed(network.seed)  # the same start for both forms
        return make_trainer(network, policy, fused)

    def step(fused):
        train = trainer(fused).train_on_batch
        begin = time.perf_counter()
        loss, *_ = train(*batch)
        return {"seconds": time.perf_counter() - begin, "loss": float(loss), "policy": policy}

    return step


if __name__ == "__main__":
    main()
