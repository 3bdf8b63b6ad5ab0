"""Write class folders: train/cat/1_image.png."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from labeling.exporting.contents import Contents, ItemTable
from labeling.exporting.layouts.base import Layout, Loading
from labeling.exporting.splits import SPLITS
from labeling.exporting.zip_stream import Member

KERAS = """
import keras

train, val, test = (
    keras.utils.image_dataset_from_directory(f"data/{split}", image_size=(224, 224), shuffle=split == "train")
    for split in ("train", "val", "test")
)
"""
TORCHVISION = """
from torchvision.datasets import ImageFolder

train, val, test = (ImageFolder(f"data/{split}", allow_empty=True) for split in ("train", "val", "test"))
"""
HUGGING_FACE = """
from datasets import load_dataset

dataset = load_dataset("imagefolder", data_dir="data")
"""
ULTRALYTICS = """
from ultralytics import YOLO

YOLO("yolo11n-cls.pt").train(data="data", epochs=10)
"""


class ImageFolder(Layout):
    """Class folders under train, val and test."""

    name = "imagefolder"
    title = "Class folders"
    sentence = "Folders train, val and test with one folder of images per class, for PyTorch, Keras and others."
    loading: ClassVar[tuple[Loading, ...]] = (
        Loading("Keras", KERAS),
        Loading("Hugging Face", HUGGING_FACE),
        Loading("PyTorch (torchvision)", TORCHVISION, by_hand="0.29.1"),
    )

    def members(self, contents: Contents) -> Iterator[Member]:
        """Yield a folder for every class in every split, so that class numbers agree, then the images."""
        for split in SPLITS:
            for label in contents.labels:
                yield Member.folder(f"{split}/{label.folder}")
        table = ItemTable()
        for image in contents.images():
            name = f"{image.split}/{image.label.folder}/{image.name}"
            for member in contents.file(image, name):
                yield member
                table.add(image, name)
        yield table.member()
        yield contents.class_list()


class Yolo(ImageFolder):
    """Write the same folders, as Ultralytics expects them for classification."""

    name = "yolo"
    title = "YOLO classification"
    sentence = "The class folders as Ultralytics expects them to train a YOLO classification model."
    loading = (Loading("ultralytics", ULTRALYTICS, by_hand="8.4.190"),)
