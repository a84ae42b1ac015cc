"""The parts of a page about predicted subjects: their scores, their pictures, the slices of one of them, and where they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from mrh_monai.evaluation import SCORES
from mrh_monai.figures import ShownVolume, channel_levels, three_planes
from mrh_monai.inference import command, versions
from mrh_monai.report.predicted_subject import Check, PredictedSubject, WrittenPrediction
from mrh_monai.report.sections import Picture, Table, read_picture, read_results
from mrh_monai.report.viewer import Layer, embed

SUBJECT_SCORES = tuple(score for score in SCORES if score.from_voxels is not None)
LEAST_VIEWER = 200_000  # bytes that the volumes of the viewer may take in any case


@dataclass(frozen=True)
class SubjectSection:
    """The pictures and checks of one predicted subject.

    Attributes:
        name: Name of the subject.
        checks: Checks of its files and signals.
        pictures: Its stain in three planes, and the signals of its images.
    """

    name: str
    checks: Sequence[Check]
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class ViewerSection:
    """The slices of one predicted subject, to be looked through.

    Attributes:
        subject: Name of the subject.
        volumes: Volumes as JSON, safe inside a script element.
        note: What the slices show.
    """

    subject: str
    volumes: Markup
    note: str


def scores_table(predictions: Sequence[WrittenPrediction], detailed: Sequence[PredictedSubject]) -> Table | None:
    """Return the scores of all predictions. They are computed again if the subject was read; otherwise the evaluation's file has them.

    Args:
        predictions: All predictions.
        detailed: Subjects that were read again.

    Returns:
        The table; None where no prediction has scores.
    """
    computed = {subject.prediction.path: subject.scores for subject in detailed}
    rows = []
    for prediction in sorted(predictions, key=lambda each: each.name):
        known = computed.get(prediction.path) or _written_scores(prediction)
        values = [known.get(score.key) for score in SUBJECT_SCORES]
        cells = ["" if value is None else f"{value:.4g}" for value in values]
        rows.append([prediction.name, str(prediction.about.get("stain", "")).upper(), *cells, str(prediction.about.get("units", ""))])
    if not any("".join(row[2:-1]) for row in rows):
        return None
    in_units = " and ".join(score.title for score in SUBJECT_SCORES if score.unit == "stain")
    return Table(["", "stain", *(score.title for score in SUBJECT_SCORES), f"units of {in_units}"], rows)


def _written_scores(prediction: WrittenPrediction) -> Mapping[str, float | None]:
    folder = prediction.path.parent
    written = folder.parent / "scores.json"
    if folder.name != prediction.subject_name or not written.is_file():
        return {}
    scores = read_results(written).get(folder.name)
    return scores if isinstance(scores, dict) else {}


def subject_section(subject: PredictedSubject, pictures: Path) -> SubjectSection:
    """Draw the pictures of one predicted subject.

    Args:
        subject: The subject.
        pictures: Path without ending under which pictures are kept for a moment.
    """
    mask, stain, units = subject.mask, subject.stain_name, subject.units
    rows = []
    if subject.image is not None:
        rows.append(ShownVolume(subject.image_name, subject.image, 0, _bright(subject.image, mask), "gray", "scanner's"))
    high = _bright(subject.stain if subject.target is None else subject.target, mask)
    rows.append(ShownVolume(f"{stain} predicted", subject.stain, 0, high, "magma", units))
    if subject.target is not None and subject.scored is not None:
        rows.append(ShownVolume(f"{stain} true", subject.target * mask, 0, high, "magma", units))
        error = np.where(subject.scored, subject.stain - subject.target, 0)
        limit = float(np.percentile(np.abs(error[subject.scored]), 99)) or 1.0
        rows.append(ShownVolume("predicted - true", error, -limit, limit, "RdBu_r", units))
    if subject.relative_width is not None:
        width = subject.relative_width
        rows.append(ShownVolume("width of the interval", width, 0, _bright(width, mask), "viridis", "% of the stain's range"))
    middle = [int(np.median(axis)) for axis in np.nonzero(mask)] if mask.any() else [size // 2 for size in mask.shape]
    spacing = np.linalg.norm(subject.affine[:3, :3], axis=0).tolist()
    name, planes, levels = subject.prediction.name, pictures.with_suffix(".planes.png"), pictures.with_suffix(".levels.png")
    three_planes(rows, middle, spacing, planes)
    found = [read_picture(planes, f"{name}: three planes through the middle of the brain. Each row has a scale of its own.")]
    if subject.means is not None:
        known = None if subject.scaling is None else subject.scaling.training_levels
        channel_levels(subject.means, None if known is None else known.mean, None if known is None else known.std, levels)
        found.append(read_picture(levels, "Mean signal of every image in the mask, relative to the level of the subject."))
    return SubjectSection(name, subject.checks, found)


def viewer_section(subject: PredictedSubject, limit: int) -> ViewerSection:
    """Return the volumes of one predicted subject for the viewer.

    Args:
        subject: The subject.
        limit: Number of bytes that the volumes may take; at least 200,000 are used.
    """
    mask = subject.mask if subject.mask.any() else np.ones_like(subject.mask)
    high = _bright(subject.stain if subject.target is None else subject.target, mask)
    base = subject.image if subject.image is not None else subject.stain
    layers = [
        Layer("base", base, 0, _bright(base, mask), "gray"),
        Layer(f"{subject.stain_name} predicted", subject.stain, 0, high, "magma"),
    ]
    if subject.target is not None and subject.scored is not None:
        layers.append(Layer(f"{subject.stain_name} true", subject.target * mask, 0, high, "magma"))
        error = np.where(subject.scored, np.abs(subject.stain - subject.target), 0)
        layers.append(Layer("size of the error", error, 0, float(np.percentile(error[subject.scored], 99)) or 1.0, "hot"))
    if subject.relative_width is not None:
        layers.append(Layer("width of the interval", subject.relative_width, 0, _bright(subject.relative_width, mask), "viridis"))
    volumes, factors = embed(layers, mask, subject.affine, max(limit, LEAST_VIEWER))
    edges = " x ".join(map(str, factors))
    joined = f", {edges} voxels joined into one to keep this page small" if max(factors) > 1 else ""
    base_name = subject.image_name or "the prediction"
    note = f"Under the overlay: {base_name}; in 256 grey levels{joined}. Read exact values from the NIfTI files."
    # JSON inside a script element must not hold anything that ends it.
    return ViewerSection(subject.prediction.name, Markup(json.dumps(volumes).replace("<", "\\u003c")), note)


def provenance_rows(predictions: Sequence[WrittenPrediction]) -> list[tuple[str, str]]:
    """Return where the predictions come from, as pairs of a title and a text; each network stands once."""
    rows: list[tuple[str, Any]] = []
    for weights in dict.fromkeys(_weights(prediction) for prediction in predictions):
        first = next(prediction for prediction in predictions if _weights(prediction) == weights)
        about, made_by, parent = first.about, first.record["made_by"], first.about.get("parent")
        network = f"{about.get('residual_blocks')} residual blocks, {about.get('features')} features, "
        rows += [
            (f"{str(about.get('stain', 'stain')).upper()}: weights, SHA-256", weights),
            ("Sidecar, SHA-256", made_by.get("sidecar", "unknown")),
            ("Network", f"{network}{len(about.get('channels', []))} channels, {made_by.get('precision', 'unknown')}"),
            ("Trained", _listed({key: value for key, value in about.get("source", {}).items() if key != "versions"})),
            ("Started from", "scratch" if parent is None else f"{parent.get('stain')}, SHA-256 {parent.get('sha256')}"),
            ("Predicted by", about.get("command", "unknown")),
            ("Software", _listed(about.get("versions", {}))),
        ]
    rows += [("Report by", f"{command()}; {_listed(versions())}")]
    return [(key, str(value)) for key, value in rows]


def _weights(prediction: WrittenPrediction) -> str:
    return str(prediction.record["made_by"].get("weights", "unknown"))


def _listed(found: Mapping[str, Any]) -> str:
    words = {name: " ".join(map(str, value)) if isinstance(value, list) else value for name, value in found.items()}
    return ", ".join(f"{name} {value}" for name, value in words.items())


def _bright(volume: np.ndarray, mask: np.ndarray) -> float:
    """Return where a colour map ends, so that bright spots of half a percent of the voxels do not darken all others."""
    return (float(np.percentile(volume[mask], 99.5)) if mask.any() else 0.0) or 1.0
