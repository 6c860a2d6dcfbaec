"""What a visitor takes home: masks, drawings, tables, labelme's files; of many images as a zip."""

import zipfile

from utils.images.writing import save_png
from utils.prediction.region_tables import FOLDER_TABLE
from webapp.predict_draw import draw

ZIP_NAME = "predictions.zip"


def write_files(run, index, look, on_progress):
    """Draws images in full size, and gathers their files.

    Args:
        run: `webapp.predict_run.Run`.
        index: int, the image whose files are given one by one.
        look: `webapp.predict_draw.Look`, of all images.
        on_progress: callable of (images that are drawn, all).

    Returns:
        list of Path: the files of that image; if there are several, first a zip with all of all.
    """
    count = len(run.results)
    if count > 1:
        for number in range(count):
            _draw(run, number, look)
            on_progress(number + 1, count)
        return [_pack(run), *_files_of(run, index)]
    _draw(run, index, look)
    return _files_of(run, index)


def _draw(run, index, look):
    save_png(_overlay(run.results[index]), draw(run.layers(index), run.colors, look))


def _overlay(result):
    return result.drawn.with_name(f"{result.drawn.stem}_overlay.png")


def _labelme(result):
    return result.drawn.parent / "labelme" / f"{result.drawn.stem}.json"


def _files_of(run, index):
    one = run.results[index]
    return [one.mask, _overlay(one), one.regions, _labelme(one), one.confidence]


def _pack(run):
    path = run.folder / ZIP_NAME
    # PNG files, nearly all of it, get no smaller.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for extra in (FOLDER_TABLE, "labelme/classes.txt"):
            archive.write(run.folder / extra, extra)
        for index in range(len(run.results)):
            for file in _files_of(run, index):
                archive.write(file, file.relative_to(run.folder))
    return path
