"""The fonts that class names may be written in, in charts and legends."""

from functools import cache

from matplotlib import font_manager

# Comes with matplotlib; the fallbacks, for names in Chinese, Japanese and Korean, may be there.
MAIN_FONT = "DejaVu Sans"
FALLBACK_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR")
FALLBACK_FONTS += ("Source Han Sans SC", "WenQuanYi Zen Hei")
FALLBACK_FONTS += ("Microsoft YaHei", "SimHei", "Yu Gothic", "MS Gothic", "Malgun Gothic")
FALLBACK_FONTS += ("PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Arial Unicode MS")


@cache
def installed_fonts():
    """The fonts that class names may be written in, best first: tuple of family names."""
    installed = set(font_manager.get_font_names())
    return (MAIN_FONT, *(name for name in FALLBACK_FONTS if name in installed))
