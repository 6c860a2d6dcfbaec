"""Fingerprints of two sets, and two machines, for tests of plans."""

import math

from training.plan import Machine
from utils.data.fingerprint import Fingerprint

CELLS = Fingerprint(
    count=20,
    size=(512, 512),
    largest=(512, 512),
    channels=3,
    shares=(0.78, 0.22),
    widths=(13.0, 5.0),
    mirrored=0.95,
    upside_down=0.95,
    turned=0.95,
)
STREET = Fingerprint(
    count=367,
    size=(360, 480),
    largest=(360, 480),
    channels=3,
    shares=(0.18, 0.25, 0.01, 0.33, 0.05, 0.095, 0.0126, 0.011, 0.056, 0.0055, 0.0),
    widths=(9.0, 9.0, 1.0, 9.8, 5.0, 1.0, 5.4, 6.2, 9.0, 3.0, math.nan),
    mirrored=0.94,
    upside_down=0.2,
    turned=0.35,
)
SLOW = Machine(per_pixel=2.2e-5, per_step=0.02, width=32, memory=24 * 10**9)
FAST = Machine(per_pixel=2.2e-9, per_step=0.005, width=32, memory=64 * 10**9, accelerated=True)
