"""Write a comparison as a table to read, as CSV and JSON files, and as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.comparison.compared_models import NETWORK
from mrh_monai.comparison.comparison import ComparedModel, Comparison
from mrh_monai.evaluation import COMPARED_SCORES, HEADLINE_SCORES, rank
from mrh_monai.figures import bars, bland_altman, predicted_against_true, roc_curves
from mrh_monai.io import as_csv, as_json, writable_folder, write_text
from mrh_monai.output_files import ResultFiles, writing

# Scores that the table to read shows without their intervals.
SINGLE_VALUES = tuple(score for score in COMPARED_SCORES if score.tabled == "value")


# Everything that can be written; there are no regions without labels.
COMPARISON_FILES = ResultFiles(
    "comparison", ("comparison.json", "comparison.csv", "regions.csv", "roc.png", "scatter.png", "bland_altman.png", "r2.png")
)


def write_comparison(found: Comparison, out: Path | str, overwrite: bool = False) -> list[Path]:
    """Write ``comparison.csv``, ``comparison.json``, ``regions.csv`` where there are regions, and four pictures.

    Args:
        found: Result of `mrh_monai.comparison.compare`.
        out: Folder to write into.
        overwrite: Whether files of another origin may be replaced.

    Returns:
        The files.

    Raises:
        OutputError: The folder cannot be written, or a result would replace a file of another origin.
    """
    out = writable_folder(out)
    files = [out / name for name in COMPARISON_FILES.names if found.regions or name != "regions.csv"]
    with writing(COMPARISON_FILES.kind, files, overwrite=overwrite):
        _write(found, out)
    return files


def _write(found: Comparison, out: Path) -> None:
    about, models = found.about, found.models
    write_text(out / "comparison.json", as_json({**about, "models": models, "regions": found.regions}) + "\n")
    rows = []
    for model in models:
        row: dict[str, Any] = {"model": model["name"], "kind": model["kind"]}
        for score in COMPARED_SCORES:
            low, high = model["intervals"][score.key]
            row |= {score.key: model["scores"][score.key], f"{score.key}_low": low, f"{score.key}_high": high}
        rows.append(row)
    write_text(out / "comparison.csv", as_csv(rows))
    if found.regions:
        write_text(out / "regions.csv", as_csv(found.regions))
    stain, side = about["stain"].upper(), about["structures"]["side"]
    areas = {model["name"]: model["scores"]["auc"] for model in models}
    title = f"{stain}: structures {side} {about['structures']['threshold']:.4g} {about['units']}"
    roc_curves(found.curves, areas, out / "roc.png", title, NETWORK)
    panels = _panels(models)
    notes = {model["name"]: f"R2 {model['scores']['r2']:.3f}, RMSE {model['scores']['rmse']:.3g}" for model in models}
    pairs = {name: found.pairs[name] for name in panels}
    predicted_against_true(pairs, notes, out / "scatter.png", about["units"])
    bland_altman(pairs, out / "bland_altman.png", about["units"])
    heights = [(model["name"], model["scores"]["r2"], *model["intervals"]["r2"]) for model in ranked(models)]
    bars(heights, out / "r2.png", "R2 (squared correlation), 95% interval", f"{stain} on {_subjects(about)}", NETWORK)


def comparison_table(found: Comparison) -> str:
    """Return the table to read: the headline scores of every model with intervals, best R2 first, and what the numbers mean."""
    about = found.about
    head = ["", *(f"{score.title} [95%]" for score in HEADLINE_SCORES), *(score.title for score in SINGLE_VALUES)]
    rows = [head]
    for model in ranked(found.models):
        cells = [_with_interval(model["scores"][score.key], model["intervals"][score.key]) for score in HEADLINE_SCORES]
        rows.append([model["name"], *cells, *(score.text(model["scores"][score.key]) for score in SINGLE_VALUES)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    lines = [line.rstrip() for line in lines]
    where, fitted = about["scored_on"], about["fitted_on"]
    unit = about["intervals"]
    blocks = "" if unit["block_mm"] is None else f" of {', '.join(f'{edge:g}' for edge in sorted(set(unit['block_mm'])))} mm"
    lines += [
        "",
        f"{about['stain'].upper()} on {_subjects(about)} ({where['voxels']:,} voxels). Regressions, and a straight line for every marker, "
        f"were fitted on {fitted['voxels']:,} voxels of {', '.join(fitted['subjects'])}.",
        f"R2 is the squared correlation; RMSE in {about['units']}; AUC for structures {about['structures']['side']} "
        f"{about['structures']['threshold']:.4g} ({about['structures']['chosen']}). 95% intervals over {unit['resampled']}{blocks}.",
        standing(found),
    ]
    return "\n".join(lines)


def ranked(models: Sequence[ComparedModel]) -> list[ComparedModel]:
    """Return the models in the order of tables, see `mrh_monai.evaluation.rank`."""
    return sorted(models, key=lambda model: rank(model["scores"]))


def standing(found: Comparison) -> str:
    """Return one sentence that says which models the network beats beyond chance, and which it does not beat."""
    behind: dict[str, list[str]] = {}
    even: dict[str, list[str]] = {}
    others = [model for model in ranked(found.models) if model["name"] != NETWORK]
    for model in others:
        for score in HEADLINE_SCORES:
            low, high = model["network_ahead"][score.key]
            if score.lower_is_better:
                low, high = -high, -low
            if high < 0:
                behind.setdefault(model["name"], []).append(score.title)
            elif not low > 0:
                even.setdefault(model["name"], []).append(score.title)
    if not behind and not even:
        *first, last = (score.title for score in HEADLINE_SCORES)
        return f"The network is ahead of all of them in {', '.join(first)} and {last}; no interval of a difference contains 0."
    parts = [f"{word} {_listed(cases)}" for word, cases in (("behind", behind), ("not clearly different from", even)) if cases]
    count = sum(map(len, [*behind.values(), *even.values()]))
    rest = "" if count == len(HEADLINE_SCORES) * len(others) else "; ahead in all other scores and models"
    return f"The network is {' and '.join(parts)}{rest}."


def regions_table(found: Comparison) -> str:
    """Return R2, RMSE and bias of every region, mean over subjects, for the network and for the best other model."""
    names = [NETWORK, _panels(found.models)[1]] if len(found.models) > 1 else [NETWORK]
    regions = list(dict.fromkeys(row["region"] for row in found.regions))
    lines = [
        f"{'region':24}" + "".join(f"{name[:24]:>38}" for name in names),
        " " * 24 + f"{'R2':>16}{'RMSE':>11}{'bias':>11}" * len(names),
    ]
    for region in regions:
        cells = ""
        for name in names:
            rows = [row for row in found.regions if row["region"] == region and row["model"] == name]
            means = [float(np.mean([row[key] for row in rows])) for key in ("r2", "rmse", "bias")]
            cells += f"{means[0]:16.3f}{means[1]:11.4g}{means[2]:11.3g}"
        lines.append(f"{region[:24]:24}{cells}")
    return "\n".join(lines)


def _listed(cases: dict[str, list[str]], most: int = 5) -> str:
    words = [f"{name} ({', '.join(scores)})" for name, scores in cases.items()]
    rest = len(words) - most
    return "; ".join(words[:most]) + (f" and {rest} more (network_ahead in comparison.json)" if rest > 0 else "")


def _panels(models: Sequence[ComparedModel]) -> list[str]:
    """Return the network, the best regression and the best marker."""
    chosen = [NETWORK]
    for kind in ("regression", "marker"):
        others = [model for model in models if model["kind"] == kind]
        if others:
            chosen.append(ranked(others)[0]["name"])
    return chosen


def _with_interval(value: float, ends: tuple[float, float]) -> str:
    digits = 3 if abs(value) < 10 else 1
    return f"{value:.{digits}f} [{ends[0]:.{digits}f}, {ends[1]:.{digits}f}]"


def _subjects(about: dict[str, Any]) -> str:
    names = about["scored_on"]["subjects"]
    return ", ".join(names) if len(names) < 4 else f"{len(names)} subjects"
