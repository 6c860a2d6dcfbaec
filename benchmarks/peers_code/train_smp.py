"""Trains segmentation_models.pytorch's Unet; started by benchmarks/peers.py.

Its usual recipe, that of the examples in its repository: Adam at 2e-4 with a cosine schedule,
Dice and cross-entropy, batches of 8 crops of 320x320 (or of what the images hold, in multiples
of 32), mirrored, shifted, scaled, turned, with noise, perspective and changes of contrast. The
schedule ends with the time; so does the last epoch.
"""

import math
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations
import cv2
import h5py
import numpy as np
import segmentation_models_pytorch as smp
import torch

_BATCH, _SIDE, _RATE = 8, 320, 2e-4
_MEAN = np.array([123.68, 116.779, 103.939], np.float32)  # of Keras' weights, RGB


class Crops(torch.utils.data.Dataset):
    """Augmented crops of images that stay in memory."""

    def __init__(self, pairs, size):
        self.pairs = pairs
        self.augment = albumentations.Compose(
            [
                albumentations.HorizontalFlip(p=0.5),
                albumentations.ShiftScaleRotate(
                    scale_limit=0.5, rotate_limit=0, shift_limit=0.1, p=1, border_mode=0
                ),
                albumentations.PadIfNeeded(min_height=size[0], min_width=size[1], border_mode=0),
                albumentations.RandomCrop(height=size[0], width=size[1]),
                albumentations.GaussNoise(p=0.2),
                albumentations.Perspective(p=0.5),
                albumentations.OneOf(
                    [
                        albumentations.CLAHE(p=1),
                        albumentations.RandomBrightnessContrast(p=1),
                        albumentations.RandomGamma(p=1),
                    ],
                    p=0.9,
                ),
                albumentations.OneOf(
                    [
                        albumentations.Sharpen(p=1),
                        albumentations.Blur(blur_limit=3, p=1),
                        albumentations.MotionBlur(blur_limit=3, p=1),
                    ],
                    p=0.9,
                ),
                albumentations.OneOf(
                    [
                        albumentations.RandomBrightnessContrast(p=1),
                        albumentations.HueSaturationValue(p=1),
                    ],
                    p=0.9,
                ),
            ]
        )

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        image, mask = self.pairs[index]
        # Void, 255, wraps around to 0, which is what padding is; both are -1 in the end.
        found = self.augment(image=image, mask=mask + np.uint8(1))
        return to_tensor(found["image"]), torch.from_numpy(found["mask"].astype(np.int64) - 1)


def to_tensor(image):
    """RGB uint8 (H, W, 3) as Keras' weights of VGG16 want it: BGR, less the mean, (3, H, W)."""
    return torch.from_numpy((np.float32(image) - _MEAN)[..., ::-1].transpose(2, 0, 1).copy())


def read_pairs(folder):
    """[(image, mask)] of uint8, RGB and class ids."""
    pairs = []
    for path in sorted((folder / "images").iterdir()):
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        pairs.append((image, cv2.imread(str(folder / "masks" / path.name), cv2.IMREAD_UNCHANGED)))
    return pairs


def load_imagenet(model, path):
    """Loads Keras' file of VGG16 into the encoder's convolutions, in their order."""
    convolutions = [m for m in model.encoder.modules() if isinstance(m, torch.nn.Conv2d)]
    counts, names = (2, 2, 3, 3, 3), []
    for block, count in enumerate(counts, start=1):
        names += [f"block{block}_conv{number}" for number in range(1, count + 1)]
    assert len(names) == len(convolutions)
    with h5py.File(path) as file, torch.no_grad():
        for name, convolution in zip(names, convolutions, strict=True):
            arrays = [np.array(file[name][key]) for key in sorted(file[name], reverse=True)]
            kernel, bias = sorted(arrays, key=lambda array: -array.ndim)
            convolution.weight.copy_(torch.from_numpy(kernel.transpose(3, 2, 0, 1)))
            convolution.bias.copy_(torch.from_numpy(bias))


def predict(model, image):
    """Class ids (H, W) of an image, which is padded to multiples of 32."""
    height, width = image.shape[:2]
    bottom, right = -height % 32, -width % 32
    padded = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REFLECT_101)
    with torch.no_grad():
        ids = model(to_tensor(padded)[None]).argmax(dim=1)[0]
    return ids[:height, :width].numpy().astype(np.uint8)


def mean_iou(model, pairs, num_classes):
    """The mean of the classes' IoU over all pixels that are not void."""
    model.eval()
    matrix = np.zeros((num_classes, num_classes))
    for image, mask in pairs:
        valid = mask < num_classes
        joint = mask[valid].astype(int) * num_classes + predict(model, image)[valid]
        matrix += np.bincount(joint, minlength=num_classes**2).reshape(matrix.shape)
    tp = np.diag(matrix)
    with np.errstate(invalid="ignore"):
        return np.nanmean(tp / (matrix.sum(0) + matrix.sum(1) - tp))


def main():
    """Trains and writes the validation images' masks."""
    folder, num_classes, minutes, seed, imagenet = sys.argv[1:6]
    begin, limit, folder = time.monotonic(), 60 * float(minutes), Path(folder)
    num_classes = int(num_classes)
    torch.manual_seed(int(seed))
    np.random.seed(int(seed))
    train, val = read_pairs(folder / "train"), read_pairs(folder / "val")
    sides = np.min([image.shape[:2] for image, _ in train], axis=0)
    size = [min(_SIDE, int(side) // 32 * 32) for side in sides]
    model = smp.Unet("vgg16", encoder_weights=None, in_channels=3, classes=num_classes)
    if imagenet:
        load_imagenet(model, imagenet)
    dice = smp.losses.DiceLoss("multiclass", from_logits=True, ignore_index=-1)
    cross_entropy = torch.nn.CrossEntropyLoss(ignore_index=-1)
    optimizer = torch.optim.Adam(model.parameters(), lr=_RATE)
    loader = torch.utils.data.DataLoader(Crops(train, size), _BATCH, shuffle=True)
    best, best_state, epoch, validation = -1.0, None, 0, 0.0
    while (elapsed := time.monotonic() - begin) + 2 * validation < limit:
        epoch += 1
        model.train()
        for images, masks in loader:
            elapsed = time.monotonic() - begin
            if elapsed + 2 * validation > limit:  # the end: one validation and the masks
                break
            optimizer.param_groups[0]["lr"] = (
                _RATE * 0.5 * (1 + math.cos(math.pi * elapsed / limit))
            )
            logits = model(images)
            loss = dice(logits, masks) + cross_entropy(logits, masks)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        start = time.monotonic()
        found = mean_iou(model, val, num_classes)
        validation = time.monotonic() - start
        print(
            f"epoch {epoch}: {(time.monotonic() - begin) / 60:.1f} min, mIoU {found:.3f}",
            flush=True,
        )
        if found > best:
            best, best_state = found, {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(best_state)
    model.eval()
    (folder / "predictions").mkdir()
    for path in sorted((folder / "val" / "images").iterdir()):
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        cv2.imwrite(str(folder / "predictions" / path.name), predict(model, image))


if __name__ == "__main__":
    main()
