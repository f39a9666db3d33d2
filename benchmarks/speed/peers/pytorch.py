"""The same trainings in PyTorch: ``DataLoader``, channels last, autocast."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Images(Dataset[Any]):
    """The files of class folders as (3, side, side) and a label, augmented on request."""

    def __init__(self, folder: Path, side: int, augment: str = "") -> None:
        classes = sorted(each for each in folder.iterdir() if each.is_dir())
        self.files = [(f, k) for k, each in enumerate(classes) for f in sorted(each.glob("*.jp*g"))]
        self.side, self.augment = side, augment

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, float]:
        file, label = self.files[index]
        image = Image.open(file).convert("RGB")
        box = self._box(*image.size) if self.augment else None
        image = image.resize((self.side, self.side), Image.Resampling.BILINEAR, box)
        if self.augment and random.random() < 0.5:
            flip = Image.Transpose
            image = image.transpose(
                flip.FLIP_TOP_BOTTOM if self.augment == "article" else flip.FLIP_LEFT_RIGHT
            )
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        return pixels.float() / 255, float(label)

    @staticmethod
    def _box(width: int, height: int) -> tuple[float, float, float, float]:
        """Draw a crop of 80 to 100 % of each side."""
        w, h = random.uniform(0.8, 1) * width, random.uniform(0.8, 1) * height
        left, top = random.uniform(0, width - w), random.uniform(0, height - h)
        return left, top, left + w, top + h


def loader(images: Images, batch: int, *, shuffle: bool) -> Any:
    workers = os.cpu_count() or 1
    return DataLoader(images, batch, shuffle, num_workers=workers, persistent_workers=True)


def train_article(
    folder: Path, side: int, batch: int, epochs: int, done: Callable[[], None], precision: str
) -> None:
    batches = loader(Images(folder, side, "article"), batch, shuffle=True)
    network = article(side).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters())
    done()
    for _ in range(epochs):
        epoch(network, optimizer, batches, precision)
        done()


def epoch(network: Any, optimizer: Any, batches: Any, precision: str, schedule: Any = None) -> None:
    network.train()
    loss = nn.BCEWithLogitsLoss()
    for pixels, labels in batches:
        x = pixels.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = network(x)[:, 0]
        optimizer.zero_grad(set_to_none=True)
        loss(logits.float(), labels.float()).backward()
        optimizer.step()
        if schedule:
            schedule.step()


def predict(network: Any, batches: Any, precision: str) -> list[float]:
    network.eval()
    scores: list[float] = []
    with (
        torch.inference_mode(),
        torch.autocast("cpu", torch.bfloat16, enabled=precision != "float32"),
    ):
        for pixels, _ in batches:
            x = pixels.contiguous(memory_format=torch.channels_last)
            scores += network(x)[:, 0].float().tolist()
    return scores


def article(side: int) -> Any:
    layers: list[Any] = []
    channels = 3
    for dropout in (0.0, 0.2, 0.2):
        layers += [nn.Conv2d(channels, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(dropout)]
        channels, side = 32, (side - 2) // 2
    layers += [nn.Flatten(), nn.Dropout(0.2), nn.Linear(32 * side * side, 128), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(128, 1))


class _Block(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2015)."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(),
            nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        same = stride == 1 and inside == outside
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )
        )

    def forward(self, x: Any) -> Any:
        return torch.relu(self.body(x) + self.shortcut(x))


def resnet18() -> Any:
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    blocks: list[Any] = []
    inside = 64
    for stage, outside in enumerate((64, 128, 256, 512)):
        for block in range(2):
            blocks.append(_Block(inside, outside, 2 if stage and not block else 1))
            inside = outside
    end = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1)]
    return nn.Sequential(*stem, nn.MaxPool2d(3, 2, 1), *blocks, *end)
