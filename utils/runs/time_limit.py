"""A training's time: how much of it is gone, and when the last step must end. Needs no Keras.

    begin        training begins                       training ends         the limit
      |-- setup --|------ steps, now and then scores ------|---- reserve ----|
                 share 0                                share 1

The reserve is what validating, scoring and saving take after the last step.
"""

import math
import time

from errors import UserError

_SPENT = 0.15  # share of the time so far that validation may take, but for the last one


class TimeLimit:
    """The clock of a run with a time limit, over all its phases.

    Args:
        seconds: float, what the whole run may take; 0: no limit.
        now: callable that gives seconds. The run begins at its value of now.

    Attributes:
        reserve: float, seconds from the last step to the end.
        over: bool, whether the time for training was used up.
        validated: bool, whether the latest epoch was validated.
        rate: float, the learning rate of now.
    """

    def __init__(self, seconds, now=time.monotonic):
        self.seconds = seconds
        self.reserve = 0.0
        self.rate = 0.0
        self.over = self.validated = False
        self._now = now
        self._begin, self._used = now(), 0.0
        self._setup = None
        self._validating = 0.0

    def __bool__(self):
        return self.seconds > 0

    def elapsed(self):
        """Seconds since the run began, those before an interruption included."""
        return self._used + self._now() - self._begin

    def left(self):
        """Seconds until the limit, at least 0."""
        return max(self.seconds - self.elapsed(), 0.0)

    def start_training(self):
        """Says that the setup is over; of a run that resumes, its first setup counts."""
        if self._setup is None:
            self._setup = self.elapsed()

    def share(self):
        """How much of the time for training is gone, 0 to 1."""
        gone = self.elapsed() - (self._setup or 0.0)
        return min(max(gone / self._room, 0.0), 1.0) if self._room > 0 else 1.0

    def until(self, share):
        """Seconds from now until a share of the time for training is gone."""
        return max(share - self.share(), 0.0) * max(self._room, 0.0)

    @property
    def _room(self):
        return self.seconds - self.reserve - (self._setup or 0.0)

    def is_finished(self):
        """Whether the run is over with the epoch that ends now: validated, and no time is left."""
        self.over = self.over or (self.validated and self.share() >= 1)
        return self.over

    def check(self, expected, what):
        """Raises UserError unless there is time for some training before the last validation.

        Args:
            expected: float, seconds that a validation with all that belongs to it takes.
            what: str, what is validated, for the user.
        """
        self.reserve = expected
        if self.left() > expected * 1.25:
            return
        gone = self.elapsed()
        enough = math.ceil((gone + 2 * expected) / 6) / 10  # as much training as validation
        raise UserError(
            f"time_limit is {self.seconds / 60:g} minutes. {gone / 60:.1f} are gone, and to "
            f"validate and score {what} takes about {expected / 60:.1f}, which leaves nothing to "
            f"train in. Set time_limit to at least {enough:g}, or validate fewer images (val_list) "
            "or smaller ones (val_input_shape)."
        )

    def is_validation_due(self):
        """Whether validating now leaves time to train, and has not taken too much of it so far."""
        cost = self._validating + self.reserve
        return self.elapsed() + 2 * self.reserve < self.seconds and cost < _SPENT * self.elapsed()

    def count_validation(self, seconds):
        """Takes what the latest validation took, with scoring and saving."""
        self._validating += seconds
        self.reserve = 1.05 * seconds

    @property
    def state(self):
        """What a run that resumes must know, as JSON can hold it; may be set."""
        return {
            "seconds": self.elapsed(), "setup": self._setup, "reserve": self.reserve,
            "validating": self._validating,
        }  # fmt: skip

    @state.setter
    def state(self, state):
        self._begin, self._used = self._now(), state["seconds"]
        self._setup, self.reserve = state["setup"], state["reserve"]
        self._validating = state["validating"]
