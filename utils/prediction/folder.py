"""All images of a folder, or a share of them: their results, and the files of the whole folder."""

from contextlib import contextmanager
from dataclasses import dataclass

from utils.images.foreign import describe_foreign, files_below
from utils.messages import note, say
from utils.prediction.output_paths import plan_results
from utils.prediction.outputs import Outputs, Wanted
from utils.prediction.parts import parse_part
from utils.prediction.saving import save_result, say_notes


@dataclass(frozen=True)
class Job:
    """What is asked for; the fields are named as the settings of predict.py.

    Attributes:
        wanted: Wanted, what comes out.
        dir_origin_path: str, the folder of images.
        batch_size: int, images the network takes at a time.
        legend: bool, whether to add class names and shares below the images.
        resume: bool, whether to skip images whose results are there already.
        part: str, the share of the folder, as for `utils.prediction.parts.parse_part`.
    """

    wanted: Wanted
    dir_origin_path: str
    batch_size: int = 4
    legend: bool = False
    resume: bool = False
    part: str = ""

    def open_outputs(self):
        """The Outputs of its images."""
        return Outputs(self.wanted, self.dir_origin_path)


class Here:
    """A network in this process.

    Args:
        unet: `unet.Unet`.
        job: Job.

    Attributes:
        names: sequence of str, the classes.
        value_range: as for `utils.images.scaling.to_8_bit`.
        texts: list of str, what there is to say of how it was loaded.
    """

    def __init__(self, unet, job):
        self._unet, self._job = unet, job
        texts = (unet.report, unet.precision_reason, unet.size_reason)
        self.texts = [str(text) for text in texts if text]
        self.names = unet.description.name_classes
        self.value_range = unet.description.value_range

    def segment(self, results, outputs, progress=True):
        """Segments images and saves their results.

        Args:
            results: list of Result.
            outputs: Outputs, within its `writing`.
            progress: bool, whether to show a progress bar.

        Returns:
            dict, {Result: message} of the images that failed.
        """
        unet, job = self._unet, self._job

        def finish(result, pixels, mask, details=None):
            save_result(unet, outputs, result, pixels, mask, details, job.legend)

        keep = {"keep": outputs.keep} if outputs.keep else {}
        # The text alone: an error holds on to the file and the pixels that it came from.
        return {
            outcome.item: str(outcome.error)
            for outcome in unet.predict_files(
                results, job.batch_size, finish, "Predicting", progress=progress, **keep
            )
            if outcome.error
        }


@contextmanager
def open_here(load, job):
    """Gives the network Here; `load` is a callable that loads the Unet."""
    yield Here(load(), job)


def segment_folder(job, opened):
    """Segments the images of a folder and of the folders in it, or a share of them.

    What there is once for all images, such as the table of regions, is written with the whole
    folder only: of shares by the run that follows them, with `resume` and no `part`.

    Args:
        job: Job.
        opened: context manager that gives a network as Here is one; it is entered if there is
            something to do.

    Returns:
        (how many images were to be segmented, {Result: message} of those that failed).

    Raises:
        UserError: for a folder without images, and where something would be overwritten that may
            hold corrections.
    """
    part, save = parse_part(job.part), job.wanted.dir_save_path
    holds = None if part.is_whole else part.holds
    every = results = plan_results(job.dir_origin_path, save, holds)
    outputs = job.open_outputs()
    if not part.is_whole:
        say(f"Part {part} of {job.dir_origin_path}: {len(every)} images.")
    if job.resume:
        results = outputs.left_of(every)
        say(f"{len(every) - len(results)} of {len(every)} images have their results already.")
    if not results and (not part.is_whole or outputs.is_complete()):
        if part.is_whole:
            outputs.join_tables(every)
        return 0, {}
    outputs.check_new(every, job.resume)
    with opened as network, outputs.writing(network.names):
        failed = network.segment(results, outputs)
        if part.is_whole:
            outputs.finish([one for one in every if one not in failed])
    say(f"{len(results) - len(failed)} images are segmented; {save} holds them.")
    if outputs.has_joined and not part.is_whole:
        say(
            "When all parts are done, the same command with --resume and without --part writes "
            "what the folder has once."
        )
    say_notes(results, network.value_range, outputs)
    if part.number == 1:  # once is enough
        for text in describe_foreign(files_below(job.dir_origin_path)):
            note(f"left out: {text}")
    return len(results), failed
