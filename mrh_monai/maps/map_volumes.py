"""Parameter maps of a whole scan as volumes, and as NIfTI files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mrh_monai.data import ReadingOptions, check_one_grid, load_subject, read_headers, read_mask
from mrh_monai.errors import SubjectError
from mrh_monai.io import read_header, read_voxels, writable_folder, write_nifti
from mrh_monai.maps.map_plan import fit_maps, plan_maps
from mrh_monai.protocol import MRH_NET, MRProtocol
from mrh_monai.subjects import MRH_NET_LAYOUT, Layout, Subject, find_input


@dataclass(frozen=True)
class ParameterMaps:
    """The parameter maps of one scan.

    Attributes:
        maps: Each map (X, Y, Z) float32 by its name, 0 outside the mask: ``t2w``, ``mtr``, ``fa_1900``, ``md_1900`` (1e-3 mm^2/s), ``mk``.
        mask: (X, Y, Z) bool.
        affine: (4, 4) from voxel index to RAS+ mm.
    """

    maps: dict[str, np.ndarray]
    mask: np.ndarray
    affine: np.ndarray

    def save(self, folder: Path | str) -> list[Path]:
        """Write each map as ``NAME.nii.gz`` into a folder, and return the files.

        Raises:
            OutputError: The folder cannot be written.
        """
        folder, written = writable_folder(folder), []
        for name, volume in self.maps.items():
            write_nifti(folder / f"{name}.nii.gz", volume, self.affine)
            written.append(folder / f"{name}.nii.gz")
        return written


def parameter_maps(
    scan: Path | str | Subject,
    protocol: MRProtocol = MRH_NET,
    *,
    layout: Layout = MRH_NET_LAYOUT,
    gradients: Sequence[Path | str] = (),
    mask: Path | str | None = None,
) -> ParameterMaps:
    """Compute the MR parameter maps of one subject, or of one diffusion scan.

    Args:
        scan: A subject's folder, a manifest or a `Subject`; or one 4D file of diffusion volumes with its gradient table.
        protocol: Channels of the subject.
        layout: File patterns of a subject's folder.
        gradients: Files of gradient tables, see `gradients_of`.
        mask: Mask to use instead of the subject's own. If None is given for a single 4D file, the mask has the
            voxels with signal in every unweighted volume.

    Raises:
        SubjectError: The files cannot be read, do not fit the protocol, or allow no map.
    """
    own_mask = None if mask is None else Path(mask)
    if not isinstance(scan, Subject):
        if Path(scan).is_file() and not Path(scan).name.endswith(".json"):
            return _maps_of_file(Path(scan), gradients, own_mask)
        scan = find_input(scan, layout)
    subject = scan if own_mask is None else replace(scan, mask=own_mask)
    plan = plan_maps(read_headers(subject, protocol)["image"], protocol, gradients)
    loaded = load_subject(subject, protocol, ReadingOptions(margin=0))
    return ParameterMaps(_volumes(fit_maps(loaded.image[loaded.mask], plan), loaded.mask), loaded.mask, loaded.affine)


def _maps_of_file(path: Path, gradients: Sequence[Path | str], mask: Path | None) -> ParameterMaps:
    header = read_header(path)
    plan = plan_maps([header], None, gradients)
    masks = [] if mask is None else [read_header(mask)]
    check_one_grid([header, *masks])
    image = read_voxels(header)
    assert plan.gradients is not None
    inside = np.asarray((image[..., plan.gradients.unweighted] > 0).all(-1)) if not masks else read_mask(masks[0])
    if not inside.any():
        raise SubjectError(path, "signal in the unweighted volumes", "only zeros", "check the scan, or give a mask with --mask")
    if not np.isfinite(image[inside]).all():
        raise SubjectError(path, "numbers inside the mask", "NaN or Inf", "correct the scan, or give a --mask that leaves out these voxels")
    return ParameterMaps(_volumes(fit_maps(image[inside], plan), inside), inside, header.affine)


def _volumes(maps: dict[str, np.ndarray], inside: np.ndarray) -> dict[str, np.ndarray]:
    volumes = {}
    for name, values in maps.items():
        volumes[name] = np.zeros(inside.shape, np.float32)
        volumes[name][inside] = values
    return volumes
