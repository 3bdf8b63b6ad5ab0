"""Define the records of embeddings, model versions and maps. Their arrays are files in the store."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from hoshina.jobs import clock
from labeling.models import Dataset

# From this many later images on, and from this ratio of what the components leave out of them, a new fit is offered.
MIN_LATER, MAX_DRIFT = 50, 1.3
# Lengths of the names of encoders, joined ones included.
MAX_BACKEND, MAX_NAME = 200, 200
# The beginning of EmbeddingSet.backend of imported embeddings, before their name.
IMPORTED = "import:"


class EmbeddingSet(models.Model):
    """The embeddings of one dataset under one encoder fingerprint; the arrays are in ``modeling.store``."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="embedding_sets")
    fingerprint = models.CharField(max_length=64)
    encoder = models.CharField(max_length=MAX_NAME)
    # The encoder's name in the registry (modeling.backends), such as mobilenet_v2 or file:birds.onnx.
    backend = models.CharField(max_length=MAX_BACKEND, blank=True)
    # Why this encoder was used and not a better one, for the header and the manifest.
    reason = models.TextField(blank=True)
    dim = models.PositiveIntegerField()
    # Of joined encoders, whose vectors are reduced to components fitted to a sample of the images: the fingerprint
    # before the reduction, the number of images of the sample, the share that the components leave out of other images
    # of the same kind, and the sum of that share over images that came later, with their number.
    source = models.CharField(max_length=64, blank=True, default="")
    n_fitted = models.PositiveIntegerField(default=0)
    left_out = models.FloatField(default=0)
    left_out_later = models.FloatField(default=0)
    n_later = models.PositiveBigIntegerField(default=0)
    # The generation of the current files (see modeling.store); 0: none yet.
    generation = models.PositiveIntegerField(default=0)
    n_vectors = models.PositiveBigIntegerField(default=0)
    n_failed = models.PositiveBigIntegerField(default=0)
    # Number of embeddings when a UMAP map of them was last started automatically; 0: never.
    n_mapped = models.PositiveBigIntegerField(default=0)
    # Of imported embeddings: the name, file and SHA-256 of the last import, when and by whom (modeling.external).
    origin = models.JSONField(default=dict, blank=True)
    is_active = models.BooleanField(default=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["dataset", "fingerprint"], name="embedding_set_once"),
            models.UniqueConstraint(fields=["dataset"], condition=Q(is_active=True), name="one_active_embedding_set"),
        ]

    def __str__(self) -> str:
        return f"{self.encoder} ({self.fingerprint[:8]})"

    @property
    def is_imported(self) -> bool:
        """Return whether the embeddings come from a file, so that none can be computed for new images."""
        return self.backend.startswith(IMPORTED)

    @property
    def imported_note(self) -> str:
        """Return which images lack an imported embedding, and what to do; "" if none does."""
        if not self.is_imported or not self.n_failed:
            return ""
        has = "image has" if self.n_failed == 1 else "images have"
        return (
            f"{self.n_failed:,} {has} no embedding from {self.encoder}: import more of them, or choose another encoder."
        )

    @property
    def has_drifted(self) -> bool:
        """Return whether the components leave out much more of later images than of those like the sample."""
        return self.n_later >= MIN_LATER and self.left_out_later / self.n_later > MAX_DRIFT * self.left_out


class ModelVersion(models.Model):
    """One trained classifier: its training set, its calibration and its metrics."""

    class Kind(models.TextChoices):
        ASSISTIVE = "assistive", "assistive"
        QUICK = "quick", "quick training"
        EXTERNAL = "external", "imported predictions"

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="model_versions")
    kind = models.CharField(max_length=12, choices=Kind, default=Kind.ASSISTIVE)
    # The options of a quick training (backbone, epochs, image side …), or the source of imported predictions.
    options = models.JSONField(default=dict)
    number = models.PositiveIntegerField()
    # Steps of smoothing over the k-NN graph before the classifier (modeling.algorithms.smoothing).
    steps = models.PositiveSmallIntegerField(default=0)
    embedding_set = models.ForeignKey(EmbeddingSet, null=True, on_delete=models.SET_NULL, related_name="+")
    # Ids of the classes, in the order of the columns of the probabilities.
    class_ids = models.JSONField()
    n_labels = models.PositiveBigIntegerField()
    n_rows = models.PositiveBigIntegerField()
    # Dataset.n_decisions when the labels were read: later decisions are newer than this model.
    n_decisions = models.PositiveBigIntegerField()
    # How logits are turned into probabilities: with the temperature, or with the parameters of another method.
    calibration_method = models.CharField(max_length=20, default="temperature")
    calibration_params = models.JSONField(default=dict)
    temperature = models.FloatField(default=1.0)
    is_calibrated = models.BooleanField(default=False)
    calibration_note = models.TextField(blank=True)
    # accuracy, accuracy_interval, ece_before, ece_after, log_loss_before, log_loss_after, confusion, reliability …
    metrics = models.JSONField(default=dict)
    is_active = models.BooleanField(default=False)
    # Chosen by a person: automatic retraining is paused.
    is_chosen = models.BooleanField(default=False)
    seconds = models.FloatField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["dataset", "number"], name="model_number_once"),
            models.UniqueConstraint(fields=["dataset"], condition=Q(is_active=True), name="one_active_model"),
        ]

    def __str__(self) -> str:
        return f"model {self.number}"


class Projection(models.Model):
    """A map: 2-D coordinates of every embedding of a set, stored by ``modeling.maps.coordinates``."""

    class Method(models.TextChoices):
        UMAP = "umap", "UMAP"
        TSNE = "tsne", "t-SNE"
        PCA = "pca", "PCA"

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="projections")
    embedding_set = models.ForeignKey(EmbeddingSet, on_delete=models.CASCADE, related_name="projections")
    name = models.CharField(max_length=80)
    method = models.CharField(max_length=8, choices=Method)
    # Options used to compute it: n_neighbors, min_dist, metric, perplexity, is_supervised …
    params = models.JSONField(default=dict)
    seed = models.BigIntegerField(default=0)
    # The generation of the current file of coordinates; it grows as new items are placed.
    generation = models.PositiveIntegerField(default=0)
    # The embedding set's generation that the coordinates cover.
    vectors_generation = models.PositiveIntegerField(default=0)
    # Points on the map, and how many of them were placed by their neighbors without a fit.
    n_points = models.PositiveBigIntegerField(default=0)
    n_placed = models.PositiveBigIntegerField(default=0)
    # trustworthiness on a sample, share of the fit's points …
    quality = models.JSONField(default=dict)
    seconds = models.FloatField(default=0)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["dataset", "name"], name="projection_name_once")]

    def __str__(self) -> str:
        return self.name

    @property
    def tag(self) -> str:
        """Return a tag that is unique to the map and to each version of its coordinates."""
        return f"{self.pk}.{self.generation}"


class EncoderChoice(models.Model):
    """The encoder that a person chose for a dataset; without one, AL_EMBEDDING_BACKEND decides."""

    dataset = models.OneToOneField(Dataset, on_delete=models.CASCADE, related_name="encoder_choice")
    backend = models.CharField(max_length=MAX_BACKEND)

    def __str__(self) -> str:
        return f"{self.dataset}: {self.backend}"


class RetrainPolicy(models.Model):
    """When and how the assistive model of a dataset is retrained."""

    class Calibration(models.TextChoices):
        TEMPERATURE = "temperature", "temperature"
        PLATT = "platt", "Platt scaling, per class"
        VECTOR = "vector", "vector scaling"
        NONE = "none", "none"

    class Weights(models.TextChoices):
        EQUAL = "equal", "every label counts the same"
        BALANCED = "balanced", "every class counts the same"

    dataset = models.OneToOneField(Dataset, on_delete=models.CASCADE, related_name="retrain_policy")
    is_automatic = models.BooleanField(default=True)
    # Retrain after this many new labels, or after this share of the labels if that is more.
    min_new = models.PositiveIntegerField(default=20)
    share_new = models.FloatField(default=0.1)
    calibration = models.CharField(max_length=12, choices=Calibration, default=Calibration.TEMPERATURE)
    class_weights = models.CharField(max_length=12, choices=Weights, default=Weights.EQUAL)
    # Smooth over the k-NN graph of the embeddings, as much as held-out labels recommend.
    is_smoothed = models.BooleanField(default=True)
    # A retrain was requested that has to wait for embeddings: it starts when the embedding job ends.
    is_requested = models.BooleanField(default=False, editable=False)

    class Meta:
        verbose_name_plural = "retrain policies"

    def __str__(self) -> str:
        return f"{self.dataset}: {'automatic' if self.is_automatic else 'by hand'}"


class LeakageCheck(models.Model):
    """Hold the last search for near-duplicates in a dataset; the arrays are in ``modeling.leakage.files``."""

    dataset = models.OneToOneField(Dataset, on_delete=models.CASCADE, related_name="leakage_check")
    # The generation of the signatures, and of the pairs; 0: none yet.
    generation = models.PositiveIntegerField(default=0)
    pairs_generation = models.PositiveIntegerField(default=0)
    # What the last check compared: the generation of the signatures, and the embeddings (leakage.schedule.source_of).
    compared_generation = models.PositiveIntegerField(default=0)
    source = models.CharField(max_length=64, blank=True, default="")
    # What the signatures depend on beside the files (InputSpec.key).
    input_key = models.CharField(max_length=64, blank=True, default="")
    n_pairs = models.PositiveBigIntegerField(default=0)
    n_groups = models.PositiveBigIntegerField(default=0)
    n_images = models.PositiveBigIntegerField(default=0)
    # How the check was done, for the certificate.
    facts = models.JSONField(default=dict)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.dataset}: {self.n_groups} groups"
