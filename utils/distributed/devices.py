"""What a training asks of its devices. Here: one device in one process.

`utils.distributed.distribution` has those that share each batch.
"""

import contextlib

from errors import UserError


class Devices:
    """One device in one process; and what all kinds of devices can do.

    Attributes:
        count: int, devices of all processes.
        process: int, which process this is.
        processes: int, how many there are.
    """

    count, process, processes = 1, 0, 1

    @property
    def chief(self):
        """Whether this process writes files and prints."""
        return self.process == 0

    def scope(self):
        """A context in which networks and optimizers are made."""
        return contextlib.nullcontext()

    def alone(self):
        """A context in which this process computes on one device, whatever others do."""
        return contextlib.nullcontext()

    @property
    def total(self):
        """What sums over a whole batch, for `nets.losses`; None: the ordinary sum does."""
        return None

    def gather(self, value):
        """Every process' value, as a list in their order; all must call it."""
        return [value]

    def from_chief(self, make):
        """What `make()` returns on the chief, where alone it is called; all must call this."""
        return make()

    def check(self, name, batch_size, accumulate_steps=1):
        """Raises UserError if a phase can't be trained on these devices.

        Args:
            name: str, the setting that holds the batch size.
            batch_size: int, images of a batch of all devices.
            accumulate_steps: int, steps whose gradients are averaged.
        """
        rest = batch_size % self.count
        if rest:
            low, high = batch_size - rest, batch_size - rest + self.count
            sizes = f"{low} or {high}" if low else str(high)
            raise UserError(
                f"{name} is {batch_size}, which {self.count} devices can't share equally: it "
                f"counts the images of all of them together. Take {sizes}."
            )
