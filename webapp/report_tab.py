"""The tab "Report": an evaluation, its worst images, and new evaluations."""

import gradio as gr

from errors import UserError
from get_miou import MiouConfig
from utils.data.voc import list_path
from utils.script import describe_os_error
from webapp.check_chooser import chooser, renewed
from webapp.check_folder import check_links, find_datasets, open_dataset, shorten
from webapp.check_html import LOOK, clean
from webapp.messages import answering, say
from webapp.report_process import Evaluations
from webapp.report_view import LOOK as FRAME
from webapp.report_view import MOST, PARTS, find_evaluations, show_report, show_worst
from webapp.served import Served
from webapp.setting_fields import SettingFields
from webapp.weights import NONE_YET, find_weights

_FIELDS = ("val_list", "tta", "min_region", "miou_out_path")
_WHAT = "Folder that get_miou.py wrote"
_AT_ONCE = 4  # visitors; more wait


def build(served: Served) -> None:
    """Makes the components of the tab where it is called."""
    work = Work(served)
    found, datasets = find_evaluations(served), find_datasets(served)
    with gr.Row():
        folder = chooser(found, "Evaluation", _WHAT, "report-folder")
        dataset = chooser(datasets, "VOCdevkit_path", "Folder of its images", "report-dataset")
    with gr.Row():
        show = gr.Button("Show the report", variant="primary", elem_id="report-show")
        again = gr.Button("Look for new folders", elem_id="report-again")
    message = gr.HTML(elem_id="report-message")
    report = gr.HTML(css_template=FRAME, elem_id="report-report")
    count = gr.Slider(1, MOST, 12, step=1, label="How many of the worst images")
    more = gr.Button("Show the worst images", elem_id="report-more")
    lacking = gr.HTML(elem_id="report-lacking")
    worst = gr.HTML(css_template=FRAME, elem_id="report-worst")
    with gr.Accordion("Evaluate weights", open=not found):
        weights = chooser(find_weights(served), "model_path", "Trained weights", "report-weights")
        work.fields.show(*_FIELDS)
        with gr.Row():
            start = gr.Button("Evaluate", variant="primary", elem_id="report-start")
            stop = gr.Button("Stop", elem_id="report-stop")
        told = gr.HTML(elem_id="report-told")
        output = gr.HTML(css_template=LOOK, elem_id="report-output")
    running = gr.State()  # the folder of the evaluation that this visit has started

    many = {"concurrency_limit": _AT_ONCE}
    lists = [folder, dataset, weights]
    again.click(work.look_again, lists, lists)
    show.click(work.show, folder, [message, report], show_progress_on=report, **many)
    chosen = [folder, dataset, count]
    more.click(work.show_worst, chosen, [lacking, worst], show_progress_on=worst, **many)
    inputs = [weights, dataset, *(work.fields.components[name] for name in _FIELDS)]
    started = start.click(
        work.evaluate, inputs, [told, output, running, folder], show_progress_on=output, **many
    )
    started.then(work.show_own, running, [message, report, running])
    stop.click(work.stop, running)


class Work:
    """What the buttons of the tab do.

    Args:
        served: `webapp.served.Served`.
    """

    def __init__(self, served):
        self._served = served
        self._evaluations = Evaluations()
        self.fields = SettingFields(MiouConfig)

    def look_again(self, *chosen):
        """Returns the lists to choose from: evaluations, datasets, weights."""
        finders = find_evaluations, find_datasets, find_weights
        return [renewed(find(self._served), one) for find, one in zip(finders, chosen, strict=True)]

    @answering(1)
    def show(self, folder):
        """Returns message and report."""
        return "", show_report(self._served, folder)

    @answering(1)
    def show_worst(self, folder, dataset, count):
        """Returns message and the worst images."""
        return "", show_worst(self._served, folder, dataset, count)

    def evaluate(self, weights, dataset, *shown):
        """Yields message, what is printed, the folder that is written to, the folder to show."""
        try:
            config = self._read(weights, dataset, shown)
            folder = config.miou_out_path
            for text, status in self._evaluations.follow(config):
                message, chosen = "", gr.skip()
                if status == 0:
                    message = say(f"The evaluation is in {folder}.")
                    chosen = gr.Dropdown(choices=find_evaluations(self._served), value=folder)
                elif status is not None:
                    message = say(_reason(status), failed=True)
                yield message, f"<pre>{clean(text)}</pre>", None if status else folder, chosen
        except (UserError, OSError) as error:
            text = describe_os_error(error) if isinstance(error, OSError) else str(error)
            yield say(text, failed=True), gr.skip(), None, gr.skip()

    def show_own(self, running):
        """Returns message, the report of the evaluation that has just ended well, and None.

        Without one, all stays as it is.
        """
        if not running:
            return gr.skip(), gr.skip(), None
        message, report = self.show(running)
        return message or gr.skip(), report, None

    def stop(self, running):
        """Ends the evaluation that this visit has started."""
        if running:
            self._evaluations.stop(running)

    def _read(self, weights, dataset, shown):
        """The settings that the fields show, all paths looked at."""
        settings, resolve = self.fields.settings, self._served.resolve
        values = {
            name: settings[name].from_field(one) for name, one in zip(_FIELDS, shown, strict=True)
        }
        if not (weights or "").strip():
            raise UserError(NONE_YET.format(folders=", ".join(map(str, self._served.folders))))
        dataset = open_dataset(self._served, dataset)
        resolve(str(list_path(dataset, values["val_list"])))
        out = shorten(resolve(values["miou_out_path"]))
        check_links(self._served, out, PARTS)
        values["miou_out_path"] = str(out)
        weights = str(shorten(resolve(weights)))
        return MiouConfig(model_path=weights, VOCdevkit_path=dataset, **values)


def _reason(status):
    if status < 0 or status > 128:
        return "The evaluation was stopped."
    return "The evaluation came to no end; see below what it printed."
