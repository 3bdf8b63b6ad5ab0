"""Test the demo images: scikit-learn's digits as files."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from labeling.ingest.demo_images import write_digits


def test_the_demo_is_written_once(tmp_path: Path) -> None:
    folder = write_digits(tmp_path / "demo" / "digits")
    files = sorted(folder.iterdir())
    assert len(files) == 1797
    with Image.open(files[5]) as image:
        assert image.size == (8, 8)
        assert np.array_equal(np.asarray(image), np.rint(load_digits().images[5] * 255 / 16))
    files[0].unlink()
    write_digits(tmp_path / "demo" / "digits")
    assert not files[0].exists()
    assert [path.name for path in (tmp_path / "demo").iterdir()] == ["digits"]
