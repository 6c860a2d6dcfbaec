"""Which mask belongs to which image where their names differ by a rule.

Data sets name masks `a_mask.png`, `mask_a.png`, or number them with other zeros than the images.
A rule counts only if it is one for the whole set and leaves nothing to guess.
"""

import re
import unicodedata
from collections import Counter
from typing import NamedTuple

_PADDING = re.compile(r"(?<!\d)0+(?=\d)")
_MASK_WORDS = (
    "mask", "label", "lbl", "seg", "gt", "truth", "annot", "anno", "manual", "matte", "target",
    "trimap", "l",
)  # fmt: skip
_IMAGE_WORDS = ("image", "img", "im", "rgb", "photo", "pic", "sat", "frame", "input")
_TRIED = 8  # prefixes and suffixes of each side


class Pairing(NamedTuple):
    """Names that belong together.

    Attributes:
        masks: dict from image stem to mask stem, in the order of the images.
        sentence: str, how they pair, with an example.
    """

    masks: dict
    sentence: str


class Affix(NamedTuple):
    """What stands before or behind the part that an image and its mask share."""

    before: str = ""
    behind: str = ""

    def strip(self, name):
        """What is left of a name, or None where it has not this affix or nothing else."""
        fits = name.startswith(self.before) and name.endswith(self.behind)
        core = name[len(self.before) : len(name) - len(self.behind)]
        return core if fits and core else None

    @property
    def text(self):
        """The affix alone; "" where there is none."""
        return self.before or self.behind


def suggest_pairs(image_stems, mask_stems):
    """Finds the rule by which the names of masks follow from those of images.

    Tried are equal names; names that differ in case, outer spaces or the Unicode form; numbers
    that are padded with zeros differently; and each of these with one prefix or suffix on either
    side, such as `_mask`, `mask_` or `_sat` and `_gt`. The rule that pairs most counts, the
    simplest of those.

    Args:
        image_stems: iterable of str, names without extension.
        mask_stems: the same of the masks.

    Returns:
        Pairing, of at least half the smaller side; or None if no rule pairs that many, or one
        name could belong to several.
    """
    images, masks = list(dict.fromkeys(image_stems)), list(dict.fromkeys(mask_stems))
    best, ambiguous, said = {}, False, ""
    for fold, note in _FOLDS:
        image_keys, mask_keys = _fold_all(fold, images), _fold_all(fold, masks)
        if image_keys is None or mask_keys is None:
            continue  # names that fall together can't be told apart
        for affixes in _affix_pairs(image_keys, mask_keys):
            if len(best) == len(images):
                break
            pairs = _match(image_keys, mask_keys, affixes)
            if len(pairs) > len(best):
                best, said = pairs, _describe(affixes, note)
                ambiguous = _is_ambiguous(pairs, image_keys, mask_keys, affixes)
    if not best or ambiguous or 2 * len(best) < min(len(images), len(masks)):
        return None
    example = next((pair for pair in best.items() if pair[0] != pair[1]), None)
    behind = f", such as {example[0]} and {example[1]}" if example else ""
    return Pairing(best, f"{said}{behind}.")


def _same(stem):
    return stem


def _loose(stem):
    return unicodedata.normalize("NFC", stem).strip().casefold()


def _unpadded(stem):
    return _PADDING.sub("", _loose(stem))


_FOLDS = (
    (_same, ""),
    (_loose, "in another case, with spaces or in another Unicode form"),
    (_unpadded, "with their numbers padded differently"),
)


def _fold_all(fold, stems):
    """{folded: stem}, or None if two stems become the same."""
    keys = {fold(stem): stem for stem in stems}
    return keys if len(keys) == len(stems) else None


def _affix_pairs(images, masks):
    """Yields (image affix, mask affix) worth trying, the simplest first."""
    yield Affix(), Affix()  # before the others are looked for, which takes longer
    pairs = [
        (of_image, of_mask)
        for of_image in [Affix(), *_common_affixes(images)]
        for of_mask in [Affix(), *_common_affixes(masks)]
        if _is_plausible(of_image.text, of_mask.text)
    ]
    yield from sorted(pairs, key=lambda pair: _simplicity("".join(one.text for one in pair)))


def _common_affixes(names):
    """The prefixes and suffixes with letters that half of the names share."""
    found = Counter()
    for name in names:
        for at in range(1, len(name)):
            if _is_boundary(name, at):
                found[Affix(before=name[:at])] += 1
                found[Affix(behind=name[at:])] += 1
    common = [
        affix
        for affix, count in found.most_common()
        if 2 * count >= len(names) and re.search(r"[^\W\d_]", affix.text)
    ]
    before = [affix for affix in common if affix.before]
    behind = [affix for affix in common if affix.behind]
    return [
        affix
        for side in (before, behind)
        for affix in sorted(side, key=lambda affix: _simplicity(affix.text))[:_TRIED]
    ]


def _simplicity(text):
    """Few letters first; the separators beside them are part of an affix, not of the name."""
    letters = sum(map(str.isalnum, text))
    return letters, letters - len(text)


def _is_boundary(name, at):
    """Whether a word or a number ends before `at`."""
    return _kind(name[at - 1]) != _kind(name[at])


def _kind(letter):
    return (letter.isalpha(), letter.isdecimal())


def _is_plausible(of_image, of_mask):
    """Whether two affixes may belong to an image and its mask, not to two images.

    `1_left` and `1_right` are two images. Where both have an affix, one must be a known word.
    """
    if not (of_image and of_mask):
        return True
    digits, others = (re.findall(r"\d+", affix) for affix in (of_image, of_mask))
    if of_image == of_mask or (digits and others and digits != others):
        return False
    return _has_word(of_image, _IMAGE_WORDS) or _has_word(of_mask, _MASK_WORDS)


def _has_word(affix, words):
    """Whether an affix has one of the words; those of one or two letters must stand alone."""
    tokens = re.findall(r"[^\W\d_]+", affix.casefold())
    return any(
        token == word or (len(word) > 2 and word in token) for token in tokens for word in words
    )


def _match(images, masks, affixes):
    """{image stem: mask stem} whose names are equal without the affixes."""
    cores = {affixes[1].strip(key): stem for key, stem in masks.items()}
    cores.pop(None, None)
    found = {stem: cores.get(affixes[0].strip(key)) for key, stem in images.items()}
    return {image: mask for image, mask in found.items() if mask is not None}


def _is_ambiguous(pairs, images, masks, affixes):
    """Whether a name that is left over could belong to a pair just as well.

    `1_cat` and `1_dog` both belong to `1`. Where names are equal, there is no doubt.
    """
    if not (affixes[0].text or affixes[1].text):
        return False
    cores = {affixes[0].strip(key) for key, stem in images.items() if stem in pairs}
    used = set(pairs.values())
    left = [key for key, stem in images.items() if stem not in pairs]
    left += [key for key, stem in masks.items() if stem not in used]
    return any(name in cores or _belongs(name, cores) for name in left)


def _belongs(name, cores):
    """Whether a name is a core and words before or behind it."""
    for at in range(1, len(name)):
        if _is_boundary(name, at):
            for core, rest in ((name[:at], name[at:]), (name[at:], name[:at])):
                if core in cores and re.search(r"[^\W\d_]", rest):
                    return True
    return False


def _describe(affixes, note):
    of_image, of_mask = affixes
    texts = [
        f"the {side} have {affix.text!r} {'before' if affix.before else 'behind'} the name"
        for side, affix in (("images", of_image), ("masks", of_mask))
        if affix.text
    ]
    texts = texts or ["images and masks have the same names"]
    text = ", ".join([" and ".join(texts), *([note] if note else [])])
    return text[0].upper() + text[1:]
