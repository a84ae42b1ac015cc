"""Writing digital mouse brains to disk, in the layout of MRH-Net's published folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mrh_monai.errors import OptionError
from mrh_monai.io import replacing, writable_folder, write_analyze
from mrh_monai.output_files import check_outputs, writing
from mrh_monai.phantom.digital_brain import VOXEL_MM, PhantomSubject, make_subject, subject_name
from mrh_monai.phantom.mr_signals import DWI_COUNT
from mrh_monai.phantom.stains import STAIN_FILES

# Names of MRH-Net's layout.
IMAGES = ("rigidaffine_Lddm_dwi2000", "rigidaffine_Lddm_dwi5000", "rigidaffine_lddm_t2MTONOFF")
FA, MASK = "rigidaffine_Lddm_fa", "Masked_outline"


def make_phantom(
    folder: Path | str,
    subjects: int = 6,
    shape: Sequence[int] = (96, 24, 64),
    seed: int = 0,
    snr: float = 30.0,
    overwrite: bool = False,
) -> list[Path]:
    """Make digital mouse brains and write them to ``folder/subject01``, ``folder/subject02``, ...

    Args:
        folder: Folder to write into; it is made if it is missing.
        subjects: Number of subjects, at least 1.
        shape: Voxels along X (left-right), Y (anterior-posterior) and Z (ventral-dorsal); the whole brain is fitted into them.
        seed: Random seed of the cohort, at least 0.
        snr: Signal-to-noise ratio of the unweighted diffusion images; inf for images without noise. See `make_subject`.
        overwrite: Whether files of another origin may be replaced.

    Returns:
        The folder of each subject, with the files that `write_subject` describes.

    Raises:
        OptionError: An argument has a value that it cannot have.
        OutputError: The folder cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     paths = make_phantom(folder, subjects=2, shape=(24, 3, 24))
        ...     images = sorted(path.name for path in paths[0].glob("*.img"))
        >>> [path.name for path in paths]
        ['subject01', 'subject02']
        >>> images[:3]
        ['Masked_outline.img', 'rigidaffine_Lddm_dwi2000.img', 'rigidaffine_Lddm_dwi5000.img']
    """
    return list(write_phantom(folder, subjects, shape, seed, snr, overwrite))


def write_phantom(
    folder: Path | str,
    subjects: int = 6,
    shape: Sequence[int] = (96, 24, 64),
    seed: int = 0,
    snr: float = 30.0,
    overwrite: bool = False,
) -> Iterator[Path]:
    """Make digital mouse brains one after another, as `make_phantom` does with the same arguments.

    Yields:
        The folder of each subject, when it is complete.

    Raises:
        OptionError: An argument has a value that it cannot have.
        OutputError: The folder cannot be written.
    """
    if subjects < 1:
        raise OptionError("subjects", "at least 1", str(subjects), "ask for one or more")
    every = [file for index in range(subjects) for file in _files(Path(folder) / subject_name(index))]
    check_outputs("phantom", every, overwrite=overwrite)
    for index in range(subjects):
        subject = make_subject(index, shape, seed, snr)
        yield write_subject(subject, Path(folder) / subject.name, overwrite)


def write_subject(subject: PhantomSubject, folder: Path | str, overwrite: bool = False) -> Path:
    """Write one subject in MRH-Net's layout, with its own targets, and with the noise-free truth in ``truth.npz``.

    ``truth.npz`` holds ``latent_<name>`` and ``stain_<name>`` (float16), ``noise_free`` (int16) and ``noise_sigma``.

    Args:
        subject: The subject.
        folder: Folder to write into; it is made if it is missing. A digital brain there is replaced.
        overwrite: Whether files of another origin may be replaced.

    Returns:
        The folder.

    Raises:
        OutputError: The folder cannot be written, or has files of another origin under these names.
    """
    folder = writable_folder(folder)
    volumes = {
        IMAGES[0]: subject.image[..., :DWI_COUNT],
        IMAGES[1]: subject.image[..., DWI_COUNT : 2 * DWI_COUNT],
        IMAGES[2]: subject.image[..., 2 * DWI_COUNT :],
        FA: subject.fa,
        MASK: subject.mask,
        **{f"targets/{file}": subject.stains[name] for name, file in STAIN_FILES.items()},
    }
    truth = {f"latent_{name}": values.astype(np.float16) for name, values in subject.latent.items()}
    truth |= {f"stain_{name}": values.astype(np.float16) for name, values in subject.noise_free_stains.items()}
    with writing("phantom", _files(folder), overwrite=overwrite):
        for name, voxels in volumes.items():
            write_analyze(folder / f"{name}.img", voxels, VOXEL_MM)
        with replacing(folder / "truth.npz") as temporary, open(temporary, "wb") as stream:
            np.savez(stream, noise_free=subject.noise_free, noise_sigma=subject.noise_sigma, **truth)  # type: ignore[arg-type]
    return folder


def _files(folder: Path) -> list[Path]:
    """Return the files of one subject."""
    names = [*IMAGES, FA, MASK, *(f"targets/{file}" for file in STAIN_FILES.values())]
    return [*(folder / f"{name}.{ending}" for name in names for ending in ("img", "hdr")), folder / "truth.npz"]
