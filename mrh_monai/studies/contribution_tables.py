"""What each MR image contributes, as a table to read, as CSV and JSON, and as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.evaluation import as_json
from mrh_monai.figures import bars, curves
from mrh_monai.io import as_csv, writable_folder, write_text
from mrh_monai.studies.image_contribution import Contribution

SHARES = (0.25, 0.5, 0.75)
PICTURED = 40  # bars


def write_contribution(
    about: dict[str, Any], images: Contribution, groups: Contribution, fewer: Sequence[dict[str, Any]], out: Path | str
) -> list[Path]:
    """Write ``contribution.csv``, ``groups.csv``, all as ``contribution.json``, and two pictures.

    Where there are regions, or networks were trained on fewer images, ``regions.csv`` and ``fewer_images.csv`` are written too.

    Args:
        about: Bundle, subject, noise and the like.
        images: Single images.
        groups: Groups of images.
        fewer: By `mrh_monai.studies.image_subsets.retrain_top`.
        out: Folder.

    Returns:
        The files.
    """
    out = writable_folder(out)
    tables = {
        "contribution": images.rows(),
        "groups": groups.rows(),
        "regions": region_rows(images) + region_rows(groups),
        "fewer_images": list(fewer),
    }
    tables = {name: rows for name, rows in tables.items() if rows}
    for name, rows in tables.items():
        write_text(out / f"{name}.csv", as_csv(rows))
    write_text(out / "contribution.json", as_json({**about, **tables}) + "\n")
    rows = images.rows()
    heights = [(row["image"], row["share"], row["share"] - row["share_sd"], row["share"] + row["share_sd"]) for row in rows]
    title = f"{about['stain'].upper()}, noise of {about['noise']:.0%} on one image at a time"
    bars(heights[:PICTURED], out / "contribution.png", "share of all images' RMSE", title)
    points = [(row["rank"], row["cumulative"], 0.0) for row in rows]
    curves({"all images": [(0, 0.0, 0.0), *points]}, out / "cumulative.png", "images, most important first", "cumulative share", title)
    return [*(out / f"{name}.csv" for name in tables), out / "contribution.json", out / "contribution.png", out / "cumulative.png"]


def region_rows(found: Contribution) -> list[dict[str, Any]]:
    """Of every region the share of each image."""
    rows = []
    for region, (voxels, moved) in found.regions.items():
        for name, value, share in zip(found.names, moved, moved / moved.sum(), strict=True):
            rows.append({"region": region, "voxels": voxels, "image": name, "rmse": float(value), "share": float(share)})
    return rows


def contribution_table(images: Contribution, groups: Contribution, units: str, fewer: Sequence[dict[str, Any]] = ()) -> str:
    """The images that move a stain most, groups of images, and how many images make up a quarter, a half and three quarters."""
    rows = images.rows()
    cumulative = [row["cumulative"] for row in rows]
    lines = [f"{'':3} {'image':20} {'share':>8} {'+-':>7} {'sum':>6} {'RMSE':>9}   ({units}, {images.voxels:,} voxels)"]
    lines += [_line(row) for row in rows[:10]]
    counts = [int(np.searchsorted(cumulative, share - 1e-9)) + 1 for share in SHARES]
    listed = ", ".join(f"{share:.0%} in the first {count}" for share, count in zip(SHARES, counts, strict=True))
    lines += [f"... of {len(rows)}: {listed}. Last: {rows[-1]['image']}.", "", "All images of a group at once"]
    lines += [_line(row) for row in groups.rows()]
    for region, (voxels, moved) in images.regions.items():
        order = np.argsort(-moved)[:3]
        first = ", ".join(f"{images.names[index]} {moved[index] / moved.sum():.1%}" for index in order)
        lines.append(f"{region} ({voxels} voxels): {first}")
    if fewer:
        lines += [
            "",
            f"{'images':>6} {'R2':>7} {'RMSE':>8} {'AUC':>7} {'minutes':>9} {'saved':>9}   networks trained anew on the first images",
        ]
        for row in fewer:
            times = ["unknown" if row[key] is None else f"{row[key]:.0f}" for key in ("minutes", "minutes_saved")]
            lines.append(f"{row['images']:6} {row['r2']:7.3f} {row['rmse']:8.4g} {row['auc']:7.3f} {times[0]:>9} {times[1]:>9}")
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    spread = "" if np.isnan(row["share_sd"]) else f"{row['share_sd']:.2%}"
    return f"{row['rank']:3} {row['image']:20} {row['share']:8.2%} {spread:>7} {row['cumulative']:6.0%} {row['rmse']:9.3g}"
