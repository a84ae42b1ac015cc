"""The verbs of `mrh` that judge and explain predictions. What a verb needs is imported inside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mrh_monai.cli.option_types import BundleFolder, CoronalAxis, Device, LayoutFile, Overwrite, VoxelSize

verbs = typer.Typer()

Gradients = Annotated[
    list[Path] | None,
    typer.Option(help="ParaVision `method` or .bval file of a diffusion scan; give one for each scan, in the order of the scans."),
]
Labels = Annotated[Path | None, typer.Option(help="Volume of region labels on the subjects' grid.")]
LabelNames = Annotated[Path | None, typer.Option(help="Text file with lines `label,name`, the names of the regions.")]
ProtocolFile = Annotated[Path | None, typer.Option(help="YAML file of the MR images; the 67 images of MRH-Net if not given.")]
Out = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")]


@verbs.command()
def maps(
    scan: Annotated[
        Path,
        typer.Argument(help="Subject folder, 4D image with NAME_mask.* beside it, manifest, or 4D file of diffusion volumes."),
    ],
    output: Out,
    gradients: Gradients = None,
    mask: Annotated[Path | None, typer.Option(help="Brain mask of 0 and 1, to use instead of the subject's.")] = None,
    channels: ProtocolFile = None,
    voxel_size: VoxelSize = None,
    coronal_axis: CoronalAxis = None,
    layout: LayoutFile = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the MR parameter maps that the images allow, such as MTR, or FA and MD of each diffusion shell."""
    from mrh_monai.maps import prepare_maps
    from mrh_monai.protocol import MRH_NET, MRProtocol
    from mrh_monai.subjects import FileGeometry, Layout

    protocol = MRProtocol.from_yaml(channels) if channels else MRH_NET
    patterns, geometry = Layout.from_yaml(layout), FileGeometry(voxel_size, coronal_axis)
    prepared = prepare_maps(scan, protocol, layout=patterns, gradients=gradients or (), mask=mask, geometry=geometry)
    prepared.check_output(output, overwrite)
    for path in prepared.compute().save(output, overwrite):
        print(path)


@verbs.command()
def compare(
    bundle: BundleFolder,
    datalist: Annotated[Path, typer.Option(help="Datalist with training and test subjects, all with targets.")],
    output: Out,
    datalist_key: Annotated[str, typer.Option(help="Section of the datalist to score.")] = "test",
    labels: Labels = None,
    label_names: LabelNames = None,
    gradients: Gradients = None,
    maps: Annotated[bool, typer.Option(help="Whether to compare with MR parameter maps.")] = True,
    structures: Annotated[
        str | None,
        typer.Option(
            help="Side of the threshold on which the structures to detect lie: above or below. If not given: below for AF, above for "
            "other stains."
        ),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Threshold in the stain's units; Otsu's threshold of the training targets if not given.")
    ] = None,
    bootstrap: Annotated[
        str | None,
        typer.Option(
            help="What is resampled for the intervals: blocks (of tissue) or animals. If not given: animals if there are five or more, "
            "otherwise blocks."
        ),
    ] = None,
    block_mm: Annotated[float, typer.Option(min=1e-3, help="Edge of the blocks of tissue in mm.")] = 1.0,
    voxels: Annotated[int, typer.Option(min=100, help="Number of training voxels on which regressions are fitted.")] = 40_000,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the voxels and of the resampling.")] = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Compare a network with MR markers and regressions, on subjects that were not used to train or fit any of them."""
    from mrh_monai.comparison import COMPARISON_FILES, ComparisonOptions, compare as run, comparison_table, regions_table, write_comparison
    from mrh_monai.evaluation import LabelFiles, check_side, check_unit
    from mrh_monai.inference import PredictionOptions, load_bundle
    from mrh_monai.io import writable_folder
    from mrh_monai.network import bundle_files
    from mrh_monai.subjects import Datalist

    options = ComparisonOptions(
        section=datalist_key,
        labels=LabelFiles(labels, label_names) if labels else None,
        gradients=gradients or (),
        with_maps=maps,
        side=None if structures is None else check_side(structures),
        threshold=threshold,
        resampled=None if bootstrap is None else check_unit(bootstrap),
        block_mm=block_mm,
        voxels=voxels,
        seed=seed,
    )
    listed = Datalist.read(datalist)
    tables = [path for path in (datalist, labels, label_names, *(gradients or ())) if path is not None]
    COMPARISON_FILES.check(output, [*bundle_files(bundle), *listed.files, *tables], overwrite)
    output = writable_folder(output)
    found = run(load_bundle(bundle, PredictionOptions(device)), datalist, options, progress=True)
    files = write_comparison(found, output, overwrite)
    print(comparison_table(found))
    if found.regions:
        print(f"\n{regions_table(found)}")
    print("\n" + "\n".join(map(str, files)))


@verbs.command()
def contribution(
    bundle: BundleFolder,
    subject: Annotated[Path, typer.Argument(help="Subject folder, 4D image with NAME_mask.* beside it, or manifest (*.mrh.json).")],
    output: Out = Path("contribution"),
    noise: Annotated[float, typer.Option(help="Noise level as a share of the image's mean inside the mask.")] = 0.1,
    draws: Annotated[int, typer.Option(min=1, help="Number of draws of the noise.")] = 3,
    voxels: Annotated[int, typer.Option(min=1, help="Number of voxels, drawn at random, at which the change is measured.")] = 10_000,
    images: Annotated[
        str | None,
        typer.Option(help="Names of the images to which noise is added, separated by commas, such as t2,mt_on; all images if not given."),
    ] = None,
    labels: Labels = None,
    label_names: LabelNames = None,
    counts: Annotated[
        str | None,
        typer.Option(
            "--retrain-top",
            help="Numbers of images, such as 4,17,38. For each number, a network is trained on that many of the most important images; "
            "needs --datalist.",
        ),
    ] = None,
    datalist: Annotated[Path | None, typer.Option(help="Datalist with training and test subjects, for --retrain-top.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Number of optimiser steps of each network of --retrain-top.")] = 600,
    patches: Annotated[int, typer.Option(min=1, help="Number of patches on which each network of --retrain-top is trained.")] = 40_000,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the noise, of the voxels and of the training.")] = 0,
    layout: LayoutFile = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Measure which MR images a prediction depends on: add noise to one image at a time, and measure how far the stain changes."""
    from mrh_monai.bundle import integers
    from mrh_monai.contributions import (
        CONTRIBUTION_FILES,
        NoiseOptions,
        RetrainingOptions,
        contribution_table,
        plan_contribution,
        write_contribution,
    )
    from mrh_monai.errors import OptionError
    from mrh_monai.evaluation import LabelFiles
    from mrh_monai.inference import PredictionOptions, load_bundle
    from mrh_monai.io import writable_folder
    from mrh_monai.network import bundle_files
    from mrh_monai.subjects import Datalist, Layout, files_of, find_input

    retraining = None
    if counts is not None:
        numbers = integers("--retrain-top", counts)
        if datalist is None:
            raise OptionError("--retrain-top", "subjects to train and to test on", "no datalist", "give --datalist")
        retraining = RetrainingOptions(numbers, datalist, steps, patches)
    found = find_input(subject, Layout.from_yaml(layout))
    inputs = [*bundle_files(bundle), *files_of(found), *(path for path in (labels, label_names, datalist, layout) if path is not None)]
    CONTRIBUTION_FILES.check(output, inputs if datalist is None else [*inputs, *Datalist.read(datalist).files], overwrite)
    plan = plan_contribution(
        load_bundle(bundle, PredictionOptions(device)),
        found,
        None if images is None else images.split(","),
        NoiseOptions(noise, draws, voxels, seed),
        LabelFiles(labels, label_names) if labels else None,
        retraining,
    )
    output = writable_folder(output)
    result = plan.compute(progress=True)
    files = write_contribution(result, output, overwrite)
    print(contribution_table(result))
    print("\n" + "\n".join(map(str, files)))


@verbs.command()
def study(
    name: Annotated[
        str,
        typer.Argument(help="Experiment: training-size, depth, patch-size, misregistration, uniform-patch, features or resolution."),
    ],
    output: Out = Path("studies"),
    datalist: Annotated[
        Path | None, typer.Option(help="Datalist with training and test subjects; digital mouse brains if not given.")
    ] = None,
    channels: ProtocolFile = None,
    stain: Annotated[str, typer.Option(help="Stain of the digital brains: af, nf or mbp.")] = "af",
    full: Annotated[bool, typer.Option("--full", help="Whether to use the sizes and repetitions of the paper, which takes hours.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the patches, of the initial weights and of the misregistration.")] = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Run one of the paper's controlled experiments, and print its result in words."""
    from mrh_monai.protocol import MRH_NET, MRProtocol
    from mrh_monai.studies import StudyOptions, run_study

    protocol = MRProtocol.from_yaml(channels) if channels else MRH_NET
    found, files = run_study(name, output, StudyOptions(datalist, protocol, stain, full, seed, device), True, overwrite)
    print(found.paragraph)
    print("\n" + "\n".join(map(str, files)))


@verbs.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of results of training, inference, predict, compare, contribution or study.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="HTML file to write; report.html in the folder if not given.")
    ] = None,
    subject: Annotated[str | None, typer.Option(help="Name of the predicted subject to show first and in the viewer.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write one self-contained HTML page about all results in a folder."""
    from mrh_monai.report import write_report

    print(write_report(folder, output, subject, overwrite))
