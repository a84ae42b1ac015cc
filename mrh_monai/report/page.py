"""The report: one self-contained HTML file of what a folder of results holds."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from mrh_monai import __version__
from mrh_monai.errors import MRHError, OptionError, sentence
from mrh_monai.figures import Shown, channel_levels, three_planes
from mrh_monai.inference import command, versions
from mrh_monai.io import write_text
from mrh_monai.report.predicted_subject import Prediction, Reported, find_predictions, read_reported
from mrh_monai.report.sections import picture, read_results, result_sections
from mrh_monai.report.viewer import Layer, embed, viewer_script

logger = logging.getLogger(__name__)

LIMIT = 8 * 10**6  # bytes of a report
VOLUMES = 3 * 10**6  # bytes of the viewer's volumes
DETAILED = 3  # subjects shown in pictures
LEFT_OUT = "Its pictures are left out to keep this page below 8 MB; they lie beside the results."
NO_VIEWER = "The interactive viewer is left out: NiiVue was not found. It comes with nilearn: pip install 'mrh-monai[report]'."
SCORES = (
    ("rmse", "RMSE"),
    ("nrmse", "NRMSE"),
    ("mae", "MAE"),
    ("r2", "R2"),
    ("determination", "1-SSE/SST"),
    ("ssim", "SSIM"),
    ("psnr", "PSNR (dB)"),
)


def after_inference(output_dir: Path | str, wanted: bool) -> None:
    """Write the report at the end of a bundle's inference, where one is wanted and volumes were predicted."""
    if not wanted or not find_predictions(Path(output_dir)):
        return
    try:
        logger.info("%s", write_report(output_dir))
    except MRHError as error:  # the predictions are finished, whatever else lies beside them
        logger.warning("no report: %s", sentence(error))


def write_report(folder: Path | str, output: Path | str | None = None, subject: str | None = None) -> Path:
    """Write the report of a folder of results: predictions, trainings, comparisons, contributions and studies, wherever in it they lie.

    Args:
        folder: Where results lie.
        output: HTML file; None for ``report.html`` in the folder.
        subject: The predicted subject to show in the viewer; None for the first.

    Returns:
        The file, of at most 8 MB.

    Raises:
        OptionError: There are no results, or no such subject.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise OptionError(
            folder, "a folder of results", "a file" if folder.exists() else "nothing", "name what training or inference wrote"
        )
    predictions = find_predictions(folder)
    names = [prediction.name for prediction in predictions]
    if subject is not None and subject not in names:
        raise OptionError(
            "--subject", f"one of {', '.join(names) or 'the predicted subjects, of which there are none'}", repr(subject), "choose another"
        )
    predictions.sort(key=lambda prediction: prediction.name != subject)
    output = folder / "report.html" if output is None else Path(output)
    with tempfile.TemporaryDirectory() as pictures:
        sections = result_sections(folder)
        if not predictions and not sections:
            expected = "predictions, a training run, a comparison, a contribution or a study"
            raise OptionError(folder, expected, "none of them", "name what training, inference or mrh wrote")
        detailed = [read_reported(prediction) for prediction in predictions[:DETAILED]]
        page = ""
        for page in _pages(folder, predictions, detailed, sections, Path(pictures)):
            if len(page.encode()) <= LIMIT:
                break
    write_text(output, page)
    return output


def _pages(
    folder: Path, predictions: Sequence[Prediction], detailed: Sequence[Reported], sections: list[dict[str, Any]], pictures: Path
) -> Iterator[str]:
    """Pages with less and less on them: fewer subjects, then fewer pictures of results, last ones first; in the end words and tables."""
    for count in range(len(detailed), 0, -1):
        yield _page(folder, predictions, detailed[:count], sections, pictures)
    for kept in range(len(sections), -1, -1):
        rest = [{**section, "pictures": [], "texts": [*section["texts"], LEFT_OUT]} for section in sections[kept:]]
        yield _page(folder, predictions, detailed[:1], [*sections[:kept], *rest], pictures)
    yield _page(folder, predictions, [], rest, pictures)


def _page(
    folder: Path, predictions: Sequence[Prediction], detailed: Sequence[Reported], sections: list[dict[str, Any]], pictures: Path
) -> str:
    subjects = [_subject(reported, pictures / f"{number}") for number, reported in enumerate(detailed)]
    used = sum(len(image["source"]) for part in (*subjects, *sections) for image in part["pictures"])
    script = viewer_script() if detailed else None
    viewer = _viewer(detailed[0], min(VOLUMES, LIMIT - used - len(script) - 200_000)) if script is not None else None
    rest = len(predictions) - len(detailed)
    stains = list(dict.fromkeys(str(prediction.about.get("stain", "stain")).upper() for prediction in predictions))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mrh_monai.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.j2").render(
        title=f"Virtual histology: {', '.join(stains)}" if stains else f"Results of {folder.resolve().name}",
        subtitle=f"{folder.resolve().name}: {len(predictions)} predicted subject{'s' * (len(predictions) != 1)}; mrh-monai {__version__}.",
        scores=_scores(predictions, detailed),
        subjects=subjects,
        more_subjects=f"Not shown in pictures: {rest} more; --subject NAME puts one of them first." if rest > 0 else "",
        sections=sections,
        viewer=viewer,
        script=Markup(script) if viewer else "",
        viewer_missing=NO_VIEWER if detailed and viewer is None else "",
        provenance=_provenance(predictions),
    )


def _subject(reported: Reported, pictures: Path) -> dict[str, Any]:
    about, mask = reported.prediction.about, reported.mask
    units, stain = about.get("units", ""), str(about.get("stain", "stain")).upper()
    rows = []
    if reported.image is not None:
        rows.append(Shown(reported.image_name, reported.image, 0, _high(reported.image, mask), "gray", "scanner's"))
    high = _high(reported.stain if reported.target is None else reported.target, mask)
    rows.append(Shown(f"{stain} predicted", reported.stain, 0, high, "magma", units))
    if reported.target is not None and reported.scored is not None:
        rows.append(Shown(f"{stain} true", reported.target * mask, 0, high, "magma", units))
        error = np.where(reported.scored, reported.stain - reported.target, 0)
        limit = float(np.percentile(np.abs(error[reported.scored]), 99)) or 1.0
        rows.append(Shown("predicted - true", error, -limit, limit, "RdBu_r", units))
    middle = [int(np.median(axis)) for axis in np.nonzero(mask)] if mask.any() else [size // 2 for size in mask.shape]
    spacing = np.linalg.norm(reported.affine[:3, :3], axis=0)
    name, planes, levels = reported.prediction.name, pictures.with_suffix(".planes.png"), pictures.with_suffix(".levels.png")
    three_planes(rows, middle, spacing, planes)
    found = [picture(planes, f"{name}: three planes through the middle of the brain, each row on its own scale.")]
    if reported.means is not None:
        scaling = reported.scaling
        known = scaling is not None and scaling.mode == "robust"
        expected = np.array(scaling.channel_mean) if known and scaling is not None else None
        spread = np.array(scaling.channel_std) if known and scaling is not None else None
        channel_levels(reported.means, expected, spread, levels)
        found.append(picture(levels, "Mean signal of every image in the mask, relative to the subject's level."))
    return {"name": name, "checks": reported.checks, "pictures": found}


def _viewer(reported: Reported, limit: int) -> dict[str, Any]:
    about, mask = reported.prediction.about, reported.mask if reported.mask.any() else np.ones_like(reported.mask)
    stain = str(about.get("stain", "stain")).upper()
    high = _high(reported.stain if reported.target is None else reported.target, mask)
    base = reported.image if reported.image is not None else reported.stain
    layers = [
        Layer("base", base, 0, _high(base, mask), "gray"),
        Layer(f"{stain} predicted", reported.stain, 0, high, "magma"),
    ]
    if reported.target is not None and reported.scored is not None:
        layers.append(Layer(f"{stain} true", reported.target * mask, 0, high, "magma"))
        error = np.where(reported.scored, np.abs(reported.stain - reported.target), 0)
        layers.append(Layer("size of the error", error, 0, float(np.percentile(error[reported.scored], 99)) or 1.0, "hot"))
    volumes, factors = embed(layers, mask, reported.affine, max(limit, 200_000))
    edges = " x ".join(map(str, factors))
    joined = f", {edges} voxels joined into one to keep this page small" if max(factors) > 1 else ""
    note = f"Below: {reported.image_name or 'the prediction'}; in 256 grey levels{joined}. Read exact values from the NIfTI files."
    # JSON inside a script element must not hold anything that ends it.
    text = json.dumps(volumes).replace("<", "\\u003c")
    return {"subject": reported.prediction.name, "volumes": Markup(text), "note": note}


def _scores(predictions: Sequence[Prediction], detailed: Sequence[Reported]) -> dict[str, Any] | None:
    found = {reported.prediction.path: reported.scores for reported in detailed}
    rows = []
    for prediction in sorted(predictions, key=lambda each: each.name):
        written = prediction.path.parents[1] / "scores.json"
        scores = found.get(prediction.path) or (read_results(written).get(prediction.path.parent.name) if written.is_file() else None)
        known = scores if isinstance(scores, dict) else {}
        cells = ["" if known.get(key) is None else f"{known[key]:.4g}" for key, _ in SCORES]
        rows.append([prediction.name, str(prediction.about.get("stain", "")).upper(), *cells, prediction.about.get("units", "")])
    if not any("".join(row[2:-1]) for row in rows):
        return None
    return {"columns": ["", "stain", *(title for _, title in SCORES), "units of RMSE and MAE"], "rows": rows}


def _provenance(predictions: Sequence[Prediction]) -> list[tuple[str, str]]:
    rows: list[tuple[str, Any]] = []
    for weights in dict.fromkeys(str(prediction.record["made_by"].get("weights", "unknown")) for prediction in predictions):
        own = [prediction for prediction in predictions if prediction.record["made_by"].get("weights", "unknown") == weights]
        about, made_by, parent = own[0].about, own[0].record["made_by"], own[0].about.get("parent")
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


def _listed(found: dict[str, Any]) -> str:
    words = {name: " ".join(map(str, value)) if isinstance(value, list) else value for name, value in found.items()}
    return ", ".join(f"{name} {value}" for name, value in words.items())


def _high(volume: np.ndarray, mask: np.ndarray) -> float:
    """Where a colour map ends: bright spots of half a percent of the voxels do not darken all others."""
    return (float(np.percentile(volume[mask], 99.5)) if mask.any() else 0.0) or 1.0
