"""The verbs of `mrh` that predict stains and score them. What a verb needs is imported inside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mrh_monai.cli.option_types import BundleFolder, CoronalAxis, Device, LayoutFile, Nan, Overwrite, VoxelSize, checked_nan

verbs = typer.Typer()


@verbs.command()
def predict(
    bundle: BundleFolder,
    subject: Annotated[
        Path, typer.Argument(help="Subject folder, 4D image with NAME_mask.* beside it, manifest (*.mrh.json), or MAT file of patches.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="NIfTI file to write (a MAT file for patches), with its record NAME.json beside it.")
    ],
    precision: Annotated[str, typer.Option(help="Precision of the network: float32, tf32, bf16 or auto.")] = "float32",
    device: Device = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Number of patches in a batch; only speed and memory depend on it.")] = 4096,
    nan: Nan = None,
    support: Annotated[str, typer.Option(help="Voxels to predict: mask, or fa for FA > 0 even if there is a mask.")] = "mask",
    intervals: Annotated[
        bool, typer.Option(help="Write the bounds of each voxel's interval too, as NAME_lower and NAME_upper, if the bundle has intervals.")
    ] = True,
    voxel_size: VoxelSize = None,
    coronal_axis: CoronalAxis = None,
    layout: LayoutFile = None,
    overwrite: Overwrite = False,
) -> None:
    """Predict the stain of one subject."""
    from mrh_monai.data import SUPPORTS, input_kind
    from mrh_monai.errors import one_of
    from mrh_monai.subjects import FileGeometry, Layout, files_of, find_input

    patterns = Layout.from_yaml(layout)
    files = find_input(subject, patterns)
    files = files.stated(FileGeometry(voxel_size, coronal_axis))
    input_kind(files).check_output(output)

    from mrh_monai.devices import PRECISIONS
    from mrh_monai.inference import PredictionOptions, check_output, load_bundle
    from mrh_monai.network import bundle_files

    inputs = [*files_of(files), *bundle_files(bundle), *(path for path in (subject, layout) if path is not None)]
    check_output(output, input_kind(files), inputs, overwrite)
    options = PredictionOptions(
        device,
        one_of("precision", precision, PRECISIONS),
        batch_size,
        checked_nan(nan),
        one_of("support", support, SUPPORTS),
        intervals=intervals,
    )
    predictor = load_bundle(bundle, options)
    check_output(output, input_kind(files), inputs, overwrite, bounds="intervals" in predictor.made_by)
    prediction = predictor.predict(files, progress=True)
    print(prediction.save(output, overwrite))
    if intervals:
        typer.echo(prediction.about_intervals, err=True)


@verbs.command()
def evaluate(
    prediction: Annotated[Path, typer.Argument(help="Predicted volume.")],
    target: Annotated[Path, typer.Argument(help="Volume of the true stain.")],
    mask: Annotated[Path, typer.Option(help="Brain mask of 0 and 1.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSON file to write.")] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Threshold for the AUC in the stain's units; Otsu's threshold of the target if not given.")
    ] = None,
    voxel_size: VoxelSize = None,
    coronal_axis: CoronalAxis = None,
    overwrite: Overwrite = False,
) -> None:
    """Score a predicted stain against the true one, inside the mask."""
    from mrh_monai.evaluation import evaluate as run
    from mrh_monai.io import as_json, write_text
    from mrh_monai.output_files import writing
    from mrh_monai.subjects import FileGeometry

    with writing("scores", [] if output is None else [output], [prediction, target, mask], overwrite):
        text = as_json(run(prediction, target, mask, threshold, FileGeometry(voxel_size, coronal_axis)))
        if output is not None:
            write_text(output, text + "\n")
    print(text)
