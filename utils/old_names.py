"""Names that readers of the article and users of other programs give to settings, and ours.

Three things are known here: the article's settings by script, with the types of ours (`article`);
what else such names are called in this project (`_RENAMED`); and what to do where no single
setting stands for a name (`_EXPLAINED`). Names are looked up whatever their case.
"""

import inspect
import sys

from errors import UserError

_NETWORK = {
    "model_path": tuple[str, ...] | str,
    "num_classes": int | None,
    "backbone": str | None,
    "input_shape": tuple[int, int] | None,
}
_ARTICLE = {
    "train": {
        "VOCdevkit_path": str, "num_classes": int, "num_workers": int, "backbone": str,
        "model_path": str, "input_shape": tuple[int, int],
        "init_epoch": int, "freeze_train": bool, "freeze_epoch": int, "freeze_batch_size": int,
        "unfreeze_epoch": int, "unfreeze_batch_size": int,
        "optimizer_type": str, "init_lr": float, "min_lr": float | None, "lr_decay_type": str,
        "momentum": float, "weight_decay": float,
        "dice_loss": bool, "focal_loss": bool, "cls_weights": tuple[float, ...] | str,
        "save_dir": str, "save_period": int, "eval_flag": bool, "eval_period": int, "seed": int,
    },
    "predict": _NETWORK | {
        "name_classes": tuple[str, ...], "mode": str, "count": bool, "mix_type": int,
        "dir_origin_path": str, "dir_save_path": str, "video_path": str, "video_save_path": str,
        "video_fps": float | None, "fps_image_path": str, "test_interval": int,
    },
    "get_miou": _NETWORK | {
        "name_classes": tuple[str, ...], "VOCdevkit_path": str, "miou_mode": int,
        "miou_out_path": str,
    },
    "voc_annotation": {"VOCdevkit_path": str, "trainval_percent": float, "train_percent": float},
    "summary": _NETWORK | {"model_path": str},
    "json_to_dataset": {},
    "demo": {},
    "app": {"model_path": _NETWORK["model_path"]},
}  # fmt: skip

# A setting, and what it is called in the article's older versions and in other programs.
_RENAMED = {
    "VOCdevkit_path": "dataset_path dataset data dataset_dir data_dir data_path data_root root",
    "num_classes": "classes class_num n_classes nclass nc",
    "name_classes": "class_names names labels",
    "num_workers": "workers n_workers nw threads num_threads",
    "backbone": "arch architecture encoder encoder_name model_name network net model_type",
    "model_path": "weights model weight checkpoint ckpt load ckpt_path init_weights",
    "input_shape": "inputs_size input_size image_size img_size imgsz model_image_size crop_size",
    "init_epoch": "start_epoch",
    "freeze_epoch": "interval_epoch freeze_epochs",
    "freeze_train": "freeze",
    "unfreeze_epoch": "epochs epoch num_epochs n_epochs max_epochs total_epoch total_epochs",
    "unfreeze_batch_size": "batch_size batchsize batch bs train_batch_size",
    "accumulate_steps": "accumulate grad_accum accumulation_steps gradient_accumulation_steps",
    "optimizer_type": "optimizer optim opt",
    "init_lr": "lr learning_rate lr0 base_lr initial_lr",
    "min_lr": "final_lr lr_min eta_min",
    "lr_decay_type": "scheduler lr_scheduler lr_policy lr_decay",
    "weight_decay": "wd decay l2",
    "ema_momentum": "ema",
    "early_stopping_patience": "patience early_stop early_stopping",
    "dice_loss": "dice",
    "focal_loss": "focal",
    "cls_weights": "class_weights class_weight",
    "save_dir": "log_dir logdir output output_dir out_dir outdir work_dir project save_path",
    "save_period": "save_freq save_interval save_every",
    "eval_flag": "eval evaluate",
    "eval_period": "val_interval eval_interval val_freq",
    "train_list": "train_annotation_path train_txt",
    "val_list": "val_annotation_path val_txt image_ids",
    "cache_gb": "cache",
    "precision": "fp16 amp half mixed_precision dtype",
    "image": "img image_path images input source picture filename file path",
    "video_path": "video video_file camera webcam",
    "dir_origin_path": "folder input_dir image_dir img_dir",
    "dir_save_path": "output output_dir out_dir outdir save_path save_dir results",
    "predictions_path": "pred_dir predictions pred_path",
    "miou_out_path": "output output_dir out_dir outdir save_path save_dir results",
    "train_percent": "train_ratio train_size",
    "annotations": "json_dir input_dir json_path labels",
    "folds": "k kfold n_folds n_splits num_folds",
}
# What to do where one name does not stand for another: by script, the names and the words.
_GPUS = "train_gpu gpu gpus gpu_id gpu_ids ngpu device cuda distributed sync_bn local_rank"
_WHICH_GPU = "CUDA_VISIBLE_DEVICES=0 before the command chooses which."
_EXPLAINED = {
    "train": {
        _GPUS: f"How many GPUs train is devices (0: all); {_WHICH_GPU}",
        "pretrained pretrain": "model_path says what to start from: auto or imagenet are "
        'pretrained weights, a file is your own, "" is none.',
        "augment augmentation aug data_aug random": "Training images are always augmented: flip, "
        "scale, jitter, rotation, gamma and others say how much (0: not at all).",
        "eager": "There is nothing to set: steps are always compiled. Leave it out.",
        "loss loss_type criterion": "Cross-entropy is always there; dice_loss adds Dice, "
        "focal_loss replaces it.",
    },
    "predict": {
        _GPUS: f"A GPU is used where there is one; {_WHICH_GPU}",
        "tflite onnx export_onnx predict_onnx onnx_save_path simplify saved_model savedmodel": (
            "Write --mode export --export_formats litert (which is TFLite), onnx or savedmodel."
        ),
        "blend overlay": "mix_type 0 lays colours over the image, 1 shows them alone.",
    },
    "get_miou": {
        _GPUS: f"A GPU is used where there is one; {_WHICH_GPU}",
        "gt_dir": "True masks are those of VOCdevkit_path; val_list names the images.",
    },
    "voc_annotation": {
        "val_percent val_ratio val_size": "train_percent is the share that trains; the rest "
        "validates.",
        "test_percent test_ratio test_size": "trainval_percent is the share that trains or "
        "validates; the rest tests.",
    },
    "json_to_dataset": {
        "jpgs_path pngs_path": "Both folders are made in VOCdevkit_path/VOC2007.",
    },
}

# What the article has its readers edit in unet.py, and what stands there as shipped.
_UNET = {
    "model_path": "logs/best_epoch_weights.weights.h5",
    "num_classes": None,
    "backbone": None,
    "input_shape": None,
    "mix_type": 0,
}


def article(script):
    """{setting: its type} of the article's settings that a script has, e.g. of "train".

    Returns:
        dict; None for what is no script of this project.
    """
    return _ARTICLE.get(script)


def key_of(name):
    """A name as it is compared: `Init_lr`, `init-lr` and `init_lr` are one."""
    return name.lower().replace("-", "_")


def explain(name, meanings, script):
    """What stands for a name that a setting had, or has elsewhere.

    Args:
        name: str, without dashes in front.
        meanings: dict from the script's settings to what they mean, or "".
        script: str, the script's name without its ending.

    Returns:
        str, one or two sentences; "" if the name is not known here.
    """
    key = key_of(name)
    explained = {
        one: text
        for one, texts in _EXPLAINED.items()
        for names, text in texts.items()
        if key in names.split()
    }
    if script in explained:
        return explained[script]
    new = next((one for one in meanings if key in _RENAMED.get(one, "").split()), None)
    if new:
        return f"It is {new} here: {meanings[new]}." if meanings[new] else f"It is {new} here."
    others = [f"{other}.py" for other, names in _ARTICLE.items() if key in map(key_of, names)]
    if others and f"{script}.py" not in others:
        return f"It is a setting of {' and '.join(others)}."
    return next((f"That is for {one}.py. {text}" for one, text in explained.items()), "")


def refuse_edits_of_unet(cls):
    """Refuses settings that were written into unet.py, as the article has it: they do nothing.

    Args:
        cls: the class `Unet`.

    Raises:
        UserError: for a changed default of an argument, for a name of one that is set in the class
            or in its module, and for a dictionary `_defaults`.
    """
    arguments = inspect.signature(cls).parameters
    places = vars(cls), vars(sys.modules[cls.__module__])
    edited = [
        name
        for name, shipped in _UNET.items()
        if (name in arguments and arguments[name].default != shipped)
        or any(name in place and not isinstance(place[name], property) for place in places)
    ]
    if hasattr(cls, "_defaults"):
        edited.append("_defaults")
    if edited:
        raise UserError(
            f"unet.py was edited: {', '.join(edited)}. Settings do nothing there. Undo that, and "
            "set model_path and mix_type at the top of predict.py and get_miou.py, or type "
            "--model_path and --mix_type; in your own program, Unet(model_path=..., mix_type=...). "
            "Classes, backbone and size are read from the weights file."
        )
