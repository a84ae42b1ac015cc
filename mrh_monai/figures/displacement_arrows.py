"""Figures of displaced stains: arrows over a coronal slice, and how far the voxels of each brain were moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mrh_monai.figures.canvas import distinct_colours, new_figure, save_png

COLUMNS, ARROWS = 3, 22  # panels in a row, and arrows along the longer side of a panel
LONGEST = 0.06  # length of the longest arrow, relative to the longest side of a volume, to which small displacements are stretched


@dataclass(frozen=True)
class DisplacedStain:
    """A stain and how far it is displaced.

    Attributes:
        name: Name of the subject.
        stain: (X, Y, Z), where it lies originally.
        mask: (X, Y, Z) bool, the brain.
        displacement: (2, X, Y, Z), how far from each voxel its stain lies, along x and z in mm.
        spacing: Edges of a voxel along x, y and z, mm.
    """

    name: str
    stain: np.ndarray
    mask: np.ndarray
    displacement: np.ndarray
    spacing: tuple[float, float, float]

    @property
    def lengths(self) -> np.ndarray:
        """(X, Y, Z) length of the displacement in mm, 0 outside the mask."""
        return np.asarray(np.linalg.norm(self.displacement, axis=0) * self.mask)

    @property
    def furthest(self) -> tuple[int, int, int]:
        """Indices x, y and z of the voxel whose stain is moved most."""
        x, y, z = np.unravel_index(int(np.where(self.mask, self.lengths, -1).argmax()), self.mask.shape)
        return int(x), int(y), int(z)


def stain_arrows(stains: Sequence[DisplacedStain], path: Path | str) -> None:
    """Draw the original stain of each subject, in the coronal slice where it is moved most, with arrows from where it lay to its new place.

    Args:
        stains: The stains.
        path: PNG file to write.

    Raises:
        OutputError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> brain = np.ones((30, 4, 20))
        >>> stain = DisplacedStain("m1", brain, brain > 0, 0.1 * np.stack([brain, brain]), (0.1, 0.1, 0.1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     stain_arrows([stain], f"{folder}/arrows.png")
        ...     print([path.name for path in Path(folder).iterdir()])
        ['arrows.png']
    """
    columns = min(COLUMNS, len(stains))
    rows = -(-len(stains) // columns)
    figure, axes = new_figure(rows, columns, (4.2 * columns, 3.2 * rows))
    for axis in axes.flat:
        axis.set_axis_off()
    longest = max(float(each.lengths.max()) / max(np.multiply(each.mask.shape, each.spacing)) for each in stains)
    stretch = max(1, round(LONGEST / max(longest, 1e-6)))
    for axis, each in zip(axes.flat, stains, strict=False):
        x, y, z = each.furthest
        across, _, up = each.spacing
        stain, mask = each.stain[:, y], each.mask[:, y]
        width, height = stain.shape[0] * across, stain.shape[1] * up
        shown = stain[mask & np.isfinite(stain)]
        low, high = np.percentile(shown, [1, 99])
        extent = (-across / 2, width - across / 2, -up / 2, height - up / 2)
        axis.imshow(stain.T, cmap="gray", origin="lower", extent=extent, vmin=low, vmax=high, interpolation="nearest")
        step = max(width, height) / ARROWS
        places = tuple(np.s_[:: max(1, round(step / edge))] for edge in (across, up))
        chosen = mask[places]
        at = np.stack(np.meshgrid(*(np.arange(count) * edge for count, edge in zip(mask.shape, (across, up), strict=True)), indexing="ij"))
        at, moved = (volume[(slice(None), *places)][:, chosen] for volume in (at, each.displacement[:, :, y]))
        start = at + stretch * moved
        axis.quiver(*start, *(at - start), color="#e8762c", angles="xy", scale_units="xy", scale=1, width=0.004)
        axis.plot(x * across, z * up, "o", markersize=9, markerfacecolor="none", markeredgecolor="#35c2e0")
        stretched = "" if stretch == 1 else f", arrows {stretch} times as long"
        axis.set_title(f"{each.name}, slice {y}: up to {each.lengths.max():.2f} mm{stretched}", fontsize=8, parse_math=False)
        axis.set(xlim=extent[:2], ylim=extent[2:])
    save_png(figure, path)


def displacement_histogram(stains: Sequence[DisplacedStain], path: Path | str) -> None:
    """Draw which share of each brain was moved how far.

    Args:
        stains: The stains.
        path: PNG file to write.

    Raises:
        OutputError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> brain = np.ones((30, 4, 20))
        >>> stain = DisplacedStain("m1", brain, brain > 0, 0.1 * np.stack([brain, brain]), (0.1, 0.1, 0.1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     displacement_histogram([stain], f"{folder}/histogram.png")
        ...     print([path.name for path in Path(folder).iterdir()])
        ['histogram.png']
    """
    figure, axes = new_figure(1, 1, (6.4, 3.4))
    axis = axes[0][0]
    largest = max(float(each.lengths.max()) for each in stains)
    edges = np.linspace(0, max(largest, 1e-3), 41)
    for each, colour in zip(stains, distinct_colours(len(stains)), strict=True):
        share, _ = np.histogram(each.lengths[each.mask], edges)
        # matplotlib leaves names that begin with _ out of the legend.
        axis.stairs(100 * share / share.sum(), edges, color=colour, label=f" {each.name}")
    axis.set(xlabel="displacement (mm)", ylabel="voxels of the brain (%)", xlim=(0, edges[-1]), ylim=(0, None))
    for text in axis.legend(fontsize=7, ncols=1 + len(stains) // 8).get_texts():
        text.set_parse_math(False)
    save_png(figure, path)
