"""Sections of a report: what trainings, comparisons, contributions and studies left in a folder."""

from __future__ import annotations

import base64
import csv
import json
from pathlib import Path
from typing import Any

from mrh_monai.errors import SubjectError


def result_sections(folder: Path) -> list[dict[str, Any]]:
    """What lies below a folder, each as ``title``, ``texts``, ``tables`` (``columns``, ``rows``, ``first``) and ``pictures``.

    Raises:
        SubjectError: A file of results cannot be read, or holds something else.
    """
    kinds = {"comparison.json": _comparison, "contribution.json": _contribution, "*.txt": _study, "metrics.csv": _training}
    sections = []
    for pattern, make in kinds.items():
        for path in sorted(folder.rglob(pattern)):
            try:
                section = make(path)
            except (OSError, KeyError, TypeError, ValueError) as error:
                found = f"something else ({type(error).__name__})"
                raise SubjectError(path, "results as mrh writes them", found, "make them anew, or move the file away") from error
            sections += [section] if section is not None else []
    return sections


def _contribution(path: Path) -> dict[str, Any]:
    rows = read_results(path)["contribution"][:20]
    cells = [[row["image"], f"{row['share']:.2%}", f"{row['cumulative']:.0%}", f"{row['rmse']:.3g}"] for row in rows]
    return {
        "title": "Which images matter",
        "texts": ["Noise was added to one image at a time; a share is how far the predicted stain moved, of all images together."],
        "tables": [{"columns": ["image", "share", "so far", "RMSE"], "rows": cells, "first": None}],
        "pictures": _pictures(path.parent, {"contribution.png": "Share of each image.", "cumulative.png": "Shares added up."}),
    }


def _study(path: Path) -> dict[str, Any] | None:
    if not (path.with_suffix(".csv").is_file() and path.with_suffix(".png").is_file()):
        return None
    pictures = _pictures(path.parent, {f"{path.stem}.png": f"{path.stem}; the numbers are in {path.stem}.csv."})
    return {"title": f"Study: {path.stem}", "texts": [path.read_text().strip()], "tables": [], "pictures": pictures}


def _training(path: Path) -> dict[str, Any] | None:
    rows = list(csv.DictReader(path.read_text().splitlines()))
    if not rows or "val_rmse" not in rows[0]:
        return None
    best = min(rows, key=lambda row: float(row["val_rmse"]))
    scores = f"validation RMSE {float(best['val_rmse']):.4g}, R2 {float(best['val_r2']):.4f}"
    return {
        "title": f"Training: {path.parent.name}",
        "texts": [f"{len(rows)} epochs; the best was epoch {best['epoch']}: {scores}."],
        "tables": [],
        "pictures": _pictures(path.parent, {"training_curve.png": "Training loss, and RMSE on the patches that validate."}),
    }


def _comparison(path: Path) -> dict[str, Any]:
    content = read_results(path)
    models = sorted(content["models"], key=lambda model: -(model["scores"]["r2"] or 0.0))

    def cell(model: dict[str, Any], key: str) -> str:
        value, (low, high) = model["scores"][key], model["intervals"][key]
        return "" if value is None else f"{value:.3g} [{low:.3g}, {high:.3g}]" if low is not None else f"{value:.3g}"

    rows = [[model["name"], *(cell(model, key) for key in ("r2", "rmse", "auc", "ssim"))] for model in models]
    fitted, structures = content["fitted_on"], content["structures"]
    text = (
        f"{content['stain'].upper()}, scored on {', '.join(content['scored_on']['subjects'])}; regressions were fitted on "
        f"{fitted['voxels']:,} voxels of {', '.join(fitted['subjects'])}. AUC for structures {structures['side']} "
        f"{structures['threshold']:.4g} ({structures['chosen']}); 95% intervals over {content['intervals']['resampled']}."
    )
    pictures = _pictures(
        path.parent,
        {
            "roc.png": "ROC curves.",
            "scatter.png": "Predicted against true.",
            "bland_altman.png": "Bland-Altman: error against the mean of both.",
            "r2.png": "R2 with intervals.",
        },
    )
    table = {"columns": ["", "R2", "RMSE", "AUC", "SSIM"], "rows": rows, "first": "MRH network"}
    return {
        "title": f"Beside MR markers and regressions: {content['stain'].upper()}",
        "texts": [text],
        "tables": [table],
        "pictures": pictures,
    }


def _pictures(folder: Path, captions: dict[str, str]) -> list[dict[str, str]]:
    return [picture(folder / name, caption) for name, caption in captions.items() if (folder / name).is_file()]


def picture(path: Path, caption: str) -> dict[str, str]:
    """A PNG as ``source``, a data URI, and ``caption``."""
    return {"source": "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii"), "caption": caption}


def read_results(path: Path) -> dict[str, Any]:
    """A JSON object of results.

    Raises:
        SubjectError: It cannot be read.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SubjectError(path, "results in JSON", type(error).__name__, "make them anew, or move the file away") from error
    return content if isinstance(content, dict) else {}
