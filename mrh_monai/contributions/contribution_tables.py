"""Write the contribution of each MR image as a table to read, as CSV and JSON files, and as pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.contributions.contribution_study import ContributionResult
from mrh_monai.contributions.image_contribution import Contribution, ImageRow
from mrh_monai.evaluation import HEADLINE_SCORES
from mrh_monai.figures import bars, curves
from mrh_monai.io import as_csv, as_json, writable_folder, write_text
from mrh_monai.output_files import ResultFiles, writing

SHARES = (0.25, 0.5, 0.75)
LISTED = 10  # images in the table to read
PICTURED = 40  # bars


# Everything that can be written; there are no regions without labels, and fewer images only where networks are trained on them.
TABLES = ("contribution", "groups", "regions", "fewer_images")
OTHER_FILES = ("contribution.json", "contribution.png", "cumulative.png")
CONTRIBUTION_FILES = ResultFiles("contribution", (*(f"{table}.csv" for table in TABLES), *OTHER_FILES))


def write_contribution(result: ContributionResult, out: Path | str, overwrite: bool = False) -> list[Path]:
    """Write ``contribution.csv``, ``groups.csv``, everything together as ``contribution.json``, and two pictures.

    Where there are regions, or networks were trained on fewer images, ``regions.csv`` and ``fewer_images.csv`` are also written.

    Args:
        result: Result of `mrh_monai.contributions.contribution`.
        out: Folder to write into.
        overwrite: Whether files of another origin may be replaced.

    Returns:
        The files.

    Raises:
        OutputError: The folder cannot be written, or a result would replace a file of another origin.
    """
    out, rows = writable_folder(out), result.images.rows()
    regions = region_rows(result.images) + region_rows(result.groups)
    everything: Iterable[Sequence[Mapping[str, Any]]] = (rows, result.groups.rows(), regions, result.retrained)
    tables = {name: table for name, table in zip(TABLES, everything, strict=True) if table}
    files = [out / name for name in (*(f"{name}.csv" for name in tables), *OTHER_FILES)]
    with writing(CONTRIBUTION_FILES.kind, files, overwrite=overwrite):
        _write(result.about, rows, tables, out)
    return files


def _write(about: Mapping[str, Any], rows: Sequence[ImageRow], tables: Mapping[str, Sequence[Mapping[str, Any]]], out: Path) -> None:
    for name, table in tables.items():
        write_text(out / f"{name}.csv", as_csv(table))
    write_text(out / "contribution.json", as_json({**about, **tables}) + "\n")
    heights = [(row["image"], row["share"], row["share"] - row["share_sd"], row["share"] + row["share_sd"]) for row in rows]
    title = f"{about['stain'].upper()}, noise of {about['noise']:.0%} on one image at a time"
    bars(heights[:PICTURED], out / "contribution.png", "share of all images' RMSE", title)
    points = [(row["rank"], row["cumulative"], 0.0) for row in rows]
    curves({"all images": [(0, 0.0, 0.0), *points]}, out / "cumulative.png", "images, most important first", "cumulative share", title)


def region_rows(found: Contribution) -> list[dict[str, Any]]:
    """Return the share of each image in every region."""
    rows = []
    for region, (voxels, moved) in found.regions.items():
        for name, value, share in zip(found.names, moved, moved / moved.sum(), strict=True):
            rows.append({"region": region, "voxels": voxels, "image": name, "rmse": float(value), "share": float(share)})
    return rows


def contribution_table(result: ContributionResult) -> str:
    """Return the table to read: the most important images, groups of images, and the share of the first images together."""
    images, rows = result.images, result.images.rows()
    cumulative = [row["cumulative"] for row in rows]
    lines = [f"{'':3} {'image':20} {'share':>8} {'+-':>7} {'sum':>6} {'RMSE':>9}   ({result.about['units']}, {images.voxels:,} voxels)"]
    lines += [_line(row) for row in rows[:LISTED]]
    counts = [int(np.searchsorted(cumulative, share - 1e-9)) + 1 for share in SHARES]
    listed = ", ".join(f"{share:.0%} in the first {count}" for share, count in zip(SHARES, counts, strict=True))
    lines += [f"... of {len(rows)}: {listed}. Last: {rows[-1]['image']}.", "", "All images of a group at once"]
    lines += [_line(row) for row in result.groups.rows()]
    for region, (voxels, moved) in images.regions.items():
        order = np.argsort(-moved)[:3]
        first = ", ".join(f"{images.names[index]} {moved[index] / moved.sum():.1%}" for index in order)
        lines.append(f"{region} ({voxels} voxels): {first}")
    if result.retrained:
        titles = "".join(f" {score.title:>8}" for score in HEADLINE_SCORES)
        lines += ["", f"{'images':>6}{titles} {'minutes':>9} {'saved':>9}   networks trained again on the first images"]
        for row in result.retrained:
            scores = "".join(f" {score.text(row[score.key]):>8}" for score in HEADLINE_SCORES)
            times = ["unknown" if row[key] is None else f"{row[key]:.0f}" for key in ("minutes", "minutes_saved")]
            lines.append(f"{row['images']:6}{scores} {times[0]:>9} {times[1]:>9}")
    return "\n".join(lines)


def _line(row: ImageRow) -> str:
    spread = "" if np.isnan(row["share_sd"]) else f"{row['share_sd']:.2%}"
    return f"{row['rank']:3} {row['image']:20} {row['share']:8.2%} {spread:>7} {row['cumulative']:6.0%} {row['rmse']:9.3g}"
