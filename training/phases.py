"""The phases of a training: encoder frozen, then everything. Needs no Keras."""

from dataclasses import dataclass, replace

from errors import UserError, check_at_least

ENDLESS = 10**6  # epochs, more than any time limit has


@dataclass(frozen=True)
class Phase:
    """A stretch of epochs with one set of trainable layers.

    Attributes:
        title: str, for the user.
        first_epoch, last_epoch: int, it trains the epochs first_epoch..last_epoch - 1, from 0.
        batch_size: int, images per step.
        train_encoder: bool.
        share: float, of the time limit that is gone when it ends; None: there is no limit.
        ends_run: bool, whether it is the last one.
    """

    title: str
    first_epoch: int
    last_epoch: int
    batch_size: int
    train_encoder: bool
    share: float | None = None
    ends_run: bool = True

    @property
    def batch_setting(self):
        """The name of the setting that `batch_size` comes from."""
        return "unfreeze_batch_size" if self.train_encoder else "freeze_batch_size"


class PhaseRecord:
    """Which phase a run is in, for its state: what is thawed stays so when the run resumes.

    Attributes:
        title: str, of the phase that trains or trained last; "": none, or not known.
        thawed: bool, whether the encoder has been thawed.
    """

    def __init__(self):
        self.title, self.thawed = "", False

    def start(self, phase):
        """Notes that a phase begins."""
        self.title = phase.title
        self.thawed = phase.train_encoder

    @property
    def state(self):
        """{"title", "thawed"}, as JSON can hold it; may be set."""
        return {"title": self.title, "thawed": self.thawed}

    @state.setter
    def state(self, state):
        self.title, self.thawed = state["title"], state["thawed"]


@dataclass(frozen=True)
class PhaseSettings:
    """The settings of train.py that decide the phases."""

    init_epoch: int = 0
    freeze_train: bool = False
    freeze_epoch: int = 50
    freeze_batch_size: int = 2
    unfreeze_epoch: int = 100
    unfreeze_batch_size: int = 2
    time_limit: float = 0.0

    def __post_init__(self):
        check_at_least(self, 0, "init_epoch")
        check_at_least(self, 0, "time_limit")
        check_at_least(self, 1, "freeze_batch_size", "unfreeze_batch_size")
        if self.init_epoch >= self.unfreeze_epoch:
            raise UserError(
                f"There is no epoch to train: init_epoch is {self.init_epoch}, unfreeze_epoch "
                f"(the last one) is {self.unfreeze_epoch}."
            )

    def plan(self, start):
        """The phases that have any epochs, as a list of Phase.

        With a time limit the epochs have no end, and the phases share the time as they would
        share the epochs.

        Args:
            start: str, what the network starts from; without anything nothing is frozen.
        """
        thaw = self.init_epoch
        if self.freeze_train and start:
            thaw = max(thaw, min(self.freeze_epoch, self.unfreeze_epoch))
        if self.time_limit:
            return self._by_time((thaw - self.init_epoch) / (self.unfreeze_epoch - self.init_epoch))
        phases = (
            Phase("encoder frozen", self.init_epoch, thaw, self.freeze_batch_size, False),
            Phase("all layers", thaw, self.unfreeze_epoch, self.unfreeze_batch_size, True),
        )
        return _mark_last([phase for phase in phases if phase.first_epoch < phase.last_epoch])

    def _by_time(self, frozen):
        first, last = self.init_epoch, self.init_epoch + ENDLESS
        phases = (
            (frozen, Phase("encoder frozen", first, last, self.freeze_batch_size, False, frozen)),
            (1 - frozen, Phase("all layers", first, last, self.unfreeze_batch_size, True, 1.0)),
        )
        return _mark_last([phase for length, phase in phases if length > 0])


def _mark_last(phases):
    return [*(replace(phase, ends_run=False) for phase in phases[:-1]), phases[-1]]
