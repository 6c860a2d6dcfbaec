"""The commands of `unet-keras`: the script behind each, and what it does.

It imports nothing, for it is read when the package is built too.
"""

COMMANDS = {
    "check": ("voc_annotation", "checks images and masks, and lists them for training"),
    "convert": ("json_to_dataset", "makes a VOC folder of annotations of other programs"),
    "train": ("train", "trains a network"),
    "predict": ("predict", "segments images, folders and videos; exports networks"),
    "evaluate": ("get_miou", "scores trained weights, or masks"),
    "summary": ("summary", "shows what a network is made of, and what it costs"),
    "app": ("app", "opens a page in the browser that does all this"),
    "demo": ("demo", "shows it all, on images that it draws"),
}
