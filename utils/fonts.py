"""The fonts that class names may be written in, in charts and legends."""

import logging
from functools import cache

from matplotlib import font_manager

from utils.messages import note

# Comes with matplotlib; the fallbacks, for names in Chinese, Japanese and Korean, may be there.
MAIN_FONT = "DejaVu Sans"
FALLBACK_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans SC")
FALLBACK_FONTS += ("Source Han Sans SC", "Source Han Sans CN", "Noto Serif CJK SC")
FALLBACK_FONTS += ("WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback")
FALLBACK_FONTS += ("Microsoft YaHei", "SimHei", "Yu Gothic", "MS Gothic", "Malgun Gothic")
FALLBACK_FONTS += ("PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Arial Unicode MS")

_NAMED = 6  # letters
_noted = []
# It warns of fonts that have no normal weight, as some for Chinese, each time that one is used.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)


@cache
def installed_fonts():
    """The fonts that class names may be written in, best first: tuple of family names."""
    installed = set(font_manager.get_font_names())
    return (MAIN_FONT, *(name for name in FALLBACK_FONTS if name in installed))


@cache
def font_file(family):
    """(path, index of the face in it, frozenset of the characters it has)."""
    path = font_manager.findfont(family)
    return (
        str(path),
        getattr(path, "face_index", 0),
        frozenset(font_manager.get_font(path).get_charmap()),
    )


def missing_letters(texts):
    """The letters of some texts that none of the fonts has: a set of str."""
    needed = {letter for text in texts for letter in text if not letter.isspace()}
    for family in installed_fonts():
        needed = {letter for letter in needed if ord(letter) not in font_file(family)[2]}
        if not needed:
            break
    return needed


def writable_names(names):
    """Class names as charts write them: one that no font can write becomes "class 3".

    The first time that there are any, a note says so, and what to do.

    Args:
        names: sequence of str, by class id.

    Returns:
        list of str.
    """
    missing = missing_letters(names)
    if missing and _find_new_fonts():
        missing = missing_letters(names)
    if missing and not _noted:
        some = sorted(missing)
        more = f" and {rest} more letters" if (rest := len(some) - _NAMED) > 0 else ""
        _noted.append(
            f"no font that is known here has {', '.join(some[:_NAMED])}{more} of the class "
            "names, so that charts call these classes by their numbers. Install one, such as Noto "
            "Sans CJK (Debian, Ubuntu: apt install fonts-noto-cjk)."
        )
        note(_noted[0])
    return [f"class {index}" if missing & set(name) else name for index, name in enumerate(names)]


def _find_new_fonts():
    """Takes up fonts that were installed since matplotlib made its list; whether there are any."""
    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    before = installed_fonts()
    for path in set(font_manager.findSystemFonts()) - known:
        try:
            font_manager.fontManager.addfont(path)
        except Exception:  # FreeType raises all kinds for files that it can't read
            continue
    installed_fonts.cache_clear()
    return installed_fonts() != before
