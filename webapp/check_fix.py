"""The corrected copy of a VOC folder: what it would hold, as HTML, and how it is written."""

import logging
import threading
from contextlib import contextmanager

import voc_annotation
from errors import UserError
from utils.checking.correction import correct
from utils.checking.fix import describe, fixed_folder, plan_fix
from utils.checking.preview import SHOWN, show_mask
from utils.data.voc import voc_folder
from utils.images.channels import to_array
from utils.images.reading import read_to_show
from utils.messages import LOGGER
from webapp.check_html import clean, image_uri, mask_uri

_SIDE = 260  # pixels
_EXAMPLES = 3  # names for each kind of change
_REASONS = 20  # for which files are left out: each file that can't be read has its own


def preview_fix(config, max_pixels):
    """Shows what the corrected copy would hold; writes nothing.

    Args:
        config: `voc_annotation.AnnotationConfig`, with fix.
        max_pixels: int, of an image that is shown.

    Returns:
        (str, HTML; bool, whether there is anything to write).

    Raises:
        UserError: if no copy can be made of the dataset, as it is or with these settings.
    """
    pairs = voc_annotation.find_set(config)
    plan = plan_fix(pairs, **voc_annotation.fix_options(config))
    if plan.is_needless:
        text = f"Nothing to fix: all {len(plan.samples)} pairs are as they should be."
        return f'<p class="verdict">{text}</p>', False
    parts = [
        f'<p class="verdict">The corrected copy would hold {len(plan.kept):,} pairs.</p>',
        _changes(plan),
        _rows(plan, config.instance_border, max_pixels),
        f"<details><summary>In words</summary><pre>{clean(describe(plan))}</pre></details>",
    ]
    return "\n".join(parts), bool(plan.kept)


def apply_fix(config, served):
    """Writes the corrected copy, as `voc_annotation.py --fix` does.

    Args:
        config: `voc_annotation.AnnotationConfig`, with fix.
        served: `webapp.served.Served`.

    Returns:
        str, what the script says of it.

    Raises:
        UserError: as the script; and if the copy would lie outside the served folders.
    """
    served.resolve(str(fixed_folder(voc_folder(config.VOCdevkit_path))))
    with _heard() as said:
        voc_annotation.main(config)
    return "\n".join(said)


@contextmanager
def _heard():
    """Collects what is said in this thread: others work for other visitors."""
    said, thread = [], threading.get_ident()

    class Listener(logging.Handler):
        def emit(self, record):
            if record.thread == thread:
                said.append(record.getMessage())

    listener = Listener()
    LOGGER.addHandler(listener)
    try:
        yield said
    finally:
        LOGGER.removeHandler(listener)


def _changes(plan):
    """A table: each kind of change, how often, and a few names."""
    changes = {
        "masks written anew, with class ids": [o.name for o in plan.outcomes if o.mask_changed],
        "images turned to fit their mask": [o.name for o in plan.outcomes if o.image_changed],
        "masks named as their images": sorted(plan.renamed),
    }
    reasons = {}
    for one in plan.outcomes:
        if one.left_out:
            reasons.setdefault(f"left out: {one.left_out}", []).append(one.name)
    shown = sorted(reasons, key=lambda reason: -len(reasons[reason]))
    changes |= {reason: reasons.pop(reason) for reason in shown[:_REASONS]}
    changes["left out for other reasons"] = [name for names in reasons.values() for name in names]
    rows = "".join(
        f'<tr><td>{clean(kind)}</td><td>{len(names):,}</td><td class="words">'
        f"{_examples(names)}</td></tr>"
        for kind, names in changes.items()
        if names
    )
    return (
        '<div class="wide"><table><thead><tr><th>change</th><th>files</th>'
        f'<th class="words">such as</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _examples(names):
    more = " ..." if len(names) > _EXAMPLES else ""
    return clean(", ".join(names[:_EXAMPLES])) + more


def _rows(plan, border, max_pixels):
    """Image, mask before and mask after, of the first pairs that change."""
    changed = {one.name for one in plan.outcomes if one.mask_changed or one.image_changed}
    samples = [sample for sample in plan.samples if sample.name in changed][:SHOWN]
    rows = [_row(sample, plan.meaning, border, max_pixels) for sample in samples]
    more = len(changed) - len(samples)
    rest = f'<p class="dim">And {more:,} more pairs that change.</p>' if more else ""
    return f'<div class="rows">{"".join(rows)}</div>{rest}'


def _row(sample, meaning, border, max_pixels):
    _, ids, turned = correct(sample, meaning, border)
    name = clean(sample.name)
    try:
        image = read_to_show(sample.image_path, max_pixels) if turned is None else to_array(turned)
    except UserError as error:
        return f"<figure><figcaption>{name}</figcaption>{clean(error)}</figure>"
    images = {
        "image": image_uri(image, _SIDE),
        "mask before": image_uri(show_mask(sample), _SIDE),
        "mask after": mask_uri(ids, _SIDE),
    }
    cells = "".join(
        f'<div><img{" class=sharp" if title != "image" else ""} src="{uri}" alt="{name}: {title}">'
        f"{title}</div>"
        for title, uri in images.items()
    )
    return f'<figure><figcaption>{name}</figcaption><div class="three">{cells}</div></figure>'
