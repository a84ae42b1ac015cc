"""Parameter maps of a whole scan as volumes, and as NIfTI files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from mrh_monai.axis_order import affine_in_order, in_order, inverse_order
from mrh_monai.data import ReadingOptions, check_one_grid, input_kind, load_subject, read_mask
from mrh_monai.errors import OptionError, SubjectError
from mrh_monai.io import Placement, read_header, read_voxels, volume_ending, writable_folder, write_nifti
from mrh_monai.maps.map_plan import MapPlan, fit_maps, plan_maps
from mrh_monai.output_files import check_outputs, writing
from mrh_monai.protocol import MRH_NET, MRProtocol
from mrh_monai.subjects import (
    FROM_FILES,
    MRH_NET_LAYOUT,
    FileGeometry,
    Layout,
    Subject,
    SubjectArrays,
    SubjectLike,
    as_subject,
    checked_voxel_size,
    files_of,
    mask_beside,
)

MAP = "map"  # the kind of the files, see `mrh_monai.output_files`


@dataclass(frozen=True)
class ParameterMaps:
    """The parameter maps of one scan.

    Attributes:
        maps: Each map (X, Y, Z) float32 by its name, 0 outside the mask: ``t2w``, ``mtr``, ``fa_1900``, ``md_1900`` (1e-3 mm^2/s), ``mk``.
        mask: (X, Y, Z) bool.
        affine: (4, 4) from voxel index to RAS+ mm.
        placement: Fields that place the written files, from the header of the scan; None to write the affine.
        inputs: Files from which the maps were computed, which they never replace.
    """

    maps: dict[str, np.ndarray]
    mask: np.ndarray
    affine: np.ndarray
    placement: Placement | None = None
    inputs: tuple[Path | str, ...] = ()

    def save(self, folder: Path | str, overwrite: bool = False) -> list[Path]:
        """Write each map as ``NAME.nii.gz`` into a folder, and return the files.

        Args:
            folder: Folder to write into. Maps that this function wrote there are replaced.
            overwrite: Whether other files may be replaced too.

        Raises:
            OutputError: The folder cannot be written, or a map would replace another file.
        """
        files = map_files(writable_folder(folder), self.maps)
        with writing(MAP, files.values(), self.inputs, overwrite):
            for name, volume in self.maps.items():
                write_nifti(files[name], volume, self.affine, self.placement)
        return list(files.values())


@dataclass(frozen=True)
class PreparedMaps:
    """Maps that can be computed: the headers of the scan have been read, but no voxels.

    Attributes:
        plan: The maps.
        inputs: Files from which they are computed.
        compute: Function that reads the voxels and returns the maps.
    """

    plan: MapPlan
    inputs: tuple[Path | str, ...]
    compute: Callable[[], ParameterMaps]

    def check_output(self, folder: Path | str, overwrite: bool = False) -> None:
        """Refuse a folder in which a map would replace another file, see `ParameterMaps.save`.

        Raises:
            OutputError: There is such a file.
        """
        check_outputs(MAP, map_files(Path(folder), self.plan.names).values(), self.inputs, overwrite)


def map_files(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Return the file of each map in a folder."""
    return {name: folder / f"{name}.nii.gz" for name in names}


def parameter_maps(
    scan: SubjectLike,
    protocol: MRProtocol = MRH_NET,
    *,
    layout: Layout = MRH_NET_LAYOUT,
    gradients: Sequence[Path | str] = (),
    mask: Path | str | ArrayLike | None = None,
    affine: ArrayLike | None = None,
) -> ParameterMaps:
    """Compute the MR parameter maps of one subject, or of one diffusion scan.

    Args:
        scan: What `mrh_monai.predict` takes: a subject's folder, a 4D image with its mask beside it, a manifest, a `Subject`,
            `SubjectArrays`, or an image array (X, Y, Z, C). Or one 4D file of diffusion volumes with its gradient table.
        protocol: Channels of the subject.
        layout: File patterns of a subject's folder.
        gradients: Files of gradient tables, see `gradients_of`.
        mask: Mask to use instead of the subject's own: a file, or for an image array (X, Y, Z) of 0 and 1. If None is given for a
            diffusion file without a mask beside it, the mask has the voxels with signal in every unweighted volume.
        affine: (4, 4) from voxel index to RAS+ mm; only with an image array, which needs it.

    Raises:
        SubjectError: The files cannot be read, do not fit the protocol, or allow no map.
        OptionError: A mask or an affine is given with a subject that has its own.

    Example:
        >>> from mrh_monai import Channel
        >>> protocol = MRProtocol((Channel("mt_on"), Channel("mt_off")))
        >>> image = np.stack([np.full((4, 3, 2), 50.0), np.full((4, 3, 2), 100.0)], axis=-1)
        >>> found = parameter_maps(image, protocol, mask=np.ones((4, 3, 2)), affine=np.eye(4))
        >>> list(found.maps), float(found.maps["mtr"][0, 0, 0])
        (['mtr'], 0.5)
    """
    return prepare_maps(scan, protocol, layout=layout, gradients=gradients, mask=mask, affine=affine).compute()


def prepare_maps(
    scan: SubjectLike,
    protocol: MRProtocol = MRH_NET,
    *,
    layout: Layout = MRH_NET_LAYOUT,
    gradients: Sequence[Path | str] = (),
    mask: Path | str | ArrayLike | None = None,
    affine: ArrayLike | None = None,
    geometry: FileGeometry = FROM_FILES,
) -> PreparedMaps:
    """Read the headers of a scan, and return its maps ready to be computed.

    The arguments and errors are those of `parameter_maps`; ``geometry`` is what the user states of the files, see `Subject.stated`.
    """
    has_own_mask = isinstance(scan, str | os.PathLike | Subject | SubjectArrays)
    mask_file = Path(mask) if isinstance(mask, str | os.PathLike) else None
    if isinstance(scan, SubjectArrays) and mask is not None:
        raise OptionError("mask", "no mask beside SubjectArrays", "a mask", "put it into the SubjectArrays with dataclasses.replace")
    if has_own_mask and mask is not None and mask_file is None:
        raise OptionError("mask", "a file, since the subject has files", "an array", "save the mask as a NIfTI file")
    if has_own_mask and affine is not None:
        raise OptionError("affine", "an affine only with an image array", "one with a subject that has its own", "leave `affine` out")
    if isinstance(scan, str | os.PathLike) and _is_diffusion_file(Path(scan), protocol):
        return _maps_of_file(Path(scan), gradients, mask_file, checked_voxel_size(geometry.voxel_size))
    subject = as_subject(scan, None if has_own_mask else mask, affine, layout)  # type: ignore[arg-type]  # a file is no array
    if mask_file is not None and isinstance(subject, Subject):
        subject = replace(subject, mask=mask_file)
    if isinstance(subject, Subject):
        subject = subject.stated(geometry)
        if subject.coronal_axis is None and subject.slices is None and not subject.is_patch_file:
            # A map is computed voxel by voxel, so that any axis will do; that of the longest voxels is right if any is.
            subject = replace(subject, coronal_axis=int(np.argmax(read_header(subject.image[0]).spacing)))
    plan = plan_maps(input_kind(subject).image_headers(subject, protocol), protocol, gradients)
    inputs = (*gradients, *(files_of(subject) if isinstance(subject, Subject) else ()))

    def compute() -> ParameterMaps:
        loaded = load_subject(subject, protocol, ReadingOptions(margin=0))
        order = inverse_order(loaded.axes)
        mask, affine = in_order(loaded.mask, order), affine_in_order(loaded.affine, order)
        return ParameterMaps(_volumes(fit_maps(in_order(loaded.image, order)[mask], plan), mask), mask, affine, loaded.placement, inputs)

    return PreparedMaps(plan, inputs, compute)


def _is_diffusion_file(path: Path, protocol: MRProtocol) -> bool:
    """Return whether a path is a volume file that is no whole subject: it has another number of volumes, or no mask beside it."""
    if not path.is_file() or not volume_ending(path):
        return False
    return read_header(path).channels != len(protocol) or mask_beside(path) is None


def _maps_of_file(path: Path, gradients: Sequence[Path | str], mask: Path | None, size: Sequence[float] | None) -> PreparedMaps:
    header = read_header(path) if size is None else read_header(path).with_voxel_size(size)
    plan = plan_maps([header], None, gradients)
    mask = mask or mask_beside(path)
    masks = [] if mask is None else [read_header(mask)]
    check_one_grid([header, *masks])
    inputs = (path, *gradients, *(each.path for each in masks))

    def compute() -> ParameterMaps:
        image = read_voxels(header)
        assert plan.gradients is not None
        inside = np.asarray((image[..., plan.gradients.unweighted] > 0).all(-1)) if not masks else read_mask(masks[0])
        if not inside.any():
            raise SubjectError(path, "signal in the unweighted volumes", "only zeros", "check the scan, or give a mask with --mask")
        if not np.isfinite(image[inside]).all():
            remedy = "correct the scan, or give a --mask that leaves out these voxels"
            raise SubjectError(path, "numbers inside the mask", "NaN or Inf", remedy)
        return ParameterMaps(_volumes(fit_maps(image[inside], plan), inside), inside, header.affine, header.placement, inputs)

    return PreparedMaps(plan, inputs, compute)


def _volumes(maps: dict[str, np.ndarray], inside: np.ndarray) -> dict[str, np.ndarray]:
    volumes = {}
    for name, values in maps.items():
        volumes[name] = np.zeros(inside.shape, np.float32)
        volumes[name][inside] = values
    return volumes
