"""Sections of a report about the results of trainings, comparisons, contributions and studies in a folder.

A new section needs one function that turns a file of results into a `Section`, and one line in `SECTION_MAKERS`.
"""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mrh_monai.comparison import NETWORK
from mrh_monai.errors import SubjectError, cause_in_words
from mrh_monai.evaluation import COMPARED_SCORES, Score, rank
from mrh_monai.figures import best_epoch

LISTED_IMAGES = 20
AGAIN = "run the command that wrote the results again, or move the file to another folder"
# Scores of a comparison that a page shows: those with intervals first.
TABLED = sorted((score for score in COMPARED_SCORES if score.tabled), key=lambda score: score.tabled != "interval")


@dataclass(frozen=True)
class Table:
    """A table of a section.

    Attributes:
        columns: Titles of the columns.
        rows: Cells of each row.
        first: First cell of the row that is shown in bold; None for no such row.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    first: str | None = None


@dataclass(frozen=True)
class Picture:
    """A picture of a section.

    Attributes:
        source: PNG as a data URI.
        caption: Text below the picture.
    """

    source: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        title: Title of the section.
        texts: Paragraphs.
        tables: Tables below the paragraphs.
        pictures: Pictures below the tables.
    """

    title: str
    texts: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = field(default=(), repr=False)

    def without_pictures(self, text: str) -> Section:
        """Return the same section with one more paragraph, which says why there are no pictures."""
        return replace(self, texts=[*self.texts, text], pictures=())


def result_sections(folder: Path) -> list[Section]:
    """Return a section for each result that lies below a folder.

    Raises:
        SubjectError: A file of results cannot be read, or does not have the content that mrh writes.
    """
    sections = []
    for pattern, make in SECTION_MAKERS.items():
        for path in sorted(folder.rglob(pattern)):
            try:
                section = make(path)
            except (OSError, KeyError, TypeError, ValueError) as error:
                found = f"other content ({cause_in_words(error)})"
                raise SubjectError(path, "results as mrh writes them", found, AGAIN) from error
            sections += [section] if section is not None else []
    return sections


def _comparison(path: Path) -> Section:
    content = read_results(path)
    models = sorted(content["models"], key=lambda model: rank(model["scores"]))
    rows = [[model["name"], *(_value_and_interval(model, score) for score in TABLED)] for model in models]
    fitted, structures = content["fitted_on"], content["structures"]
    text = (
        f"{content['stain'].upper()}, scored on {', '.join(content['scored_on']['subjects'])}; regressions were fitted on "
        f"{fitted['voxels']:,} voxels of {', '.join(fitted['subjects'])}. AUC for structures {structures['side']} "
        f"{structures['threshold']:.4g} ({structures['chosen']}); 95% intervals over {content['intervals']['resampled']}."
    )
    captions = {
        "roc.png": "ROC curves.",
        "scatter.png": "Predicted stain against true stain.",
        "bland_altman.png": "Bland-Altman plot: error against the mean of both stains.",
        "r2.png": "R2 with intervals.",
    }
    table = Table(["", *(score.title for score in TABLED)], rows, NETWORK)
    title = f"Comparison with MR markers and regressions: {content['stain'].upper()}"
    return Section(title, [text], [table], _pictures(path.parent, captions))


def _value_and_interval(model: Mapping[str, Any], score: Score) -> str:
    value = model["scores"].get(score.key)
    low, high = model["intervals"].get(score.key, (None, None))
    if value is None:
        return ""
    return score.text(value) if low is None else f"{score.text(value)} [{score.text(low)}, {score.text(high)}]"


def _contribution(path: Path) -> Section:
    rows = read_results(path)["contribution"][:LISTED_IMAGES]
    cells = [[row["image"], f"{row['share']:.2%}", f"{row['cumulative']:.0%}", f"{row['rmse']:.3g}"] for row in rows]
    text = (
        "Noise was added to one image at a time. The share of an image is how far the predicted stain moved, divided by the sum over all "
        "images."
    )
    captions = {"contribution.png": "Share of each image.", "cumulative.png": "Sum of the shares."}
    table = Table(["image", "share", "sum so far", "RMSE"], cells)
    return Section("Images that matter", [text], [table], _pictures(path.parent, captions))


def _study(path: Path) -> Section | None:
    if not (path.with_suffix(".csv").is_file() and path.with_suffix(".png").is_file()):
        return None
    captions = {f"{path.stem}.png": f"{path.stem}; the numbers are in {path.stem}.csv."}
    return Section(f"Study: {path.stem}", [path.read_text(encoding="utf-8-sig").strip()], pictures=_pictures(path.parent, captions))


def _training(path: Path) -> Section | None:
    rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    if not rows or "val_rmse" not in rows[0]:
        return None
    best = best_epoch(rows)
    scores = f"validation RMSE {float(best['val_rmse']):.4g}, R2 {float(best['val_r2']):.4f}"
    text = f"{len(rows)} epoch{'s' if len(rows) > 1 else ''}; the best was epoch {best['epoch']}: {scores}."
    captions = {"training_curve.png": "Training loss, and RMSE on the validation patches."}
    return Section(f"Training: {path.parent.name}", [text], pictures=_pictures(path.parent, captions))


def _alignment(path: Path) -> Section:
    content = read_results(path)
    texts = [f"{content['summary'][0].upper()}{content['summary'][1:]}.", *(f"Warning: {doubt}." for doubt in content["doubts"])]
    title = f"Alignment of the training stains: {path.parent.parent.name}"
    if not content["is_moved"]:
        return Section(title, texts)
    rows = [
        [
            row["name"],
            f"{row['median_mm']:.2f}",
            f"{row['largest_mm']:.2f}",
            ", ".join(map(str, row["furthest_voxel"])),
            f"{row['agreement_before']:.2f}",
            f"{row['agreement_after']:.2f}",
        ]
        for row in content["subjects"]
    ]
    columns = ["", "median (mm)", "largest (mm)", "moved most at voxel", "agreement before", "after"]
    texts.append(
        "Agreement is the squared correlation of the fine structure of the stain with that of a prediction from the images of single "
        "voxels, on voxels that were held out. The displacements in mm are in the files <subject>.nii.gz."
    )
    captions = {
        "arrows.png": "The original stains, each in the slice where it was moved most (circle), with arrows to the new places.",
        "histogram.png": "How far the voxels were moved.",
    }
    return Section(title, texts, [Table(columns, rows)], _pictures(path.parent, captions))


# Pattern of the files of results, and the function that makes a section of such a file, or None if the file holds other things.
SECTION_MAKERS: Mapping[str, Callable[[Path], Section | None]] = {
    "comparison.json": _comparison,
    "contribution.json": _contribution,
    "*.txt": _study,
    "metrics.csv": _training,
    "alignment.json": _alignment,
}


def _pictures(folder: Path, captions: Mapping[str, str]) -> list[Picture]:
    return [read_picture(folder / name, caption) for name, caption in captions.items() if (folder / name).is_file()]


def read_picture(path: Path, caption: str) -> Picture:
    """Read a PNG file, so that the page can hold it."""
    return Picture("data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii"), caption)


def read_results(path: Path) -> dict[str, Any]:
    """Read a JSON object of results.

    Raises:
        SubjectError: The file cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise SubjectError(path, "results in JSON", cause_in_words(error), AGAIN) from error
    return content if isinstance(content, dict) else {}
