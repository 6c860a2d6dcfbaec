"""The page as a whole, in a browser."""

import pytest
from browser import NARROW, WIDE

TABS = ("Predict", "Check", "Train", "Report")


@pytest.mark.slow
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_every_tab_opens_and_fits_its_window(visit, size):
    opened = visit(size)
    for name in TABS:
        opened.open_tab(name)
        assert opened.overflow() <= 0
