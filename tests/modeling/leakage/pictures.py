"""Make pictures with copies that were changed a little, as files of a dataset."""

import hashlib
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageEnhance

from labeling.models import Dataset, Frame, Item
from tests.factories import MakeDataset


def picture(seed: int, side: int = 96) -> Image.Image:
    """Return a smooth random picture, unlike those of other seeds."""
    coarse = np.random.default_rng(seed).integers(0, 255, (7, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def copies(original: Image.Image) -> list[Image.Image]:
    """Return the picture at half the size, compressed, cropped by 5 %, brighter, rotated, and a moment later."""
    side = original.width
    compressed = io.BytesIO()
    original.save(compressed, "JPEG", quality=40)
    cropped = original.crop((1, 2, side - 4, side - 3))
    later = original.transform(original.size, Image.Transform.AFFINE, (1, 0, 2, 0, 1, -1), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(0).normal(0, 5, (side, side, 3))
    return [
        original.resize((side // 2, side // 2)),
        Image.open(io.BytesIO(compressed.getvalue())),
        cropped,
        ImageEnhance.Brightness(original).enhance(1.15),
        original.rotate(1.5, Image.Resampling.BICUBIC, fillcolor=original.getpixel((0, 0))),
        Image.fromarray((np.asarray(later) + noise).clip(0, 255).astype(np.uint8)),
    ]


def dataset_of(make_dataset: MakeDataset, pictures: Sequence[Image.Image]) -> Dataset:
    """Make a dataset of these pictures as PNG files, one row each."""
    dataset = make_dataset(0)
    add_pictures(dataset, pictures)
    return dataset


def add_pictures(dataset: Dataset, pictures: Sequence[Image.Image]) -> None:
    dataset.data_dir.mkdir(exist_ok=True)
    for row, image in enumerate(pictures, dataset.n_items):
        item = Item.objects.create(dataset=dataset, row=row, path=f"image{row:04d}.png")
        write_picture(dataset, item, image)
    dataset.n_items += len(pictures)
    dataset.save()


def write_picture(dataset: Dataset, item: Item, image: Image.Image) -> None:
    """Write or replace the file of an item, and record it."""
    file = dataset.data_dir / item.path
    image.save(file)
    facts = {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "size": file.stat().st_size, "mtime_ns": 1}
    size = {"width": image.width, "height": image.height}
    Frame.objects.update_or_create(
        item=item, defaults={**facts, **size, "dataset": dataset, "path": item.path, "format": "PNG"}
    )
