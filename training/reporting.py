"""What a training scores, saves and shows after each epoch."""

from dataclasses import dataclass

from keras.callbacks import LambdaCallback

from nets.weights.storage import save_weights
from training.network import make_predictor
from training.optimization import collect_arrays
from training.phases import PhaseRecord
from utils.evaluation.evaluate import evaluate
from utils.evaluation.metrics import sum_counts
from utils.prediction.inference import predict_mask
from utils.prediction.stream import predict_masks
from utils.prediction.tiles import predict_windows
from utils.runs.callbacks import AveragedWeights, Checkpoints, RunLog, SaveState, ValidationMeanIoU
from utils.runs.folder import withdraw
from utils.runs.guards import Patience
from utils.runs.progress import Progress
from utils.runs.resume import BEST_MIOU, EPOCH, rename_best, update_callbacks
from utils.runs.tensorboard import Board

_SHOWN = 4  # validation images that TensorBoard shows


@dataclass
class Callbacks:
    """The Keras callbacks of a whole run, over all its phases, in the order in which they act.

    Scores are added to the logs first; what writes them comes after, the state last of all.
    """

    scoring: ValidationMeanIoU
    patience: Patience
    checkpoints: Checkpoints
    log: RunLog
    board: Board
    average: AveragedWeights | None
    state: SaveState
    phases: PhaseRecord
    progress: Progress

    @property
    def stopped(self):
        """Whether early stopping has ended the run."""
        return self.patience.stopped

    def of(self, devices):
        """Those of one process, as a list: only the chief writes files."""
        writers = [self.checkpoints, self.log, self.board]
        average = [self.average] if self.average else []
        return [
            *([LambdaCallback(on_epoch_end=lambda *_: self.average.put())] if average else ()),
            self.scoring,
            self.patience,
            *(writers if devices.chief else ()),
            *average,
            *([self.state] if devices.chief else ()),
            self.progress,
        ]


def make_callbacks(settings, network, samples, run, facts, devices, limit):
    """Makes the `Callbacks` of a run; of one that resumes, with what they knew.

    Args:
        settings: `training.settings.TrainingSettings`.
        network: (keras.Model, its `Description`).
        samples: `utils.data.voc.Samples`.
        run: `utils.runs.folder.Run`.
        facts: dict that JSON can hold, stored with the run's state.
        devices: `utils.distributed.devices.Devices`.
        limit: `utils.runs.time_limit.TimeLimit`.
    """
    model, description = network
    report, last_epoch = settings.report, settings.phases.unfreeze_epoch
    shape, channels, window = (
        description.input_shape, description.in_channels, description.window,
    )  # fmt: skip

    def predict_image(image):
        if window:
            return predict_windows(predict, image, shape, window)
        return predict_mask(predict, image, shape)

    predict, update = make_predictor(model, devices)

    def score_now():
        """Counts of the validation images, predicted with the weights of now."""
        update()
        part = samples.val[devices.process :: devices.processes]
        paths = [sample.image_path for sample in part]
        batch_size = settings.phases.unfreeze_batch_size
        masks = predict_masks(
            predict, paths, shape, batch_size, channels, window, description.value_range
        )
        classes = description.num_classes, description.ignore_labels
        counts = evaluate(part, masks, *classes, progress=False)
        return sum_counts(devices.gather(counts))

    scoring = ValidationMeanIoU(
        score_now, report.eval_period if report.eval_flag else 0, last_epoch, limit
    )
    lasting = {
        "scoring": scoring,
        "patience": Patience(report.early_stopping_patience, report.early_stopping_min_delta),
        "checkpoints": Checkpoints(
            lambda path: save_weights(model, path, description),
            run.folder,
            report.save_period,
            run.public,
        ),
        "log": RunLog(run.folder),
        "phases": PhaseRecord(),
    }
    if limit:
        lasting["limit"] = limit
    if run.state:
        if devices.chief:
            if run.public:
                withdraw(run.public / f"{BEST_MIOU}.weights.h5")
            rename_best(run.folder)
        stored = update_callbacks(run.state.facts)
        for name, callback in lasting.items():
            callback.state = stored[name]
    board = Board(
        run.folder,
        scoring,
        description.name_classes,
        samples=samples.val[:_SHOWN],
        predict=predict_image,
        ignore_labels=description.ignore_labels,
        in_channels=channels,
        value_range=description.value_range,
    )

    def is_finished(epoch):
        over = limit.is_finished() if limit else epoch == last_epoch
        return over or lasting["patience"].stopped

    facts = facts | {
        "policy": model.dtype_policy.name,
        "description": description.to_json(),
        "loss_of": EPOCH,
    }
    return Callbacks(
        board=board,
        average=AveragedWeights() if settings.optimizer.ema_momentum else None,
        state=SaveState(run.folder, is_finished, facts, collect_arrays, lasting),
        progress=Progress(last_epoch, limit=limit),
        **{name: callback for name, callback in lasting.items() if name != "limit"},
    )
