"""Tiny subjects on disk."""

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np

from mrh_monai.io import read_header, read_voxels
from mrh_monai.io.nibabel_files import write_analyze
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.subjects import Datalist, Subject, SubjectArrays

SHAPE = (16, 6, 14)


def write_mrh_subject(folder: Path, seed: int = 0, shape: tuple[int, int, int] = SHAPE, dtype=np.int16) -> Path:
    """A subject in MRH-Net's layout whose stain is a simple function of its images."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.2, 1, shape)
    weights = np.random.default_rng(99).uniform(0.8, 1, len(MRH_NET))
    for b_value, share in ((1900, 0.7), (4800, 0.45)):  # diffusion weighting darkens
        weights[MRH_NET.shells[b_value]] *= share
    weights[65], weights[66] = 0.5, 1.0
    image = 8000 * truth[..., None] * weights + rng.normal(0, 100, (*shape, len(MRH_NET)))
    mask = np.zeros(shape, np.uint8)
    mask[1:-1, :, 1:-1] = 1
    for name, part in (("Lddm_dwi2000", slice(0, 32)), ("Lddm_dwi5000", slice(32, 64)), ("lddm_t2MTONOFF", slice(64, 67))):
        write_analyze(folder / f"rigidaffine_{name}.img", image[..., part].astype(dtype), 0.0625)
    write_analyze(folder / "rigidaffine_Lddm_fa.img", (truth * 200).astype(np.uint8), 0.0625)
    write_analyze(folder / "Masked_outline.img", mask, 0.0625)
    write_analyze(folder / "targets" / "AF.img", (truth * 250 * mask).astype(np.uint8), 0.0625)
    return folder


def write_nifti(path: Path, voxels: np.ndarray, affine: np.ndarray | None = None) -> Path:
    """A NIfTI file by nibabel itself, independent of the package's own writer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([0.1, 0.1, 0.1, 1]) if affine is None else affine), path)
    return path


def turned(subject, axis, folder, affine=None):
    """The same subject in NIfTI files, coronal along another axis, which it states; or an affine, given for axis 1, names it."""
    order = [0, 2]
    order.insert(axis, 1)

    def turn(path):
        found = read_header(path)
        voxels = read_voxels(found).transpose(*order, 3)
        voxels = voxels[..., 0] if voxels.shape[3] == 1 else voxels
        matrix = (found.affine if affine is None else affine)[:, [*order, 3]]
        name = path.name.split(".")[0].replace("rigidaffine", "scan").replace("Masked", "brain")  # not the names of MRH-Net's own files
        return write_nifti(folder / f"turned{axis}" / subject.name / f"{name}.nii", voxels, matrix)

    files = {key: turn(path) for key, path in subject.files.items()}
    stated = axis if affine is None else None
    return Subject(subject.name, tuple(map(turn, subject.image)), slices=subject.slices, coronal_axis=stated, **files)


def arrays_of(subject, dtype=None):
    """The voxels of a subject's files as arrays, read without the package; in the type of the files, if no other is given."""
    images = [np.asarray(nibabel.load(path).dataobj) for path in subject.image]
    image = np.concatenate([volume if volume.ndim == 4 else volume[..., None] for volume in images], axis=3)
    volumes = {key: np.asarray(nibabel.load(path).dataobj) for key, path in subject.files.items() if key != "fa"}
    affine = nibabel.load(subject.image[0]).affine
    image = image if dtype is None else image.astype(dtype)
    return SubjectArrays(image, affine=affine, name=subject.name, slices=subject.slices, **volumes)


def arrays_of_datalist(datalist, affine=None):
    """A datalist whose subjects are arrays instead of files; at another place, if an affine is given."""

    def arrays(subject):
        found = arrays_of(subject)
        return found if affine is None else replace(found, affine=affine)

    return Datalist(**{name: tuple(map(arrays, subjects)) for name, subjects in datalist.sections.items()})
