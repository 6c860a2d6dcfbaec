"""A short trial of engines: real training steps, in turn, in processes of their own. No Keras.

TensorFlow reads its environment once, so each environment needs a process. They start together,
compile, and then take a step in turn, so that what else the machine does meets them alike:

    fixed, onednn, onednn, fixed, fixed, onednn, ...

What is used today stays unless the other is clearly faster.
"""

import json
import math
import os
import queue
import statistics
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from training.engine import Engine

_ROOT = Path(__file__).resolve().parents[1]
_WORTH_IT = 0.95  # share of the time from which on another engine is taken
_SURE = 0.8  # share of the pairs in which it must be faster
_ROUNDS = 3, 15  # pairs of steps, least and most
_ENOUGH = 3.0  # seconds of steps after which the least will do
_SAME_LOSS = 0.05  # difference, as a share of it, that rounding may make


class TooSlow(Exception):  # noqa: N818
    """The time of the trial is over, or not enough for another pair."""


class Unfit(Exception):  # noqa: N818
    """An engine that can't be taken: its process has ended, or it computes something else."""

    def __init__(self, engine):
        super().__init__(str(engine))
        self.engine = engine


@dataclass
class Outcome:
    """What a trial found.

    Attributes:
        engine: Engine, the fastest.
        seconds: dict from engines as texts to the median of a training step.
        failed: bool, whether the usual engine's process ended, so that nothing was compared.
    """

    engine: Engine
    seconds: dict = field(default_factory=dict)
    failed: bool = False


def run_trial(job, usual, changes, budget, start=None):
    """Times training steps and chooses; never takes longer than its budget.

    Args:
        job: dict for `training.engine_steps`.
        usual: Engine, what holds unless another one is clearly faster.
        changes: list of dicts, fields of Engine to be tried one after the other: each on top of
            those that were found to be worth it.
        budget: float, seconds.
        start: callable from the job and variables of the environment to a `Process`.

    Returns:
        Outcome. Its times are empty if there was not enough time for any comparison.
    """
    outcome = Outcome(usual)
    with Trial(job, budget, start or Process) as trial:
        for change in changes:
            other = replace(outcome.engine, **change)
            try:
                pairs = trial.compare(outcome.engine, other)
            except TooSlow:
                break
            except Unfit as error:
                if error.engine != outcome.engine:
                    continue
                outcome.failed = not outcome.seconds  # the training itself will say why
                break
            medians = [statistics.median(column) for column in zip(*pairs, strict=True)]
            for engine, seconds in zip((outcome.engine, other), medians, strict=True):
                outcome.seconds.setdefault(str(engine), seconds)
            if is_faster(pairs):
                outcome.engine = other
    return outcome


def is_faster(pairs):
    """Whether the second of each pair of times is less than the first, beyond the noise."""
    ratios = [other / usual for usual, other in pairs]
    wins = sum(ratio < 1 for ratio in ratios)
    # What other programs take of the machine moves the least time of each the least.
    least = [min(times) for times in zip(*pairs, strict=True)]
    by_least = least[1] < _WORTH_IT * least[0]
    return by_least and statistics.median(ratios) < _WORTH_IT and wins >= _SURE * len(ratios)


class Trial:
    """The processes of a trial, and its clock; a context that ends them.

    Args:
        job, budget, start: as for `run_trial`.
    """

    def __init__(self, job, budget, start):
        self._job, self._start = job, start
        self._end = time.monotonic() + budget
        self._processes, self._first = {}, {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self._processes.values():
            process.end()

    def compare(self, usual, other):
        """Times steps of two engines in turn, after one that compiles.

        Returns:
            list of pairs of seconds.

        Raises:
            TooSlow: if there is no time for the least number of pairs.
            Unfit: if one of them fails, or does not compute what the other does.
        """
        self._compile(usual, other)
        if not _are_alike(self._first[usual], self._first[other]):
            raise Unfit(other)
        least, most = _ROUNDS
        pairs, begin = [], time.monotonic()
        while len(pairs) < most:
            order = (usual, other) if len(pairs) % 2 == 0 else (other, usual)
            seconds = {engine: self._step(engine)["seconds"] for engine in order}
            pairs.append((seconds[usual], seconds[other]))
            taken = time.monotonic() - begin
            if len(pairs) >= least and taken >= _ENOUGH:
                break
            needed = taken / len(pairs) * max(least - len(pairs), 1)
            if time.monotonic() + needed > self._end:
                if len(pairs) < least:
                    raise TooSlow
                break
        return pairs

    def _compile(self, *engines):
        """The first step of each; processes that are new start at once and work side by side."""
        new = [engine for engine in engines if engine not in self._first]
        for engine in new:
            self._open(engine)
        for engine in new:
            self._ask(engine)
        for engine in new:
            self._first[engine] = self._answer(engine)

    def _step(self, engine):
        self._ask(engine)
        return self._answer(engine)

    def _open(self, engine):
        if _environment(engine) not in self._processes:
            try:
                process = self._start(self._job, engine.environment)
            except OSError:  # no more processes, or no memory for one
                raise Unfit(engine) from None
            self._processes[_environment(engine)] = process

    def _ask(self, engine):
        self._processes[_environment(engine)].ask({"fused": engine.fused})

    def _answer(self, engine):
        left = max(self._end - time.monotonic(), 0.0)
        try:
            answer = self._processes[_environment(engine)].answer(left)
        except queue.Empty:
            raise TooSlow from None
        if answer is None:
            raise Unfit(engine)
        return answer


def _environment(engine):
    """What a process is for: both forms of the decoder are in one."""
    return replace(engine, fused=True)


def _are_alike(usual, other):
    """Whether first steps were of the same number format, with the same loss."""
    losses = usual["loss"], other["loss"]
    if usual["policy"] != other["policy"] or not all(map(math.isfinite, losses)):
        return False
    return abs(losses[0] - losses[1]) <= _SAME_LOSS * abs(losses[0])


class Process:
    """A process that takes training steps when it is asked to, see `training.engine_steps`.

    Args:
        job: dict that JSON can hold.
        environment: dict, variables beside those of this process.
    """

    def __init__(self, job, environment):
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "training.engine_steps"],
            cwd=_ROOT,
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        self._answers = queue.SimpleQueue()
        # Pipes have no time limit on every system, queues have.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.ask(job)

    def _read(self):
        for line in self._popen.stdout:
            self._answers.put(json.loads(line))
        self._answers.put(None)

    def ask(self, request):
        """Sends what JSON can hold; a process that has ended says so by its answer."""
        try:
            print(json.dumps(request), file=self._popen.stdin, flush=True)
        except OSError:
            self._answers.put(None)

    def answer(self, seconds):
        """The next answer, a dict; None: the process has ended.

        Raises:
            queue.Empty: if there is none within so many seconds.
        """
        return self._answers.get(timeout=seconds)

    def end(self):
        """Ends it at once, whatever it does."""
        self._popen.kill()
        self._popen.wait()
        self._reader.join()
        self._popen.stdout.close()
        with suppress(OSError):  # what it has not read is lost
            self._popen.stdin.close()
