"""The loop: one phase after the other, each compiled anew and fitted."""

import keras

from errors import RunError
from nets.unet import set_encoder_trainable
from training.optimization import (
    compile_trainer,
    make_loss,
    make_optimizer,
    restore_optimizer,
    uniform_loss,
)
from utils.data.dataset import UnetDataset
from utils.runs.callbacks import EpochOfDataset
from utils.runs.guards import FiniteLoss, StartLoss
from utils.runs.memory import available_memory, describe_memory, explain_out_of_memory


class Training:
    """A training that has begun; `run_phase` trains one phase of it.

    Args:
        settings: `training.settings.TrainingSettings`.
        samples: `utils.data.voc.Samples`.
        devices: `utils.distributed.devices.Devices`.
        run: `utils.runs.folder.Run`.
        network: (keras.Model, its `Description`).
        callbacks: `training.reporting.Callbacks`.
    """

    def __init__(self, settings, samples, devices, run, network, callbacks):
        self.settings = settings
        self.samples = samples
        self.devices = devices
        self.run = run
        self.model, self.description = network
        self.callbacks = callbacks

    def run_phase(self, phase):
        """Trains the epochs of a `training.phases.Phase`, or what an interrupted run left of it."""
        first_epoch = max(phase.first_epoch, self.run.state.epoch if self.run.state else 0)
        if first_epoch >= phase.last_epoch or self.callbacks.stopped:
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
        optimizer, total = self.settings.optimizer, self.settings.phases.unfreeze_epoch
        try:
            fit(
                trainer,
                train_set,
                val_set,
                range(first_epoch, phase.last_epoch),
                lambda epoch: optimizer.rate_of_epoch(epoch, total, phase.batch_size),
                callbacks,
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

    def _freeze(self, phase, first_epoch):
        backbone, steps = self.settings.network.backbone, self.settings.optimizer.accumulate_steps
        names = set_encoder_trainable(self.model, phase.train_encoder, backbone)
        frozen = "" if phase.train_encoder else f" ({names[0]} to {names[-1]})"
        print(
            f"\nEpochs {first_epoch + 1} to {phase.last_epoch}: {phase.title}{frozen}, "
            f"batch size {phase.batch_size}."
        )
        if self.settings.optimizer.scale_lr_by_batch:
            first, last = self.settings.optimizer.rates(phase.batch_size)
            images = phase.batch_size * steps
            print(f"Learning rates for {images} images per step: {first:.3g} to {last:.3g}.")

    def _compile(self, phase, first_epoch, loss):
        with self.devices.scope():
            rate, _ = self.settings.optimizer.rates(phase.batch_size)
            optimizer = make_optimizer(self.settings.optimizer, rate)
            trainer = compile_trainer(self.model, optimizer, loss, self.settings.network.recompute)
            if first_epoch > phase.first_epoch:
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
            "num_workers": data.num_workers,
            "devices": self.devices,
        }
        train_set = UnetDataset(
            self.samples.train,
            data.input_shape,
            augment=data.augment,
            seed=data.seed,
            cache_bytes=int(data.cache_gb * 2**30),
            **options,
        )
        return train_set, UnetDataset(self.samples.val, described.input_shape, **options)

    def _describe_memory(self, batch_size):
        print(
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


def fit(trainer, train_set, val_set, epochs, rate_of_epoch, callbacks):
    """Runs some epochs.

    Args:
        trainer: what `training.optimization.compile_trainer` gives.
        train_set, val_set: `utils.data.dataset.UnetDataset`.
        epochs: range, counted from 0.
        rate_of_epoch: callable from an epoch to its learning rate.
        callbacks: list of Keras callbacks.

    Raises:
        UserError: for an image or mask that can't be used.
        RunError: for a loss that is not a number.
    """

    def names_of_batch(index):
        return [sample.image_path for sample in train_set.batch_samples(index)]

    try:
        trainer.fit(
            train_set,
            validation_data=val_set,
            initial_epoch=epochs.start,
            epochs=epochs.stop,
            shuffle=False,  # the dataset shuffles by (seed, epoch)
            callbacks=[
                EpochOfDataset(train_set),
                FiniteLoss(names_of_batch),
                keras.callbacks.LearningRateScheduler(rate_of_epoch),
                *callbacks,
            ],
            verbose=0,  # utils.runs.progress shows more
        )
    except RunError:
        raise
    except Exception:
        # Backends wrap what a dataset raises; the user's mistake is what it kept.
        error = train_set.error or val_set.error
        if error:
            raise error from None
        raise
