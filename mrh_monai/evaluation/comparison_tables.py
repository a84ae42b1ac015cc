"""A comparison as a table to read, as CSV and JSON, and as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.evaluation.bootstrap import SCORES
from mrh_monai.evaluation.comparison import NETWORK, Comparison
from mrh_monai.evaluation.scores import as_json
from mrh_monai.figures import bars, bland_altman, predicted_against_true, roc_curves
from mrh_monai.io import as_csv, writable_folder, write_text

LOWER_IS_BETTER = ("rmse", "nrmse", "mae")
SHOWN = ("r2", "rmse", "auc")  # with intervals, in the table to read
TITLES = {"r2": "R2", "rmse": "RMSE", "auc": "AUC"}


def write_comparison(found: Comparison, out: Path | str) -> list[Path]:
    """Write ``comparison.csv``, ``comparison.json``, ``regions.csv`` where there are regions, and four pictures.

    Args:
        found: By `mrh_monai.evaluation.comparison.compare`.
        out: Folder.

    Returns:
        The files.
    """
    out = writable_folder(out)
    about, models = found.about, found.models
    write_text(out / "comparison.json", as_json({**about, "models": models, "regions": found.regions}) + "\n")
    rows = []
    for model in models:
        row: dict[str, Any] = {"model": model["name"], "kind": model["kind"]}
        for name in SCORES:
            row |= {name: model["scores"][name], f"{name}_low": model["intervals"][name][0], f"{name}_high": model["intervals"][name][1]}
        rows.append(row)
    write_text(out / "comparison.csv", as_csv(rows))
    files = [out / "comparison.json", out / "comparison.csv"]
    if found.regions:
        write_text(out / "regions.csv", as_csv(found.regions))
        files.append(out / "regions.csv")
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
    return [*files, *(out / name for name in ("roc.png", "scatter.png", "bland_altman.png", "r2.png"))]


def comparison_table(found: Comparison) -> str:
    """The table to read: every model's R2, RMSE and AUC with intervals, best R2 first, and what the numbers mean."""
    about = found.about
    head = ["", *(f"{TITLES[name]} [95%]" for name in SHOWN), "1-SSE/SST", "SSIM"]
    rows = [head]
    for model in ranked(found.models):
        cells = [_with_interval(model["scores"][name], model["intervals"][name]) for name in SHOWN]
        rows.append([model["name"], *cells, f"{model['scores']['determination']:.3f}", f"{model['scores']['ssim']:.3f}"])
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


def ranked(models: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Best R2 first; last those that have none, such as a marker that is the same everywhere."""
    return sorted(models, key=lambda model: -np.nan_to_num(model["scores"]["r2"], nan=-1.0))


def standing(found: Comparison) -> str:
    """One sentence: what the network is ahead of beyond chance, and what it is not."""
    behind: dict[str, list[str]] = {}
    even: dict[str, list[str]] = {}
    others = [model for model in ranked(found.models) if model["name"] != NETWORK]
    for model in others:
        for name in SHOWN:
            low, high = model["network_ahead"][name]
            if name in LOWER_IS_BETTER:
                low, high = -high, -low
            if high < 0:
                behind.setdefault(model["name"], []).append(TITLES[name])
            elif not low > 0:
                even.setdefault(model["name"], []).append(TITLES[name])
    if not behind and not even:
        return "The network is ahead of all of them in R2, RMSE and AUC; no interval of a difference holds 0."
    parts = [f"{word} {_listed(cases)}" for word, cases in (("behind", behind), ("not told apart from", even)) if cases]
    count = sum(map(len, [*behind.values(), *even.values()]))
    rest = "" if count == len(SHOWN) * len(others) else "; ahead in all else"
    return f"The network is {' and '.join(parts)}{rest}."


def regions_table(found: Comparison) -> str:
    """R2, RMSE and bias of every region, mean over subjects, of the network and of the best other model."""
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


def _panels(models: Sequence[dict[str, Any]]) -> list[str]:
    """The network, the best regression and the best marker."""
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
