"""A training step of the same network in PyTorch; started by benchmarks/train_step.py.

Reads lines from its input; each is the name of a way, for which it makes one step on noise and
prints "done": eager, compiled (`torch.compile`), or "compiled, bfloat16, channels last", with
autocast. VGG16's convolutions, the article's decoder, cross-entropy and Dice, Adam.
"""

import json
import sys
from contextlib import nullcontext

import torch
from torch.nn import functional

_BLOCKS = (64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)
_UP = (512, 256, 128, 64)


class Unet(torch.nn.Module):
    """The article's network; logits (B, C, H, W)."""

    def __init__(self, num_classes):
        super().__init__()
        before, self.blocks = 3, torch.nn.ModuleList()
        for filters in _BLOCKS:
            self.blocks.append(_convolutions(before, *filters))
            before = filters[-1]
        self.decoder = torch.nn.ModuleList()
        for filters, skip in zip(_UP, reversed(_BLOCKS[:-1]), strict=True):
            self.decoder.append(_convolutions(before + skip[-1], filters, filters))
            before = filters
        self.head = torch.nn.Conv2d(before, num_classes, 1)

    def forward(self, x):
        skips = []
        for block in self.blocks:
            x = block(functional.max_pool2d(x, 2) if skips else x)
            skips.append(x)
        skips.pop()
        for stage in self.decoder:
            up = functional.interpolate(x, scale_factor=2, mode="nearest")
            x = stage(torch.cat([skips.pop(), up], dim=1))
        return self.head(x)


def _convolutions(before, *filters):
    layers = []
    for count in filters:
        layers += [torch.nn.Conv2d(before, count, 3, padding=1), torch.nn.ReLU(inplace=True)]
        before = count
    return torch.nn.Sequential(*layers)


def dice_and_cross_entropy(logits, ids):
    """The article's loss, of logits and class ids (B, H, W)."""
    logits = logits.float()
    p = logits.softmax(dim=1)
    y = functional.one_hot(ids, logits.shape[1]).permute(0, 3, 1, 2).float()
    tp, axes = (p * y).sum(dim=(0, 2, 3)), (0, 2, 3)
    score = (2 * tp + 1e-5) / (p.sum(dim=axes) + y.sum(dim=axes) + 1e-5)
    return functional.cross_entropy(logits, ids) + 1 - score.mean()


class Step:
    """One way of making a step."""

    def __init__(self, options, way):
        torch.manual_seed(0)
        shape = options["batch"], 3, options["side"], options["side"]
        self.images = torch.rand(shape) * 2 - 1
        self.ids = torch.randint(options["classes"], (shape[0], *shape[2:]))
        model = Unet(options["classes"])
        self.autocast = nullcontext
        if "channels last" in way:
            model = model.to(memory_format=torch.channels_last)
            self.images = self.images.contiguous(memory_format=torch.channels_last)
        if "bfloat16" in way:
            self.autocast = lambda: torch.autocast("cpu", torch.bfloat16)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
        self.model = torch.compile(model) if "compiled" in way else model

    def __call__(self):
        self.optimizer.zero_grad()
        with self.autocast():
            logits = self.model(self.images)
        loss = dice_and_cross_entropy(logits, self.ids)
        loss.backward()
        self.optimizer.step()
        return loss.item()


def main():
    """Makes a step for each line."""
    options, steps = json.loads(sys.argv[1]), {}
    for line in sys.stdin:
        way = json.loads(line)
        if way not in steps:
            steps[way] = Step(options, way)
        steps[way]()
        print("done", flush=True)


if __name__ == "__main__":
    main()
