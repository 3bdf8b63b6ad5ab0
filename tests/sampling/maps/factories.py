"""Maps for tests, made by hand: what a projection job would leave."""

import numpy as np

from labeling.models import Dataset
from modeling.maps.coordinates import save_coordinates
from modeling.models import EmbeddingSet, Projection


def add_map(dataset: Dataset, places: np.ndarray, *, name: str = "UMAP 1") -> Projection:
    """Add a map with these places (n, 2), NaN for none."""
    vectors, _ = EmbeddingSet.objects.get_or_create(
        dataset=dataset, fingerprint="of the map", defaults={"encoder": "test", "dim": 2}
    )
    n_points = int(np.isfinite(places).all(axis=1).sum())
    made = Projection.objects.create(
        dataset=dataset, embedding_set=vectors, name=name, method=Projection.Method.UMAP, n_points=n_points
    )
    save_coordinates(made, places.astype(np.float32))
    return made
