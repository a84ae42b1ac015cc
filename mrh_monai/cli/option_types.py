"""Arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mrh_monai.data import NanRule

BundleFolder = Annotated[Path, typer.Argument(help="Bundle folder, with trained weights in models/.")]
Device = Annotated[str, typer.Option(help="Device that computes: auto, cpu, cuda or cuda:N.")]
LayoutFile = Annotated[Path | None, typer.Option(help="YAML file of file patterns, for other file names than those of MRH-Net.")]
Nan = Annotated[
    str | None,
    typer.Option(
        help="What to do with NaN and Inf inside the mask: refuse, or zero to set them to 0. "
        "If not given: zero with published scaling, refuse with any other scaling."
    ),
]
NiftiOutput = Annotated[Path, typer.Option("--output", "-o", help="NIfTI file to write (.nii or .nii.gz).")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace files that this command did not write. Files that it reads are never replaced.")
]
CoronalAxis = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=2,
        help="Array axis along which coronal slices lie; if not given, that of the layout or of the files' affine.",
    ),
]
VoxelSize = Annotated[
    tuple[float, float, float] | None,
    typer.Option(help="True voxel size in mm along the three axes of the files, for all files of a subject, where they have a wrong one."),
]
VoxelEdge = Annotated[float, typer.Option(min=1e-6, help="Edge of a voxel in mm.")]


def checked_nan(nan: str | None) -> NanRule | None:
    """Return the rule for NaN that was typed.

    Raises:
        OptionError: It is not ``refuse`` or ``zero``.
    """
    from mrh_monai.data import NAN_RULES
    from mrh_monai.errors import one_of

    return None if nan is None else one_of("nan", nan, NAN_RULES)
