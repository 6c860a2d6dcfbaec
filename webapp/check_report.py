"""The check of a VOC folder as HTML: what it holds, and its problems with the files they name."""

import numpy as np

from utils.checking.problems import PROBLEMS, format_report, list_details, sort_kinds
from utils.data.voc import voc_folder
from utils.evaluation.gallery import class_colors
from voc_annotation import find_set, judge_set, list_folder
from webapp.check_html import clean
from webapp.check_thumbs import FileIndex, choose_files, draw


def check(config, max_pixels):
    """Checks a dataset as `voc_annotation.py --check_only` does; writes nothing.

    Args:
        config: `voc_annotation.AnnotationConfig`, with check_only.
        max_pixels: int, of an image that is shown.

    Returns:
        str, HTML.

    Raises:
        UserError: if there is no dataset, or it holds no image with a mask.
    """
    pairs = samples, almost, _ = find_set(config)
    report, _ = judge_set(config, pairs, list_folder(config))
    index = FileIndex(voc_folder(config.VOCdevkit_path), [*samples, *almost])
    files = choose_files(report, index)
    parts = [_verdict(report), _facts(report), _values(report)]
    parts += [_card(report, kind, files[kind], max_pixels) for kind in sort_kinds(report)]
    parts += [_readings(report), _as_text(report)]
    return "\n".join(parts)


def _verdict(report):
    fatal = sum(map(report.is_fatal, report.problems))
    notes = len(report.problems) - fatal
    also = f" {_count(notes, 'note')} besides." if notes else ""
    if fatal:
        text = f"{_count(fatal, 'kind')} of problems would make a training wrong.{also}"
    else:
        text = f"Nothing would make a training wrong.{also}"
    return f'<p class="verdict">{text}</p>'


def _count(number, word):
    return f"{number} {word}{'s' * (number != 1)}"


def _facts(report):
    """The lines above the table of values, as the script prints them."""
    head = format_report(report).split("\n\n", 1)[0]
    return "".join(f"<p>{clean(line)}</p>" for line in head.splitlines())


def _values(report):
    colors, total = class_colors(256), max(int(report.pixels.sum()), 1)
    colors[255] = "#ffffff"  # as in the masks below
    rows = "".join(
        f'<tr><td><i class="swatch" style="background:{colors[value]}"></i>{value}'
        f"{' void' if value in report.ignored else ''}</td><td>{report.pixels[value]:,}</td>"
        f"<td>{report.pixels[value] / total:.2%}</td><td>{report.images[value]:,}</td></tr>"
        for value in np.flatnonzero(report.pixels).tolist()
    )
    if not rows:
        return ""
    return (
        '<div class="wide"><table><thead><tr><th>value in masks</th><th>pixels</th><th>share</th>'
        f"<th>in images</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _card(report, kind, files, max_pixels):
    """A kind of problem: how bad, what, how often, where, what to do, and the files it names."""
    problem, is_fatal = PROBLEMS[kind], report.is_fatal(kind)
    details = "".join(f"<li>{clean(detail)}</li>" for detail in list_details(report, kind))
    shots = "".join(map(_shot, (draw(path, max_pixels) for path in files)))
    return (
        f'<section class="card{" fatal" * is_fatal}"><h4><span class="tag">'
        f"{'problem' if is_fatal else 'note'}</span>{clean(problem.title)}: "
        f"{report.problems[kind].count:,}</h4><ul>{details}</ul>"
        f"<p><b>What to do:</b> {clean(problem.remedy)}</p>"
        + (f'<div class="shots">{shots}</div>' if shots else "")
        + "</section>"
    )


def _shot(one):
    sharp = ' class="sharp"' if one.is_mask else ""
    image = f'<img{sharp} src="{one.uri}" alt="{clean(one.name)}">' if one.uri else ""
    reason = f": {clean(one.reason)}" if one.reason else ""
    return f"<figure>{image}<figcaption>{clean(one.name)}{reason}</figcaption></figure>"


def _readings(report):
    if not report.meaning.readings:
        return ""
    lines = "".join(f"<li>{clean(reading)}</li>" for reading in report.meaning.readings)
    return (
        f'<section class="card"><h4>How the corrected copy reads the masks</h4><ul>{lines}</ul>'
        "</section>"
    )


def _as_text(report):
    return (
        "<details><summary>The same as voc_annotation.py --check_only prints it</summary>"
        f"<pre>{clean(format_report(report))}</pre></details>"
    )
