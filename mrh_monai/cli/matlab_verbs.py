"""The verbs of `mrh` for MATLAB and for the files that were published with MRH-Net. What a verb needs is imported inside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mrh_monai.cli.option_types import BundleFolder, NiftiOutput, Overwrite, VoxelEdge

verbs = typer.Typer()


@verbs.command()
def import_matlab(
    network: Annotated[Path, typer.Argument(help="MAT file with a trained network `net`.")],
    bundle: Annotated[Path, typer.Option(help="Bundle folder into which the network is put.")],
    target_max: Annotated[
        float | None,
        typer.Option(
            help="Largest target in the training of the network, such as 255. If not given, predictions stay scaled, and 1 means that "
            "largest target."
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Put an MRH-Net that was trained in MATLAB into a bundle; its graph is checked layer by layer."""
    from mrh_monai.matlab import import_from_matlab

    sidecar = import_from_matlab(network, bundle, target_max, overwrite)
    rmse = sidecar.source.get("final_rmse_mean")
    print(
        f"{bundle / 'models' / 'model.pt'}: {sidecar.residual_blocks} residual blocks, {len(sidecar.channels)} channels, "
        f"{sidecar.features} features, published scaling" + ("" if rmse is None else f", training ended at RMSE {rmse:.3g} of a patch")
    )


@verbs.command()
def export_matlab(
    bundle: BundleFolder,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="MAT file to write; a function that rebuilds the network is written beside it.")
    ],
    overwrite: Overwrite = False,
) -> None:
    """Write the network of a bundle for MATLAB: plain arrays, and a short .m file that rebuilds the network."""
    from mrh_monai.matlab import export_to_matlab

    function = export_to_matlab(bundle, output, overwrite)
    print(f"{output}\n{function}: in MATLAB, net = {function.stem}();")


@verbs.command()
def recon(
    patches: Annotated[Path, typer.Argument(help="MAT file with YPred and fa, one patch for each voxel, such as YPred_auto.mat.")],
    height: Annotated[int, typer.Option(min=3, help="Number of voxels of a coronal slice along x.")],
    width: Annotated[int, typer.Option(min=3, help="Number of voxels of a coronal slice along z.")],
    output: NiftiOutput,
    voxel: VoxelEdge = 0.0625,
    overwrite: Overwrite = False,
) -> None:
    """Put predicted patches back into coronal slices: the centre voxel of each patch, where fa > 0."""
    import numpy as np

    from mrh_monai.io import check_nifti_output, write_nifti
    from mrh_monai.matlab import reconstruct_slices
    from mrh_monai.output_files import writing

    check_nifti_output(output)
    with writing("slices", [output], [patches], overwrite):
        slices = reconstruct_slices(patches, height, width)
        write_nifti(output, slices, np.diag([voxel, voxel, voxel, 1.0]))
    print(f"{output}: {' x '.join(map(str, slices.shape))} voxels")


@verbs.command()
def reorder(
    volume: Annotated[Path, typer.Argument(help="Released volume, such as fluo_No-noisy_R3.img.")],
    output: NiftiOutput,
    axes: Annotated[
        str | None, typer.Option(help="Axes of the volume in the order x,y,z, such as 1,2,0; a minus sign before an axis reverses it.")
    ] = None,
    voxel: VoxelEdge = 0.0625,
    overwrite: Overwrite = False,
) -> None:
    """Put a released volume into the order of the P60 template, 200 x 280 x 128, coronal slices along the second axis."""
    import numpy as np

    from mrh_monai.io import check_nifti_output, write_nifti
    from mrh_monai.matlab import read_in_template_order
    from mrh_monai.output_files import writing

    check_nifti_output(output)
    with writing("reordered", [output], [volume, volume.with_suffix(".hdr"), volume.with_suffix(".img")], overwrite):
        voxels = read_in_template_order(volume, axes)
        write_nifti(output, voxels, np.diag([voxel, voxel, voxel, 1.0]))
    print(f"{output}: {' x '.join(map(str, voxels.shape))} voxels")


@verbs.command()
def fetch(
    name: Annotated[str | None, typer.Argument(help="Name of the file to fetch; a list is shown if not given.")] = None,
    folder: Annotated[Path, typer.Option("--output", "-o", help="Folder into which the file is put.")] = Path("published"),
    url: Annotated[str | None, typer.Option(help="Web address to download the file from instead, such as that of a mirror.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Fetch a file that was published with MRH-Net; an interrupted download continues where it stopped."""
    from mrh_monai.matlab import PUBLISHED_FILES, fetch_published

    if name is None:
        for item in PUBLISHED_FILES.values():
            print(f"{item.name:18} {item.identifier:18} {item.holds}")
        return
    print(fetch_published(name, folder, url, overwrite))
