"""Run a quick training: train a network on labeled images, predict every image, and write the model's files."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice, tee
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from django.conf import settings
from django.db.models import Max
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from hoshina.core.parsing import parse_options
from hoshina.core.storage import StoreError, replacing
from hoshina.jobs.runner import Run
from labeling.images.encoder_inputs import Pixels
from labeling.models import Dataset
from modeling import signals
from modeling.algorithms.calibration import softmax
from modeling.assistive.holdout_groups import holdout_groups_of
from modeling.assistive.pipeline import summary
from modeling.backends import user_models
from modeling.backends.quick.augmentation import imagenet_weights
from modeling.encoders.network_input import NetworkInput, inputs_of
from modeling.models import ModelVersion
from modeling.quick import checkpoints
from modeling.quick import program as quick_program
from modeling.quick.checkpoints import Plan
from modeling.quick.data import STOPPING, TEST, TRAIN, image_files, n_rows_of, read_labels, room_for_pixels, split
from modeling.quick.evaluation import account, beside_assistive, calibrated
from modeling.quick.frames import network_input_of
from modeling.quick.model_card import card
from modeling.quick.options import Facts, QuickOptions, problems, remarks
from modeling.quick.progress import Watch
from modeling.versions import active as active_version
from modeling.versions import model_files
from modeling.versions.model_files import quick_folder

if TYPE_CHECKING:
    from modeling.backends.quick.network import QuickNetwork

log = logging.getLogger(__name__)

FEATURES = "features.keras"
_PREDICTED_AT_ONCE = 256

Positions = NDArray[np.int64]


def quick_train(run: Run) -> dict[str, Any]:
    """Run the job ``quick_train``; its parameters are those of ``QuickOptions``, or ``{"finish": <job id>}``.

    Returns what ``quick_train --json`` prints, the curves, and what was produced.
    """
    began = time.perf_counter()
    return _finish(run, began) if "finish" in run.params else _from_the_beginning(run, began)


def make_encoder(version: ModelVersion) -> str:
    """Add the network of a quick training as an encoder, and return the name to choose it by (``file:<file name>``).

    Raises
    ------
    Refusal : the version's files are missing.
    """
    source = quick_folder(version) / FEATURES
    folder = user_models.own_folder(Path(settings.STORE_DIR))
    target = folder / f"{version.dataset.slug}-quick-{version.number}.keras"
    about = {"preprocessing": "0..255", "name": f"{version.dataset.name}, quick training {version.number}"}
    try:
        with source.open("rb") as model, replacing(target) as stream:
            shutil.copyfileobj(model, stream)
            target.with_suffix(".json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
    except FileNotFoundError as error:
        raise Refusal(f"The files of model {version.number} are missing.", "Train it again.") from error
    return user_models.PREFIX + target.name


# -- Training ------------------------------------------------------------------------------------------
def _from_the_beginning(run: Run, began: float) -> dict[str, Any]:
    try:
        options = parse_options(QuickOptions, run.params)
    except Refusal as error:
        raise Refusal(f"{error.field}: {error}", "Choose the options again.") from error
    dataset = Dataset.objects.get(pk=run.dataset_id)
    run.stage("Reading the labels")
    labels = read_labels(dataset)
    network_input = network_input_of(dataset)
    _refuse(options, labels.y, labels.class_ids)
    file = imagenet_weights(options.backbone, settings.WEIGHTS_DIR) if options.weights == "imagenet" else None
    folder = checkpoints.job_folder(run.job.pk)
    with room_for_pixels(folder, len(labels.rows), options.image_side) as pixels:
        readable = _read(run, dataset, network_input, labels.paths, pixels)
        usable, labels = np.flatnonzero(readable), labels.only(readable)
        _refuse(options, labels.y, labels.class_ids)
        holdout = holdout_groups_of(dataset, labels.rows, labels.hashes, options.seed)
        plan = Plan(
            dataset_id=dataset.pk,
            options=options,
            network_input=network_input,
            class_ids=labels.class_ids,
            n_decisions=labels.n_decisions,
            rows=labels.rows,
            y=labels.y,
            parts=split(labels, holdout, options),
            n_left_out=len(readable) - len(usable),
            groups=holdout.groups(),
            together=holdout.as_json(),
        )
        watch = Watch(run, plan, _initial_result(plan))
        try:
            run.stage("Loading TensorFlow")
            network = _network(plan, file)
            _train_network(network, plan, pixels, usable, watch)
            judged = usable[plan.parts != TRAIN]
            result = _made(run, watch, network, pixels, judged, began)
        except BaseException:  # however it ends, the best epoch can still become a version
            _salvage(watch)
            raise
    checkpoints.forget(dataset.pk)
    checkpoints.remove(run.job.pk)
    return result


def _salvage(watch: Watch) -> None:
    """Save the best epoch. An error in doing so is only logged, so that the original reason is reported."""
    try:
        watch.keep()
    except StoreError as error:
        log.warning("The best weights of %s could not be saved: %s", watch.run.job, error)


def _finish(run: Run, began: float) -> dict[str, Any]:
    """Make a version of the best weights that a stopped training saved."""
    checkpoint = checkpoints.open_checkpoint(str(run.params["finish"]))
    plan, dataset, result = checkpoint.plan, Dataset.objects.get(pk=run.dataset_id), checkpoint.result
    if plan.dataset_id != dataset.pk:
        raise Refusal("That training belongs to another dataset.")
    result["notes"].append(f"Stopped early: the weights of epoch {result['best_epoch']}.")
    result.pop("kept", None)
    watch = Watch(run, plan, result)
    watch.tell()
    options = plan.options
    file = imagenet_weights(options.backbone, settings.WEIGHTS_DIR) if options.weights == "imagenet" else None
    judged = np.flatnonzero(plan.parts != TRAIN)
    paths = _paths(dataset, plan, plan.rows[judged])
    with room_for_pixels(checkpoints.job_folder(run.job.pk), len(judged), options.image_side) as pixels:
        readable = _read(run, dataset, plan.network_input, paths, pixels)
        if not readable.all():
            raise Refusal(
                f"{int((~readable).sum())} of the validation and test images cannot be read any more.",
                "Start a new quick training.",
            )
        run.stage("Loading TensorFlow")
        network = _network(plan, file)
        network.set_weights(checkpoint.weights)
        result = _made(run, watch, network, pixels, np.arange(len(judged)), began)
    checkpoints.forget(dataset.pk)
    return result


def _made(
    run: Run, watch: Watch, network: QuickNetwork, pixels: Pixels, judged: Positions, began: float
) -> dict[str, Any]:
    """Save a trained network as a version; ``judged`` are the indices in ``pixels`` of images not trained on."""
    plan, result, dataset = watch.plan, watch.result, Dataset.objects.get(pk=watch.plan.dataset_id)
    run.stage("Calibrating")
    watch.tell()
    logits, part = network.logits(pixels, judged), plan.parts[plan.parts != TRAIN]
    temperature, is_calibrated, note = calibrated(logits[part == STOPPING], plan.y[plan.parts == STOPPING])
    test, logits = plan.parts == TEST, logits[part == TEST]
    rows, y, groups = plan.rows[test], plan.y[test], None if plan.groups is None else plan.groups[test]
    class_ids = np.array(plan.class_ids, dtype=np.int64)
    metrics = {
        "n_labels": len(plan.y),
        "n_per_class": np.bincount(plan.y, minlength=len(class_ids)).tolist(),
        "n_folds": 0,
        **account(logits, y, temperature, len(class_ids), groups),
        "together": plan.together,
        **beside_assistive(dataset, rows, class_ids[y], class_ids[logits.argmax(axis=1)]),
        **{name: result[name] for name in ("epochs", "best_epoch", "n_train", "n_stopping", "n_test")},
    }
    run.stage("Freezing the network")
    graph = network.frozen(network.probabilities_model(temperature))
    version = _new_version(plan, dataset, metrics, temperature, is_calibrated, note)
    try:
        _predict(run, version, plan, network, graph)
        model_files.save_held_out(version, model_files.HeldOut(rows, y, softmax(logits, temperature), groups))
        result["notes"] += _write_files(run, version, plan, network, graph)
    except BaseException:
        model_files.delete_files(version)
        version.delete()
        raise
    result["notes"] += [f"{plan.n_left_out} labeled images could not be read."] if plan.n_left_out else []
    (quick_folder(version) / "model_card.md").write_text(card(version, plan, result["notes"]), encoding="utf-8")
    version.seconds = time.perf_counter() - began
    version.save(update_fields=["seconds"])
    if plan.options.is_used:
        active_version.activate(version, is_chosen=True)
    signals.trained.send(sender=ModelVersion, version=version)
    result.pop("kept", None)
    files = [file.name for file in model_files.quick_files(version)]
    beside = {"assistive": metrics["assistive"], "folder": str(quick_folder(version))}
    return {**result, **summary(version, metrics), **beside, "version": version.pk, "files": files}


# -- Preparation ----------------------------------------------------------------------------------------
def _refuse(options: QuickOptions, y: Positions, class_ids: Sequence[int]) -> None:
    if found := problems(options, _facts(y, class_ids)):
        raise Refusal(found[0][1], " ".join(message for _, message in found[1:]))


def _facts(y: Positions, class_ids: Sequence[int]) -> Facts:
    return Facts(len(y), np.bincount(y, minlength=len(class_ids)).tolist())


def _initial_result(plan: Plan) -> dict[str, Any]:
    """Return the result of the job before its first epoch."""
    counts = np.bincount(plan.parts, minlength=3).tolist()
    notes = remarks(plan.options, _facts(plan.y, plan.class_ids))
    if plan.network_input.note:
        notes.append(plan.network_input.note)
    if plan.together is not None and plan.groups is not None:
        share = f"{len(np.unique(plan.groups[plan.parts == TEST]))} of {plan.together['groups']} groups"
        note = f"Images of one {plan.together['field']} are in one set; the test set has {share}"
        notes.append(f"{note}, which limits how narrow its interval can be.")
    sizes = {"n_train": counts[TRAIN], "n_stopping": counts[STOPPING], "n_test": counts[TEST]}
    return {"epochs": [], "live": {}, **sizes, "best_epoch": 0, "notes": notes}


def _read(
    run: Run, dataset: Dataset, network_input: NetworkInput, paths: Sequence[Mapping[str, str]], pixels: Pixels
) -> NDArray[np.bool_]:
    """Fill ``pixels`` (n, side, side, 3) and return which of the images could be read."""
    run.stage("Reading the images", total=len(paths))
    readable = np.zeros(len(paths), dtype=np.bool_)
    files = ({role: dataset.data_dir / path for role, path in some.items()} for some in paths)
    for position, image in enumerate(inputs_of(files, pixels.shape[1], network_input)):
        if image.pixels is not None:
            pixels[position], readable[position] = image.pixels, True
        run.advance()
    if len(paths) and not readable.any():
        raise Refusal(
            f"None of the labeled images in {dataset.data_dir} could be read.",
            "Connect its disk, or set AL_DATA_DIR to where it is now.",
        )
    return readable


def _paths(dataset: Dataset, plan: Plan, rows: Positions) -> list[dict[str, str]]:
    """Return the current files of the images of rows; a missing file for rows that no longer exist."""
    wanted = set(rows.tolist())
    items = image_files(dataset, max(wanted, default=-1) + 1, plan.network_input.spec)
    found = {row: files for row, files in items if row in wanted}
    gone = {"": dataset.data_dir / "-"}
    return [{role: str(file) for role, file in found.get(row, gone).items()} for row in rows.tolist()]


def _network(plan: Plan, file: Path | None) -> QuickNetwork:
    from modeling.backends.quick.network import QuickNetwork

    return QuickNetwork(plan.options, len(plan.class_ids), file)


def _train_network(network: QuickNetwork, plan: Plan, pixels: Pixels, usable: Positions, watch: Watch) -> None:
    """Train the network; ``usable`` are the indices in ``pixels`` of the plan's labels."""
    from modeling.backends.quick.keras_loop import Diverged, TrainingData, balanced_weights, train

    y = np.zeros(len(pixels), dtype=np.int64)
    y[usable] = plan.y
    weight = np.ones(len(pixels), dtype=np.float32)
    if plan.options.class_weights == "balanced":
        weight[usable] = balanced_weights(plan.y, len(plan.class_ids))
    data = TrainingData(pixels, y, weight, usable[plan.parts == TRAIN], usable[plan.parts == STOPPING])
    try:
        train(network, data, watch)
    except Diverged as error:
        raise Refusal(
            "The training diverged: its loss is not a number any more.",
            "Try a larger batch, or do not fine-tune the network.",
        ) from error


# -- Version and files ----------------------------------------------------------------------------------
def _new_version(
    plan: Plan, dataset: Dataset, metrics: dict[str, Any], temperature: float, is_calibrated: bool, note: str
) -> ModelVersion:
    newest = ModelVersion.objects.filter(dataset=dataset).aggregate(newest=Max("number"))["newest"] or 0
    return ModelVersion.objects.create(
        dataset=dataset,
        kind=ModelVersion.Kind.QUICK,
        options=asdict(plan.options),
        number=newest + 1,
        # It uses the images themselves; queues keep using the dataset's active embeddings.
        embedding_set=None,
        class_ids=plan.class_ids,
        n_labels=len(plan.y),
        n_rows=n_rows_of(dataset),
        n_decisions=plan.n_decisions,
        temperature=temperature,
        is_calibrated=is_calibrated,
        calibration_note=note,
        metrics=metrics,
    )


def _predict(run: Run, version: ModelVersion, plan: Plan, network: QuickNetwork, graph: bytes) -> None:
    """Compute the probabilities of every image with the same graph that is in the exported files."""
    run.stage("Predicting every image", total=version.dataset.n_items)
    answer = network.predictor(graph, version.temperature)
    with model_files.save_probabilities(version, version.n_rows, len(version.class_ids)) as out:
        for rows, pixels in _batches(version, plan, network.options.image_side):
            if len(pixels):
                out[rows] = answer(pixels)
            run.advance(_PREDICTED_AT_ONCE)


def _batches(version: ModelVersion, plan: Plan, side: int) -> Iterator[tuple[Positions, Pixels]]:
    """Yield rows and pixels of all readable images, some hundreds at a time; the next batch is read ahead."""
    named, opened = tee(image_files(version.dataset, version.n_rows, plan.network_input.spec))
    images = inputs_of((files for _, files in opened), side, plan.network_input)
    pairs = zip((row for row, _ in named), images, strict=True)
    while batch := list(islice(pairs, _PREDICTED_AT_ONCE)):
        good = [(row, image.pixels) for row, image in batch if image.pixels is not None]
        rows = np.array([row for row, _ in good], dtype=np.int64)
        yield rows, np.stack([pixels for _, pixels in good]) if good else np.empty((0, side, side, 3), np.uint8)


def _write_files(run: Run, version: ModelVersion, plan: Plan, network: QuickNetwork, graph: bytes) -> list[str]:
    from modeling.backends.quick.export_formats import N_STEPS, write_files

    run.stage("Writing the model's files", total=N_STEPS + 1)
    folder, about = quick_folder(version), quick_program.about(version, plan)
    notes = write_files(folder, network, graph, temperature=version.temperature, about=about, step=run.advance)
    quick_program.write_program(version, folder, plan.network_input)
    run.advance()
    return notes
