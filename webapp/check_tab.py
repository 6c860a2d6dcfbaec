"""The tab "Check": what is wrong with a dataset, and a corrected copy of it."""

import gradio as gr

from errors import UserError
from utils.checking.meaning import VOC_MAP
from utils.script import describe_os_error
from voc_annotation import AnnotationConfig
from webapp.check_chooser import chooser, renewed
from webapp.check_fix import apply_fix, preview_fix
from webapp.check_folder import find_datasets, open_dataset, shorten
from webapp.check_html import LOOK
from webapp.check_report import check
from webapp.messages import answering, say
from webapp.served import Served
from webapp.setting_fields import SettingFields

_ALWAYS = ("num_classes", "ignore_labels", "palette")
_FOR_COPY = ("color_map", "instances", "instance_border")
_WHAT = "Folder that holds VOC2007"
_AT_ONCE = 4  # visitors; more wait
_PROGRESS = gr.Progress(track_tqdm=True)  # by which Gradio sees that a method shows its bars


def build(served: Served) -> None:
    """Makes the components of the tab where it is called."""
    fields = SettingFields(AnnotationConfig)
    folder = chooser(find_datasets(served), "VOCdevkit_path", _WHAT, "check-folder")
    with gr.Accordion("Settings", open=False):
        fields.show(*_ALWAYS)
        gr.Markdown("For the corrected copy alone:")
        fields.show(*_FOR_COPY)
    inputs = [folder, *(fields.components[name] for name in _ALWAYS)]
    for_copy = [fields.components[name] for name in _FOR_COPY]
    with gr.Row():
        look = gr.Button("Check", variant="primary", elem_id="check-look")
        plan = gr.Button("Show a corrected copy", elem_id="check-plan")
        again = gr.Button("Look for new datasets", elem_id="check-again")
    message = gr.HTML(elem_id="check-message")
    report = gr.HTML(css_template=LOOK, elem_id="check-report")
    change = gr.HTML(css_template=LOOK, elem_id="check-change")
    write = gr.Button(
        "Write the corrected copy", variant="primary", visible=False, elem_id="check-write"
    )
    written = gr.HTML(elem_id="check-written")
    shown = gr.State()  # the settings of the copy that is shown

    work = Work(served, fields)
    again.click(lambda chosen: renewed(find_datasets(served), chosen), folder, folder)
    many = {"concurrency_limit": _AT_ONCE}
    look.click(work.check, inputs, [message, report], show_progress_on=report, **many)
    outputs = [message, change, write, shown, written]
    plan.click(work.preview, [*inputs, *for_copy], outputs, show_progress_on=change, **many)
    write.click(work.apply, shown, [written, write], show_progress_on=written, concurrency_limit=1)


class Work:
    """What the buttons of the tab do; nothing of a visit is kept.

    Args:
        served: `webapp.served.Served`.
        fields: `webapp.setting_fields.SettingFields` of AnnotationConfig.
    """

    def __init__(self, served, fields):
        self._served, self._fields = served, fields

    @answering(1)
    def check(self, folder, num_classes, ignore_labels, palette, progress=_PROGRESS):
        """Returns message and report."""
        values = self._read(folder, _ALWAYS, (num_classes, ignore_labels, palette))
        config = AnnotationConfig(check_only=True, **values)
        return "", check(config, self._served.max_pixels)

    @answering(4)
    def preview(
        self, folder, num_classes, ignore_labels, palette, color_map, instances, border,
        progress=_PROGRESS,
    ):  # fmt: skip
        """Returns message, what would change, the button that writes, its settings, and ""."""
        shown = num_classes, ignore_labels, palette, color_map, instances, border
        values = self._read(folder, (*_ALWAYS, *_FOR_COPY), shown)
        if values["color_map"] not in ("", VOC_MAP):
            values["color_map"] = str(shorten(self._served.resolve(values["color_map"])))
        config = AnnotationConfig(fix=True, **values)
        html, is_useful = preview_fix(config, self._served.max_pixels)
        return "", html, gr.Button(visible=is_useful), config if is_useful else None, ""

    @answering(1)
    def apply(self, config, progress=_PROGRESS):
        """Returns what was written, and the button, which has done its work."""
        if config is None:
            raise UserError("Show the corrected copy first.")
        open_dataset(self._served, config.VOCdevkit_path)  # links may be others by now
        try:
            said = apply_fix(config, self._served)
        except OSError as error:  # a full disk
            raise UserError(describe_os_error(error)) from error
        return say(*said.splitlines()), gr.Button(visible=False)

    def _read(self, folder, names, shown):
        """{setting: value} of what the fields of these names show, and of the dataset."""
        settings = self._fields.settings
        values = {
            name: settings[name].from_field(one) for name, one in zip(names, shown, strict=True)
        }
        return values | {"VOCdevkit_path": open_dataset(self._served, folder)}
