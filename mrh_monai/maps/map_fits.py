"""MR parameter maps: what scans are usually boiled down to, and what a virtual stain is compared with."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mrh_monai.data import MRH_NET_LAYOUT, Layout, check_one_grid, find_subject, load_subject, read_headers, read_mask
from mrh_monai.errors import MRHWarning, SubjectError
from mrh_monai.io import Header, read_header, read_voxels, writable_folder, write_nifti
from mrh_monai.maps.gradient_table import GradientTable, gradients_of
from mrh_monai.optional_imports import need
from mrh_monai.protocol import MRH_NET, MT_OFF, MT_ON, T2, UNWEIGHTED_BELOW, MRProtocol

TENSOR_UNKNOWNS, KURTOSIS_UNKNOWNS = 7, 22  # elements of the tensors and the unweighted signal
CHUNK = 100_000  # voxels fitted at once
MILLI = 1e3  # mm^2/s to 1e-3 mm^2/s, which is um^2/ms


@dataclass(frozen=True)
class MapPlan:
    """Which maps a subject's channels allow, and from which of them.

    Attributes:
        t2: Channel of the T2-weighted image; None without one.
        mt: Channels with magnetization transfer on and off; None without the pair.
        gradients: Of the diffusion volumes; None without any.
        diffusion: Their channels.
    """

    t2: int | None
    mt: tuple[int, int] | None
    gradients: GradientTable | None
    diffusion: tuple[int, ...]

    @property
    def names(self) -> list[str]:
        """The maps, in the order in which `parameter_maps` gives them: ``fa_1900`` is the FA of the shell near b = 1900 s/mm^2."""
        names = [name for name, channel in (("t2w", self.t2), ("mtr", self.mt)) if channel is not None]
        if self.gradients is not None:
            names += [f"{name}_{shell}" for shell in self.shells for name in ("fa", "md", "ad", "rd")]
            names += ["mk"] if self.has_kurtosis else []
        return names

    @property
    def shells(self) -> dict[int, np.ndarray]:
        """Those with directions enough for a tensor, each with the volumes that are fitted."""
        assert self.gradients is not None
        fitted = {shell: self.gradients.fitted_with(members) for shell, members in self.gradients.shells.items()}
        return {shell: volumes for shell, volumes in fitted.items() if _rank(self.gradients, volumes, 2) == TENSOR_UNKNOWNS}

    @property
    def has_kurtosis(self) -> bool:
        """Whether two shells have directions enough for a kurtosis tensor."""
        assert self.gradients is not None
        everything = np.ones(len(self.gradients), bool)
        return len(self.gradients.shells) > 1 and _rank(self.gradients, everything, 4) == KURTOSIS_UNKNOWNS


def plan_maps(headers: Sequence[Header], protocol: MRProtocol | None, gradients: Sequence[Path | str] = ()) -> MapPlan:
    """Which maps a subject's files allow.

    Args:
        headers: Of its image files, in the protocol's order.
        protocol: Names of its channels; None where all are diffusion volumes.
        gradients: Gradient tables, see `mrh_monai.maps.gradient_table.gradients_of`.

    Raises:
        SubjectError: There is a diffusion protocol without a gradient table, or nothing to make a map of.
    """
    names = [] if protocol is None else protocol.names
    t2 = names.index(T2) if T2 in names else None
    mt = (names.index(MT_ON), names.index(MT_OFF)) if MT_ON in names and MT_OFF in names else None
    table: GradientTable | None = None
    diffusion: list[int] = []
    if protocol is None or gradients or (t2, mt) == (None, None) or any(channel.b_value is not None for channel in protocol):
        table, diffusion = gradients_of(headers, protocol, gradients)
    plan = MapPlan(t2, mt, table, tuple(diffusion))
    if table is not None:
        for shell in table.shells:
            if shell not in plan.shells:
                warnings.warn(
                    f"{table.source}: the shell at b = {shell} s/mm^2 has too few directions for a tensor.", MRHWarning, stacklevel=2
                )
    if not plan.names:
        found = "an unweighted volume and at least six directions of a shell"
        raise SubjectError(headers[0].path, f"a T2-weighted image, a pair with MT on and off, or {found}", "none of these", "add the scans")
    return plan


def write_maps(
    scan: Path | str,
    out: Path | str,
    protocol: MRProtocol = MRH_NET,
    layout: Layout = MRH_NET_LAYOUT,
    gradients: Sequence[Path | str] = (),
    mask: Path | str | None = None,
) -> list[Path]:
    """Write the parameter maps of one subject as NIfTI files, float32, 0 outside the mask.

    Args:
        scan: A subject's folder; or one 4D file of diffusion volumes with its gradient table.
        out: Folder to write into: ``fa_1900.nii.gz`` and so on.
        protocol: Channels of a subject's folder.
        layout: File patterns of a subject's folder.
        gradients: Gradient tables, see `mrh_monai.maps.gradient_table.gradients_of`.
        mask: In place of the subject's own; None for that one, or with one file for the voxels with signal in every unweighted volume.

    Returns:
        The files.

    Raises:
        SubjectError: As `mrh_monai.data.subject_voxels.load_subjects` and `plan_maps`.
    """
    scan = Path(scan)
    own_mask = None if mask is None else Path(mask)
    if scan.is_file():
        header = read_header(scan)
        plan = plan_maps([header], None, gradients)
        masks = [] if own_mask is None else [read_header(own_mask)]
        check_one_grid([header, *masks])
        image = read_voxels(header)
        assert plan.gradients is not None
        inside = (image[..., plan.gradients.unweighted] > 0).all(-1) if not masks else read_mask(masks[0])
        affine = header.affine
        if not inside.any():
            raise SubjectError(scan, "signal in the unweighted volumes", "none", "check the scan, or give --mask")
        if not np.isfinite(image[inside]).all():
            raise SubjectError(scan, "numbers inside the mask", "NaN or Inf", "mend the scan, or give a --mask that leaves them out")
    else:
        subject = find_subject(scan, layout)
        subject = subject if own_mask is None else replace(subject, mask=own_mask)
        plan = plan_maps(read_headers(subject, protocol)["image"], protocol, gradients)
        loaded = load_subject(subject, protocol, margin=0)
        image, inside, affine = loaded.image, loaded.mask, loaded.affine
    out, written = writable_folder(out), []
    for name, values in parameter_maps(image[inside], plan).items():
        volume = np.zeros(inside.shape, np.float32)
        volume[inside] = values
        write_nifti(out / f"{name}.nii.gz", volume, affine)
        written.append(out / f"{name}.nii.gz")
    return written


def parameter_maps(signals: np.ndarray, plan: MapPlan) -> dict[str, np.ndarray]:
    """The maps of some voxels.

    Args:
        signals: (N, C) raw intensities.
        plan: Of `plan_maps`.

    Returns:
        Each (N,) float32: ``t2w``, the T2-weighted intensity itself; ``mtr``, (off - on) / off; of every shell ``fa``, and ``md``, ``ad``,
        ``rd`` in 1e-3 mm^2/s, of a tensor fitted to the logarithms by least squares; ``mk``, the mean kurtosis, of a kurtosis tensor
        fitted likewise to all shells, within -3/7 to 10.

    Source:
        Basser et al., Biophys J 1994;66:259; Jensen et al., Magn Reson Med 2005;53:1432; Tabesh et al., Magn Reson Med 2011;65:823.
    """
    maps: dict[str, np.ndarray] = {}
    if plan.t2 is not None:
        maps["t2w"] = signals[:, plan.t2].astype(np.float32)
    if plan.mt is not None:
        on, off = (signals[:, channel].astype(np.float64) for channel in plan.mt)
        maps["mtr"] = np.divide(off - on, off, out=np.zeros_like(off), where=off > 0).clip(-1, 1).astype(np.float32)
    if plan.gradients is None:
        return maps
    diffusion = {name: np.empty(len(signals), np.float32) for name in plan.names if name not in maps}
    fits = [(f"_{shell}", volumes, _tensor_maps) for shell, volumes in plan.shells.items()]
    if plan.has_kurtosis:
        fits.append(("", np.ones(len(plan.gradients), bool), _mean_kurtosis))
    stored = signals[:, list(plan.diffusion)]
    floor = float(stored[stored > 0].min()) if (stored > 0).any() else 1.0
    for start in range(0, len(signals), CHUNK):
        chunk = slice(start, start + CHUNK)
        # Noise leaves some integers at 0, whose logarithm would outweigh all others; the smallest signal of the scan takes their place.
        values = np.maximum(stored[chunk].astype(np.float64), floor)
        for suffix, volumes, fit in fits:
            for name, fitted in fit(values[:, volumes], plan.gradients, volumes).items():
                diffusion[name + suffix][chunk] = fitted
    return maps | diffusion


def _tensor_maps(signals: np.ndarray, gradients: GradientTable, volumes: np.ndarray) -> dict[str, np.ndarray]:
    dti = need("dipy.reconst.dti", "analysis")
    fit = dti.TensorModel(_dipy_table(gradients, volumes), fit_method="OLS").fit(signals)
    return {"fa": fit.fa, "md": fit.md * MILLI, "ad": fit.ad * MILLI, "rd": fit.rd * MILLI}


def _mean_kurtosis(signals: np.ndarray, gradients: GradientTable, volumes: np.ndarray) -> dict[str, np.ndarray]:
    """As dipy's ``DiffusionKurtosisModel(fit_method="OLS")``, all voxels at once: its own goes voxel by voxel, a hundred times slower."""
    dti, dki, utils = (need(f"dipy.reconst.{name}", "analysis") for name in ("dti", "dki", "utils"))
    solution = np.log(signals) @ np.linalg.pinv(utils.dki_design_matrix(_dipy_table(gradients, volumes))).T
    values, vectors = dti.decompose_tensor(dti.from_lower_triangular(solution[:, :6]))
    mean = solution[:, [0, 2, 5]].mean(1, keepdims=True)
    kurtosis = np.divide(solution[:, 6:21], mean**2, out=np.zeros((len(signals), 15)), where=np.abs(mean) > 0)
    return {"mk": dki.mean_kurtosis(np.concatenate([values, vectors.reshape(-1, 9), kurtosis], 1), max_kurtosis=10)}


def _dipy_table(gradients: GradientTable, volumes: np.ndarray) -> object:
    make = need("dipy.core.gradients", "analysis").gradient_table
    return make(gradients.b_values[volumes], bvecs=gradients.directions[volumes], b0_threshold=UNWEIGHTED_BELOW)


def _rank(gradients: GradientTable, volumes: np.ndarray, order: int) -> int:
    """Unknowns that these volumes can tell apart: with ``order`` 2 of a tensor, with 4 of a tensor and its kurtosis."""
    b, g = gradients.b_values[volumes] / 1000, gradients.directions[volumes]
    second = np.stack([g[:, i] * g[:, j] for i in range(3) for j in range(i, 3)], 1)
    columns = [np.ones((len(b), 1)), b[:, None] * second]
    if order == 4:
        columns.append(b[:, None] ** 2 * np.stack([second[:, i] * second[:, j] for i in range(6) for j in range(i, 6)], 1))
    return int(np.linalg.matrix_rank(np.concatenate(columns, 1), tol=1e-4))
