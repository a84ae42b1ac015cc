"""Tiny subjects on disk."""

from pathlib import Path

import nibabel
import numpy as np

from mrh_monai.io.nibabel_files import write_analyze
from mrh_monai.protocol.mrh_net import MRH_NET

SHAPE = (16, 6, 14)


def write_mrh_subject(folder: Path, seed: int = 0, shape: tuple[int, int, int] = SHAPE, dtype=np.int16) -> Path:
    """A subject in MRH-Net's layout whose stain is a simple function of its images."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.2, 1, shape)
    weights = np.random.default_rng(99).uniform(0.3, 1, len(MRH_NET))
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
