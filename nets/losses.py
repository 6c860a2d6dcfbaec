"""Losses for semantic segmentation: cross-entropy, focal loss, and either with Dice.

Each factory returns `loss(y_true, y_pred, border=None)`, which `Model.compile` takes as it is.
`y_pred` is the softmax output (B, H, W, C), or with `from_logits` what goes into the softmax.
`y_true` is either

    class ids (B, H, W), where any id outside 0..C-1 is void, or
    one-hot (B, H, W, C + 1), where the last channel is void,

and both give equal results. Void pixels move neither the loss nor its gradient; a batch
of nothing but void has loss 0. Without void pixels these are the article's formulas:

    p     = clip(y_pred, eps, 1 - eps), or softmax(y_pred) from logits
    CE    = mean over pixels of -sum_c w_c y_c log p_c
    focal = mean over pixels of alpha (1 - pt)^gamma (-log pt),  log pt = sum_c w_c y_c log p_c
    Dice  = 1 - mean_c ((1 + b^2) tp + s) / ((1 + b^2) tp + b^2 fn + fp + s)

with tp = sum(y p), fp = sum(p) - tp, fn = sum(y) - tp over batch, height and width. Dice's
mean runs over all classes, those that the batch does not hold too, which score close to 0
however good the prediction: with 3 of 21 classes present a perfect one has a Dice loss of
0.857. With `dice_present_only` it runs over the classes present.

`border` is float (B, H, W), at least 0: what equation 2 of the U-Net paper adds to the weight of a
pixel's class. With it, b,

    CE    = mean over pixels of (w_c + b) (-log p_c),  c the pixel's class
    focal = mean over pixels of alpha (1 - pt)^gamma (w_c + b) (-log p_c),  pt as without it

and Dice stays as it is. As with class weights, the mean divides by the number of pixels that
are not void, not by the sum of their weights: the paper sums, too. So b adds to the loss without
lowering the share of the other pixels, and a batch without borders has the loss that it has
without `border`.

From logits, log p is a log-softmax. Where nothing saturates the results are the same, but
clipping takes away the gradient of the wrongest pixels, those whose class has a probability below
eps: training is from logits.

Differs from upstream: there, void pixels stay in CE's denominator and in Dice's fp.

Sources: the unet-keras article; Lin et al. 2017, arXiv:1708.02002 (focal loss); Milletari
et al. 2016, arXiv:1606.04797 (Dice loss); Ronneberger et al. 2015, arXiv:1505.04597 (border).
"""

import keras
from keras import ops


def CE(cls_weights=None, total=None, from_logits=False):
    """Cross-entropy, averaged over the pixels that are not void.

    Args:
        cls_weights: sequence of C floats, a weight for each class; None: all 1.
        total: callable as `ops.sum` that sums over the whole batch, where devices see only a
            part of it each; None: `ops.sum`.
        from_logits: bool, whether `y_pred` is what goes into the softmax.
    """

    def ce(y_true, y_pred, border=None):
        labels, valid, log_p, _ = _prepare(y_true, y_pred, from_logits)
        return _cross_entropy(labels, valid, log_p, cls_weights, border, total or ops.sum)

    return ce


def Focal_Loss(cls_weights=None, alpha=0.5, gamma=2, total=None, from_logits=False):
    """Focal loss, averaged over the pixels that are not void.

    Args:
        cls_weights: sequence of C floats, a weight for each class; None: all 1.
        alpha: float, a factor; None: 1.
        gamma: float, how much easy pixels count less.
        total, from_logits: as in `CE`.
    """

    def focal(y_true, y_pred, border=None):
        labels, valid, log_p, _ = _prepare(y_true, y_pred, from_logits)
        return _focal(labels, valid, log_p, cls_weights, border, alpha, gamma, total or ops.sum)

    return focal


def dice_loss_with_CE(
    cls_weights=None,
    beta=1,
    smooth=1e-5,
    dice_present_only=False,
    total=None,
    from_logits=False,
):
    """Cross-entropy plus Dice loss: the article's loss.

    Args:
        cls_weights: sequence of C floats, weights inside CE; None: all 1.
        beta: float, b in the formula: how much more recall counts than precision.
        smooth: float, s in the formula.
        dice_present_only: bool, whether Dice's mean leaves out classes without a pixel in
            the batch's truth.
        total, from_logits: as in `CE`.
    """
    total = total or ops.sum

    def dice_ce(y_true, y_pred, border=None):
        labels, valid, log_p, probabilities = _prepare(y_true, y_pred, from_logits)
        return _cross_entropy(labels, valid, log_p, cls_weights, border, total) + _dice(
            labels, valid, probabilities, beta, smooth, dice_present_only, total
        )

    return dice_ce


def dice_loss_with_Focal_Loss(
    cls_weights=None,
    beta=1,
    smooth=1e-5,
    alpha=0.5,
    gamma=2,
    dice_present_only=False,
    total=None,
    from_logits=False,
):
    """Focal loss plus Dice loss; arguments as in `Focal_Loss` and `dice_loss_with_CE`."""
    total = total or ops.sum

    def dice_focal(y_true, y_pred, border=None):
        labels, valid, log_p, probabilities = _prepare(y_true, y_pred, from_logits)
        return _focal(labels, valid, log_p, cls_weights, border, alpha, gamma, total) + _dice(
            labels, valid, probabilities, beta, smooth, dice_present_only, total
        )

    return dice_focal


def _prepare(y_true, y_pred, from_logits):
    """Returns one-hot labels (B, H, W, C), validity (B, H, W), log p and p (B, H, W, C)."""
    y_pred = ops.cast(y_pred, "float32")
    num_classes = y_pred.shape[-1]
    if len(y_true.shape) not in (3, 4) or (
        len(y_true.shape) == 4 and y_true.shape[-1] != num_classes + 1
    ):
        raise ValueError(
            "y_true must be class ids (B, H, W) or one-hot with void last (B, H, W, "
            f"{num_classes + 1}); got shape {tuple(y_true.shape)}."
        )
    if len(y_true.shape) == 4:
        labels = ops.cast(y_true[..., :-1], "float32")
        valid = 1.0 - ops.cast(y_true[..., -1], "float32")
    else:
        ids = ops.cast(y_true, "int32")
        is_valid = ops.logical_and(ids >= 0, ids < num_classes)
        valid = ops.cast(is_valid, "float32")
        # Void ids become class 0 first: some backends refuse ids out of range.
        labels = ops.one_hot(ops.where(is_valid, ids, 0), num_classes, dtype="float32")
        labels = labels * valid[..., None]
    if from_logits:
        log_p = ops.log_softmax(y_pred, axis=-1)
        return labels, valid, log_p, ops.exp(log_p)
    epsilon = keras.config.epsilon()
    probabilities = ops.clip(y_pred, epsilon, 1.0 - epsilon)
    return labels, valid, ops.log(probabilities), probabilities


def _valid_mean(values, valid, total):
    return total(values * valid) / ops.maximum(total(valid), 1.0)


def _weighted_log_likelihood(labels, log_p, cls_weights):
    log_p = labels * log_p
    if cls_weights is not None:
        if len(cls_weights) != log_p.shape[-1]:
            raise ValueError(
                f"cls_weights must hold {log_p.shape[-1]} numbers, one per class; got "
                f"{len(cls_weights)}."
            )
        log_p = log_p * ops.convert_to_tensor(cls_weights, dtype="float32")
    return ops.sum(log_p, axis=-1)


def _add_border(log_likelihood, labels, log_p, border):
    if border is None:
        return log_likelihood
    if len(border.shape) != 3:
        raise ValueError(f"border must be weights (B, H, W); got shape {tuple(border.shape)}.")
    border = ops.cast(border, "float32")
    return log_likelihood + border * ops.sum(labels * log_p, axis=-1)


def _cross_entropy(labels, valid, log_p, cls_weights, border, total):
    log_likelihood = _weighted_log_likelihood(labels, log_p, cls_weights)
    return _valid_mean(-_add_border(log_likelihood, labels, log_p, border), valid, total)


def _focal(labels, valid, log_p, cls_weights, border, alpha, gamma, total):
    log_pt = _weighted_log_likelihood(labels, log_p, cls_weights)
    # Void pixels (and classes of weight 0) have pt = 1, where the power's gradient can be
    # infinite; a tiny base keeps it finite, and 1 - pt of any other pixel is larger.
    modulation = ops.power(ops.maximum(1.0 - ops.exp(log_pt), keras.config.epsilon()), gamma)
    log_pt = _add_border(log_pt, labels, log_p, border)
    return _valid_mean(-modulation * log_pt * (1.0 if alpha is None else alpha), valid, total)


def _dice(labels, valid, probabilities, beta, smooth, present_only, total):
    sums = _dice_sums(labels, valid, probabilities, total)
    return dice_of_sums(*sums, beta, smooth, present_only)


def _dice_sums(labels, valid, probabilities, total):
    axes = (0, 1, 2)
    tp = total(labels * probabilities, axis=axes)
    predicted = total(probabilities * valid[..., None], axis=axes)
    return tp, predicted, total(labels, axis=axes)


def batch_sums(y_true, logits):
    """What losses are made of, of a batch, as `dice_of_sums` takes it.

    Returns:
        (pixels, (tp, predicted, support)): the number of valid pixels, and (C,) each: the sums of
        y p, p and y over them.
    """
    labels, valid, _, probabilities = _prepare(y_true, logits, from_logits=True)
    return ops.sum(valid), _dice_sums(labels, valid, probabilities, ops.sum)


def dice_of_sums(tp, predicted, support, beta=1, smooth=1e-5, present_only=False):
    """The Dice loss of one batch's sums, or of those added up over many."""
    fp, fn = predicted - tp, support - tp
    weighted_tp = (1.0 + beta**2) * tp
    score = (weighted_tp + smooth) / (weighted_tp + beta**2 * fn + fp + smooth)
    if present_only:
        present = ops.cast(support > 0, "float32")
        return ops.sum(present * (1.0 - score)) / ops.maximum(ops.sum(present), 1.0)
    return 1.0 - ops.mean(score)
