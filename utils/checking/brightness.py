"""What the numbers of images beyond 8 bits lie in, and the one range that a set is read in.

No single pixel may decide: the range is the smallest usual one that holds all but a vanishing share
of the set's numbers, or, where none does or hardly any of it would be used, what 998 in 1,000 of
them lie in.
"""

from collections import Counter

import numpy as np

from utils.images.scaling import PERCENTILES

_EDGES = (1, 255, 4095, 16383, 65535)  # white in the usual ranges; that of 1 is for floats alone
_VANISHING = 0.001  # share of a set's numbers
_LEAST_USED = 0.1  # share of a range
_FEW = 0.01  # share of an image's numbers beyond a range that is worth no word
_SHARES = (0, 0.001, 0.005, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.995, 0.999, 1)
_SAMPLE = 1_000_000  # numbers of an image of which quantiles are taken
_STRIP = 10_000_000  # numbers looked at at a time
_CANDIDATES = 2000  # numbers among which a quantile of the set is sought


def describe_values(values):
    """What is known of an image's numbers, as a dict that JSON can hold.

    Args:
        values: array of any shape and kind but uint8.

    Returns:
        "dtype": str; "count": int; "not_finite": int; of the finite numbers, "below": int, those
        below 0, "above": those above each usual white, and "quantiles": at `_SHARES`.
    """
    flat, is_float = values.ravel(), values.dtype.kind == "f"
    name = values.dtype.newbyteorder("=").name
    sample = flat[:: max(flat.size // _SAMPLE, 1)].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    lows, highs, finite_count, below = [], [], 0, 0
    above = np.zeros(len(_EDGES), np.int64)
    for start in range(0, flat.size, _STRIP):  # a copy of a large image would be large
        strip = flat[start : start + _STRIP]
        strip = strip[np.isfinite(strip)] if is_float else strip
        if strip.size:
            lows.append(strip.min())
            highs.append(strip.max())
            finite_count += strip.size
            below += np.count_nonzero(strip < 0)
            strip = strip.astype(np.float32) if name == "float16" else strip  # has no 65535
            above += [np.count_nonzero(strip > edge) for edge in _EDGES]
    quantiles = np.quantile(sample, _SHARES).tolist() if sample.size else [0.0] * len(_SHARES)
    quantiles[0], quantiles[-1] = float(min(lows, default=0)), float(max(highs, default=0))
    return {
        "dtype": name,
        "count": int(flat.size),
        "not_finite": int(flat.size - finite_count),
        "below": int(below),
        "above": above.tolist(),
        "quantiles": quantiles,
    }


class Brightness:
    """The numbers of a set's images beyond 8 bits; none of the others counts.

    Args:
        value_range: what they are read in: (low, high), "percentiles", () to find it, or None where
            each image is scaled by itself.

    Attributes:
        value_range: as the argument; of `settle`, what was found. None without such images.
        text: str, of `settle`: what they are read in and why; "" without such images.
    """

    def __init__(self, value_range=()):
        self.value_range = value_range or (None if value_range is None else ())
        self.text = ""
        self._is_given = bool(value_range)
        self._images = []

    def add(self, path, facts):
        """Takes in what `describe_values` says of an image."""
        self._images.append((str(path), facts))

    def settle(self):
        """Finds the range unless it is given; sets `value_range` and `text`.

        Returns:
            list of (problem kind, detail) of `utils.checking.problems.PROBLEMS`.
        """
        if not self._images:
            self.value_range = self.value_range or None
            return []
        problems, reason = [], ""
        if self.value_range is not None and not self._is_given:
            groups = [
                [one for one in self._images if _is_float(one) == kind] for kind in (False, True)
            ]
            found = [_find_range([facts for _, facts in group]) for group in groups if group]
            if len({value_range for value_range, _ in found}) > 1:
                problems.append(("values_mixed", _describe_mixture(groups, found)))
            self.value_range, reason = max(found, key=lambda one: one[0][1])
        self.text = self._describe(reason)
        return [*problems, *self._judge()]

    def _describe(self, reason):
        names = Counter(facts["dtype"] for _, facts in self._images)
        kinds = ", ".join(f"{name} ({count:,})" for name, count in names.most_common())
        ends = [facts["quantiles"] for _, facts in self._images]
        low, high = min(one[0] for one in ends), max(one[-1] for one in ends)
        text = f"brightness: {kinds}, {low:g} to {high:g}; read "
        if self.value_range is None:
            return text + "each image by its own largest number, as these weights expect."
        if self.value_range == PERCENTILES:
            return text + "between the 0.5th and 99.5th percentile of each image."
        text += f"as {_show(self.value_range)} (black to white)"
        if self._is_given:
            return f"{text}, as value_range says."
        beyond = [_count_beyond(facts, self.value_range[1]) for _, facts in self._images]
        if not reason and any(beyond):
            text += (
                f", but for {sum(beyond):,} values in {np.count_nonzero(beyond):,} of "
                f"{len(beyond):,} images, which are beyond"
            )
        return f"{text}{reason}. To choose another: value_range."

    def _judge(self):
        for path, facts in self._images:
            if facts["not_finite"]:
                yield "values_not_finite", f"{path}: {facts['not_finite']:,} values"
            if self.value_range is None or self.value_range == PERCENTILES:
                continue
            low, high = self.value_range
            least, most = (_quantile(facts, share) for share in (_FEW / 2, 1 - _FEW / 2))
            ends = f"{path}: {least:g} to {most:g}, read as {_show(self.value_range)}"
            if _quantile(facts, _FEW) < low or _quantile(facts, 1 - _FEW) > high:
                yield "values_beyond", ends
            # Of an image of one value, no range shows more.
            elif least < most and min(most, high) - max(least, low) < _LEAST_USED * (high - low):
                yield "values_dim", ends


def _is_float(image):
    return image[1]["dtype"].startswith("float")


def _quantile(facts, share):
    return facts["quantiles"][_SHARES.index(share)]


def _count_beyond(facts, high):
    return facts["below"] + (facts["above"][_EDGES.index(high)] if high in _EDGES else 0)


def _find_range(images):
    """((low, high), why not a usual one) of the facts of images, all floats or all integers."""
    total = sum(facts["count"] for facts in images)
    usual = [edge for edge in _EDGES if edge > 1 or images[0]["dtype"].startswith("float")]
    low, high = _set_quantiles(images)
    for edge in usual:
        beyond = sum(_count_beyond(facts, edge) for facts in images)
        if beyond <= _VANISHING * total:
            if high - max(low, 0) >= _LEAST_USED * edge:
                return (0.0, float(edge)), ""
            if high <= 0:  # nothing to see, whatever the range
                return (0.0, float(edge)), ""
            reason = f": they use under a tenth of 0..{edge}, and 998 in 1,000 lie in this"
            return _ends(low, high), reason
    return _ends(low, high), ": no usual range holds them, and 998 in 1,000 lie in this"


def _ends(low, high):
    low, high = (float(f"{end:.6g}") for end in (low, high))
    return (low, high) if low < high else (low, low + 1)


def _set_quantiles(images):
    """The numbers below and above which one in 1,000 of the set's lie, as (low, high)."""
    points = np.array([facts["quantiles"] for facts in images])
    weights = np.array([facts["count"] for facts in images]) / sum(f["count"] for f in images)
    candidates = np.unique(points)
    if len(candidates) > _CANDIDATES:
        candidates = np.quantile(candidates, np.linspace(0, 1, _CANDIDATES))
    shares = sum(
        weight * _share_below(candidates, quantiles)
        for weight, quantiles in zip(weights, points, strict=True)
    )
    low = candidates[max(np.searchsorted(shares, _VANISHING, "right") - 1, 0)]
    high = candidates[min(np.searchsorted(shares, 1 - _VANISHING), len(candidates) - 1)]
    return float(low), float(high)


def _share_below(numbers, quantiles):
    """The share of an image's numbers up to each of `numbers`, by its quantiles."""
    places, last = np.unique(quantiles[::-1], return_index=True)  # the last of equal ones
    shares = np.array(_SHARES)[::-1][last]
    return np.interp(numbers, places, shares, left=0, right=1)


def _show(value_range):
    return "..".join(f"{end:g}" for end in value_range)


def _describe_mixture(groups, found):
    parts = [
        f"{len(group)} of {group[0][1]['dtype']}, such as {group[0][0]}, in {_show(value_range)}"
        for group, (value_range, _) in zip(filter(None, groups), found, strict=True)
    ]
    return "; ".join(parts)
