"""How TensorFlow computes a training: through oneDNN or not, in how many threads, in which form
the decoder is. The same weights and, up to rounding, the same results; another time. No Keras.

    fixed                     TensorFlow's own choice, and the decoder fused
    onednn, no_onednn         with oneDNN, Intel's library for such networks, or without
    threads_4                 4 threads within an operation
    fused, three_layers       upsampling, concatenation and convolution in the decoder: as one step
                              or one after the other, see `nets.layers.UpsampledConv2D`

TensorFlow takes the first two from its environment, once, when it is loaded.
"""

import os
import re
import sys
from dataclasses import dataclass, replace

from errors import UserError

AUTO, FIXED = "auto", "fixed"
ONEDNN, THREADS = "TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTRAOP_THREADS"
_PARTS = {
    "onednn": {"onednn": True},
    "no_onednn": {"onednn": False},
    "fused": {"fused": True},
    "three_layers": {"fused": False},
}
_THREADS = re.compile(r"threads_([1-9]\d{0,3})")
_TRUE, _FALSE = ("1", "true"), ("0", "false")


@dataclass(frozen=True)
class Engine:
    """How TensorFlow computes.

    Attributes:
        onednn: bool, whether through oneDNN; None: as TensorFlow decides.
        threads: int, threads within an operation; 0: as TensorFlow decides.
        fused: bool, as for `nets.unet.Unet`.
    """

    onednn: bool | None = None
    threads: int = 0
    fused: bool = True

    @property
    def environment(self):
        """What TensorFlow's environment must hold: {variable: value}."""
        variables = {}
        if self.onednn is not None:
            variables[ONEDNN] = "1" if self.onednn else "0"
        if self.threads:
            variables[THREADS] = str(self.threads)
        return variables

    def __str__(self):
        """As the setting of train.py has it."""
        parts = []
        if self.onednn is not None:
            parts.append("onednn" if self.onednn else "no_onednn")
        if self.threads:
            parts.append(f"threads_{self.threads}")
        if not self.fused:
            parts.append("three_layers")
        return ",".join(parts) or FIXED


def parse_engine(text):
    """The Engine that a setting other than "auto" names.

    Raises:
        UserError: for a name that is none, and for two that contradict each other.
    """
    given = {}
    for name in text.split(",") if text != FIXED else ():
        name = name.strip()
        threads = _THREADS.fullmatch(name)
        part = {"threads": int(threads[1])} if threads else _PARTS.get(name)
        if part is None:
            raise UserError(
                f"engine must be {AUTO}, {FIXED}, or some of {', '.join(_PARTS)}, threads_4 (any "
                f"number), with commas between them; got {text!r}."
            )
        if any(given.get(key, value) != value for key, value in part.items()):
            raise UserError(f"engine is {text!r}, which contradicts itself. Take out one of them.")
        given |= part
    return replace(Engine(), **given)


def check_engine(text):
    """Raises UserError unless a setting is "auto" or names an Engine."""
    if text != AUTO:
        parse_engine(text)


def engine_of_environment():
    """The Engine that TensorFlow's environment asks for; a value that says nothing counts not."""
    onednn = os.environ.get(ONEDNN, "").lower()
    threads = os.environ.get(THREADS, "")
    return Engine(
        onednn=True if onednn in _TRUE else False if onednn in _FALSE else None,
        threads=int(threads) if re.fullmatch(r"[1-9]\d{0,3}", threads) else 0,
    )


def is_loaded():
    """Whether TensorFlow, or Keras on another backend, has been loaded by this process."""
    return not {"tensorflow", "keras"}.isdisjoint(sys.modules)


def set_environment(engine):
    """Has TensorFlow compute so, where that can still be decided.

    Returns:
        list of str, variables that hold something else and stay: set by the user, or read already.
    """
    others = []
    for name, value in engine.environment.items():
        if os.environ.get(name, "").lower() in _spellings(value):
            continue
        if name in os.environ or is_loaded():
            others.append(name)
        else:
            os.environ[name] = value
    return others


def _spellings(value):
    return next((same for same in (_TRUE, _FALSE) if value in same), (value,))
