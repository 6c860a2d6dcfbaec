"""The loop: one phase after the other, each compiled anew and fitted."""

import time

import keras

from errors import RunError
from nets.unet import set_encoder_trainable
from training.network import make_predictor
from training.optimization import (
    compile_trainer,
    make_epoch_loss,
    make_loss,
    make_optimizer,
    restore_optimizer,
    uniform_loss,
)
from utils.data.dataset import UnetDataset
from utils.messages import say
from utils.runs.callbacks import DueEpochs, EpochOfDataset, FollowTimeLimit, TimeValidation
from utils.runs.guards import FiniteLoss, StartLoss
from utils.runs.memory import available_memory, describe_memory, explain_out_of_memory

_AFTERWARDS = 5.0  # seconds beside the network: compiling, weights, state, curves


class Training:
    """A training that has begun; `run_phase` trains one phase of it.

    Args:
        settings: `training.settings.TrainingSettings`.
        samples: `utils.data.voc.Samples`.
        devices: `utils.distributed.devices.Devices`.
        run: `utils.runs.folder.Run`.
        network: (keras.Model, its `Description`).
        callbacks: `training.reporting.Callbacks`.
        limit: `utils.runs.time_limit.TimeLimit`.
    """

    def __init__(self, settings, samples, devices, run, network, callbacks, limit):
        self.settings = settings
        self.samples = samples
        self.devices = devices
        self.run = run
        self.model, self.description = network
        self.callbacks = callbacks
        self.limit = limit
        self._epochs_done = run.state.epoch if run.state else 0

    def run_phase(self, phase):
        """Trains the epochs of a `training.phases.Phase`, or what an interrupted run left of it."""
        first_epoch = self._first_epoch(phase)
        if first_epoch is None:
            return
        self._freeze(phase, first_epoch)
        loss = make_loss(self.settings.loss, self.devices.total)
        trainer = self._compile(phase, first_epoch, loss)
        train_set, val_set = self._make_datasets(phase.batch_size)
        self.callbacks.progress.set_phase(train_set, val_set)
        callbacks = self.callbacks.of(self.devices)
        self._describe_memory(phase.batch_size)
        if first_epoch == self.settings.phases.init_epoch and self.devices.processes == 1:
            train_set.set_epoch(first_epoch)
            uniform = uniform_loss(loss, train_set)
            callbacks.append(StartLoss(uniform))
        optimizer = self.settings.optimizer
        try:
            self._epochs_done = fit(
                trainer,
                train_set,
                val_set,
                range(first_epoch, phase.last_epoch),
                self._lead(phase),
                [*callbacks, *([TimeValidation(self.limit)] if self.limit else ())],
                validation_freq=self._when_to_validate(),
            )
        except Exception as error:
            advice = explain_out_of_memory(
                error,
                phase.batch_size,
                optimizer.accumulate_steps,
                self.settings.network.recompute,
            )
            if advice is None:
                raise
            raise RunError(advice) from error
        self._thaw_early(phase)

    def _first_epoch(self, phase):
        """The epoch, from 0, that a phase begins with or continues at; None: it is over."""
        record, patience = self.callbacks.phases, self.callbacks.patience
        patience.ends_run = phase.ends_run
        self._thaw_early(phase)  # where a run was interrupted before it went on
        if patience.exhausted or (record.thawed and not phase.train_encoder):
            return None
        if self.limit and self.limit.share() >= phase.share:
            return None
        # Thawed early, it goes on at once: what the frozen phase did not use is the next one's.
        first = self._epochs_done
        if not (record.thawed and phase.train_encoder):
            first = max(phase.first_epoch, first)
        return first if first < phase.last_epoch else None

    def _thaw_early(self, phase):
        """Ends a phase, but not the run, whose validation loss has stayed for too long."""
        patience, record = self.callbacks.patience, self.callbacks.phases
        ended = patience.exhausted and not patience.ends_run
        if ended and not phase.train_encoder and record.title == phase.title:
            say(f"\n{patience} The encoder is thawed now.")
            patience.start_anew()
            record.thawed = True

    def _lead(self, phase):
        """The callback that sets the learning rate, by epochs or by the clock."""
        optimizer, total = self.settings.optimizer, self.settings.phases.unfreeze_epoch
        if not self.limit:
            return keras.callbacks.LearningRateScheduler(
                lambda epoch: optimizer.rate_of_epoch(epoch, total, phase.batch_size)
            )
        return FollowTimeLimit(
            self.limit, phase.share, lambda share: optimizer.rate_of_share(share, phase.batch_size)
        )

    def _when_to_validate(self):
        """`validation_freq` of Keras: each epoch, or as the clock allows and at the end."""
        if not self.limit:
            return 1
        return DueEpochs(lambda _: self.limit.over or self.limit.is_validation_due())

    def check_time(self, phases):
        """Raises UserError if the time limit leaves no time to train; times a validation batch.

        Args:
            phases: list of `training.phases.Phase`.
        """
        if not self.limit or self.limit.reserve:  # that a run which resumes has measured
            return
        _, val_set = self._make_datasets(phases[0].batch_size)
        predict, _ = make_predictor(self.model, self.devices)
        images, _ = val_set[0]
        predict(images)  # compiles what scores later
        begin = time.perf_counter()
        predict(images)
        seconds = (time.perf_counter() - begin) * len(val_set)
        times = 2.2 if self.settings.report.eval_flag else 1.2  # the loss, and masks at full size
        self.limit.check(times * seconds + _AFTERWARDS, f"{len(val_set.samples)} images")

    def _freeze(self, phase, first_epoch):
        backbone, steps = self.settings.network.backbone, self.settings.optimizer.accumulate_steps
        names = set_encoder_trainable(self.model, phase.train_encoder, backbone)
        frozen = "" if phase.train_encoder else f" ({names[0]} to {names[-1]})"
        if self.limit:
            self.limit.start_training()
            minutes = self.limit.until(phase.share) / 60
            until = f"From epoch {first_epoch + 1} on, for about {minutes:.1f} minutes"
        else:
            until = f"Epochs {first_epoch + 1} to {phase.last_epoch}"
        say(f"\n{until}: {phase.title}{frozen}, batch size {phase.batch_size}.")
        if self.settings.optimizer.scale_lr_by_batch:
            first, last = self.settings.optimizer.rates(phase.batch_size)
            images = phase.batch_size * steps
            say(f"Learning rates for {images} images per step: {first:.3g} to {last:.3g}.")

    def _compile(self, phase, first_epoch, loss):
        with self.devices.scope():
            rate, _ = self.settings.optimizer.rates(phase.batch_size)
            optimizer = make_optimizer(self.settings.optimizer, rate)
            of_epoch = make_epoch_loss(self.settings.loss, self.description.num_classes)
            recompute = self.settings.network.recompute
            trainer = compile_trainer(self.model, optimizer, loss, recompute, [of_epoch])
            record = self.callbacks.phases
            # Earlier versions did not note the phase of a run without a time limit.
            same = record.title == phase.title if record.title else first_epoch > phase.first_epoch
            record.start(phase)
            if self.run.state is not None and same:
                restore_optimizer(trainer, self.run.state.arrays)
        return trainer

    def _make_datasets(self, batch_size):
        """What a phase trains on, and what it validates with."""
        data, described = self.settings.data, self.description
        options = {
            "batch_size": batch_size,
            "num_classes": described.num_classes,
            "ignore_labels": described.ignore_labels,
            "in_channels": described.in_channels,
            "value_range": described.value_range,
            "num_workers": data.num_workers,
            "devices": self.devices,
        }
        train_set = UnetDataset(
            self.samples.train,
            data.input_shape,
            augment=data.augment,
            seed=data.seed,
            cache_bytes=int(data.cache_gb * 2**30),
            crops=data.crops_per_image,
            weigh=self.settings.loss.borders,
            **options,
        )
        val_set = UnetDataset(
            self.samples.val, described.input_shape, window=described.window, **options
        )
        return train_set, val_set

    def _describe_memory(self, batch_size):
        say(
            describe_memory(
                self.model,
                batch_size,
                self.settings.data.input_shape,
                self.settings.network.recompute,
                self.settings.optimizer.accumulate_steps,
                self.settings.optimizer.slots,
                available_memory(),
            )
        )


def fit(trainer, train_set, val_set, epochs, lead, callbacks, validation_freq=1):
    """Runs some epochs; returns how many are done then, of the whole run.

    Args:
        trainer: what `training.optimization.compile_trainer` gives.
        train_set, val_set: `utils.data.dataset.UnetDataset`.
        epochs: range, counted from 0.
        lead: Keras callback that sets the learning rate.
        callbacks: list of Keras callbacks.
        validation_freq: as for `keras.Model.fit`.

    Raises:
        UserError: for an image or mask that can't be used.
        RunError: for a loss that is not a number.
    """

    def names_of_batch(index):
        return [sample.image_path for sample in train_set.batch_samples(index)]

    try:
        history = trainer.fit(
            train_set,
            validation_data=val_set,
            validation_freq=validation_freq,
            initial_epoch=epochs.start,
            epochs=epochs.stop,
            shuffle=False,  # the dataset shuffles by (seed, epoch)
            callbacks=[
                EpochOfDataset(train_set),
                FiniteLoss(names_of_batch),
                lead,
                *callbacks,
            ],
            verbose=0,  # utils.runs.progress shows more
        )
        return history.epoch[-1] + 1
    except RunError:
        raise
    except Exception:
        # Backends wrap what a dataset raises; the user's mistake is what it kept.
        error = train_set.error or val_set.error
        if error:
            raise error from None
        raise
