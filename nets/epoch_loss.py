"""The loss of many batches as one, which does not depend on how they were cut.

The mean of the batches' losses does: Dice averages over the classes, and a batch of two images
holds fewer of them than one of sixteen; and a batch of void alone has loss 0. So the pixel's
term is averaged over all valid pixels, and Dice comes from sums over all of them:

    loss = sum_b valid_b pixel_b / sum_b valid_b  +  Dice(sum_b tp, sum_b p, sum_b y)
"""

import keras
from keras import ops

from nets import losses


class EpochLoss(keras.metrics.Metric):
    """A metric that is the loss of all batches since its reset, taken as one batch.

    Named "loss", it takes in Keras' logs the place of the mean over the batches.

    Args:
        pixel_loss: callable of (y_true, y_pred), a mean over valid pixels: of `nets.losses`, one
            without Dice, from logits.
        num_classes: int.
        dice: bool, whether Dice loss is added.
        dice_present_only: bool, as in `nets.losses.dice_loss_with_CE`.
        name: str.
    """

    def __init__(self, pixel_loss, num_classes, dice, dice_present_only=False, name="loss"):
        super().__init__(name=name, dtype="float32")
        self.pixel_loss = pixel_loss
        self.dice = dice
        self.dice_present_only = dice_present_only
        # On several devices each adds its own part; they are summed when the result is asked for.
        self._pixel_sum = self.add_variable((), "zeros", name="pixel_sum")
        self._valid = self.add_variable((), "zeros", name="valid")
        names = ("tp", "predicted", "support") if dice else ()
        self._sums = [self.add_variable((num_classes,), "zeros", name=name) for name in names]

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch; `sample_weight` is what the pixel's loss takes as a third argument."""
        y_pred = ops.stop_gradient(y_pred)
        more = () if sample_weight is None else (sample_weight,)
        pixels, sums = losses.batch_sums(y_true, y_pred)
        self._pixel_sum.assign_add(self.pixel_loss(y_true, y_pred, *more) * pixels)
        self._valid.assign_add(pixels)
        for variable, value in zip(self._sums, sums, strict=False):  # none without Dice
            variable.assign_add(value)

    def result(self):
        """The loss, a scalar; 0 of nothing but void."""
        loss = self._pixel_sum / ops.maximum(self._valid, 1.0)
        if self.dice:
            sums = [ops.convert_to_tensor(variable) for variable in self._sums]
            loss = loss + losses.dice_of_sums(*sums, present_only=self.dice_present_only)
        return loss
