"""The verbs of `mrh` that judge and explain predictions; what one needs is imported inside it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

verbs = typer.Typer()

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Gradients = Annotated[
    Optional[list[Path]],  # noqa: UP045 (typer)
    typer.Option(help="ParaVision `method` or .bval file of a diffusion scan; once for each, in their order."),
]
LayoutFile = Annotated[Optional[Path], typer.Option(help="YAML of file patterns, for other file names than MRH-Net's.")]  # noqa: UP045
Labels = Annotated[Optional[Path], typer.Option(help="Volume of region labels on the subjects' grid.")]  # noqa: UP045
LabelNames = Annotated[Optional[Path], typer.Option(help="Text file of lines `label,name`.")]  # noqa: UP045
Out = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")]


@verbs.command()
def maps(
    scan: Annotated[Path, typer.Argument(help="Subject folder, or one 4D file of diffusion volumes.")],
    output: Out,
    gradients: Gradients = None,
    mask: Annotated[Optional[Path], typer.Option(help="Brain mask of 0 and 1, in place of the subject's.")] = None,  # noqa: UP045
    channels: Annotated[Optional[Path], typer.Option(help="YAML file of the MR images; MRH-Net's 67 if not given.")] = None,  # noqa: UP045
    layout: LayoutFile = None,
) -> None:
    """Write MR parameter maps: T2-weighted, MTR, FA, MD, AD, RD of each shell, mean kurtosis."""
    from mrh_monai.data import MRH_NET_LAYOUT, Layout
    from mrh_monai.maps import write_maps
    from mrh_monai.protocol import MRH_NET, MRProtocol

    protocol = MRProtocol.from_yaml(channels) if channels else MRH_NET
    patterns = Layout.from_yaml(layout) if layout else MRH_NET_LAYOUT
    for path in write_maps(scan, output, protocol, patterns, gradients or (), mask):
        print(path)


@verbs.command()
def compare(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder, with trained weights in models/.")],
    datalist: Annotated[Path, typer.Option(help="Datalist with training and test subjects, all with targets.")],
    output: Out,
    datalist_key: Annotated[str, typer.Option(help="Which of its sections to score.")] = "test",
    labels: Labels = None,
    label_names: LabelNames = None,
    gradients: Gradients = None,
    maps: Annotated[bool, typer.Option(help="Whether to compare with MR parameter maps.")] = True,
    structures: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Whether what is to be detected lies above or below the threshold; if not given: below for AF, else above."),
    ] = None,
    threshold: Annotated[Optional[float], typer.Option(help="In the stain's units; Otsu's of the training targets if not given.")] = None,  # noqa: UP045
    bootstrap: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Intervals over blocks of tissue or over animals; animals from five on if not given."),
    ] = None,
    block_mm: Annotated[float, typer.Option(min=1e-3, help="Edge of the blocks in mm.")] = 1.0,
    voxels: Annotated[int, typer.Option(min=100, help="Voxels of the training subjects that regressions are fitted on.")] = 40_000,
    seed: Annotated[int, typer.Option(min=0, help="Of these voxels and of the intervals.")] = 0,
    device: Device = "auto",
) -> None:
    """Score a network beside MR markers and regressions, on subjects that none of them was fitted on."""
    from tqdm import tqdm

    from mrh_monai.devices import choose_device
    from mrh_monai.errors import OptionError
    from mrh_monai.evaluation import compare as run, comparison_table, regions_table, write_comparison
    from mrh_monai.io import writable_folder

    output = writable_folder(output)
    if bootstrap not in (None, "blocks", "animals"):
        raise OptionError("--bootstrap", "blocks or animals", repr(bootstrap), "choose one of the two")
    found = run(
        bundle,
        datalist,
        key=datalist_key,
        labels=labels,
        label_names=label_names,
        gradients=gradients or (),
        with_maps=maps,
        side=structures,
        threshold=threshold,
        resampled=bootstrap,
        block_mm=block_mm,
        voxels=voxels,
        seed=seed,
        device=choose_device(device),
        progress=lambda subjects: tqdm(list(subjects), unit="subject", disable=None, leave=False),
    )
    files = write_comparison(found, output)
    print(comparison_table(found))
    if found.regions:
        print(f"\n{regions_table(found)}")
    print("\n" + "\n".join(map(str, files)))


@verbs.command()
def contribution(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder, with trained weights in models/.")],
    subject: Annotated[Path, typer.Argument(help="Subject folder.")],
    output: Out = Path("contribution"),
    noise: Annotated[float, typer.Option(help="Of an image's mean in the mask.")] = 0.1,
    draws: Annotated[int, typer.Option(min=1, help="How often the noise is drawn.")] = 3,
    voxels: Annotated[int, typer.Option(min=1, help="How many voxels to look at, drawn at random.")] = 10_000,
    images: Annotated[Optional[str], typer.Option(help="Names of the images to perturb, such as t2,mt_on; all if not given.")] = None,  # noqa: UP045
    labels: Labels = None,
    label_names: LabelNames = None,
    fewer: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--retrain-top", help="Train anew on so many of the most important images, such as 4,17,38; needs --datalist."),
    ] = None,
    datalist: Annotated[Optional[Path], typer.Option(help="Training and test subjects for --retrain-top.")] = None,  # noqa: UP045
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps of each of these networks.")] = 600,
    patches: Annotated[int, typer.Option(min=1, help="Patches that they are trained on.")] = 40_000,
    seed: Annotated[int, typer.Option(min=0, help="Of noise, voxels and training.")] = 0,
    layout: LayoutFile = None,
    device: Device = "auto",
) -> None:
    """Say which MR images a prediction rests on: noise on one at a time, and how far the stain moves."""
    from tqdm import tqdm

    from mrh_monai.bundle import integers
    from mrh_monai.data import MRH_NET_LAYOUT, Layout, find_subject, load_subject
    from mrh_monai.devices import choose_device
    from mrh_monai.errors import OptionError
    from mrh_monai.evaluation import read_regions
    from mrh_monai.io import writable_folder
    from mrh_monai.network import load_network
    from mrh_monai.protocol import MRProtocol
    from mrh_monai.scaling import nan_rule
    from mrh_monai.studies import (
        check_counts,
        check_noise,
        contribution as perturb,
        contribution_table,
        groups_of_images,
        load_study,
        retrain_top,
        single_images,
        write_contribution,
    )

    where = choose_device(device)
    check_noise(noise)
    protocol = MRProtocol.from_metadata(bundle / "configs" / "metadata.json")
    perturbed = single_images(protocol, None if images is None else images.split(","))
    counts = integers("--retrain-top", fewer)
    check_counts(counts, len(perturbed))
    if counts and datalist is None:
        raise OptionError("--retrain-top", "subjects to train and to test on", "none", "give --datalist")
    files = find_subject(subject, Layout.from_yaml(layout) if layout else MRH_NET_LAYOUT)
    regions = None if labels is None else read_regions(labels, files.image, label_names)
    network, sidecar = load_network(bundle / "models" / "model.pt", protocol.names)
    data = load_study(datalist, protocol) if counts and datalist is not None else None
    nan = nan_rule(sidecar.scaling.mode, None)
    loaded = load_subject(files, protocol, nan=nan, margin=sidecar.patch_radius, axes=sidecar.patch_axes)

    output = writable_folder(output)

    def bar(items: Iterable[Any]) -> Iterable[Any]:
        return tqdm(items, unit="image", disable=None, leave=False)

    settings: dict[str, Any] = {"noise": noise, "draws": draws, "voxels": voxels, "seed": seed, "device": where, "progress": bar}
    single = perturb(network, sidecar, loaded, perturbed, regions=regions, **settings)
    groups = perturb(network, sidecar, loaded, groups_of_images(protocol), regions=regions, **settings)
    rows = []
    if data is not None:
        ranking = [perturbed[single.names[index]][0] for index in single.ranking]
        blocks = sidecar.residual_blocks
        rows = retrain_top(
            data, ranking, counts, patches=patches, steps=steps, residual_blocks=blocks, seed=seed, device=where, progress=bar
        )
    about = {
        "bundle": bundle.resolve().name, "weights": sidecar.sha256, "stain": sidecar.stain, "units": sidecar.units, "subject": loaded.name,
        "noise": noise, "draws": draws, "voxels": single.voxels,
    }  # fmt: skip
    written = write_contribution(about, single, groups, rows, output)
    print(contribution_table(single, groups, sidecar.units, rows))
    print("\n" + "\n".join(map(str, written)))


@verbs.command()
def study(
    name: Annotated[str, typer.Argument(help="training-size, depth, patch-size, misregistration, uniform-patch, features or resolution.")],
    output: Out = Path("studies"),
    datalist: Annotated[Optional[Path], typer.Option(help="Training and test subjects; digital mouse brains if not given.")] = None,  # noqa: UP045
    channels: Annotated[Optional[Path], typer.Option(help="YAML file of their MR images; MRH-Net's 67 if not given.")] = None,  # noqa: UP045
    stain: Annotated[str, typer.Option(help="Of the digital brains: af, nf or mbp.")] = "af",
    full: Annotated[bool, typer.Option("--full", help="Thorough, as far as the paper goes: hours instead of minutes.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of everything drawn.")] = 0,
    device: Device = "auto",
) -> None:
    """Run one of the paper's controlled experiments, and say what it found."""
    from tqdm import tqdm

    from mrh_monai.devices import choose_device
    from mrh_monai.protocol import MRH_NET, MRProtocol
    from mrh_monai.studies import run_study

    protocol = MRProtocol.from_yaml(channels) if channels else MRH_NET
    found, files = run_study(
        name, output, datalist, protocol, stain=stain, full=full, seed=seed, device=choose_device(device),
        progress=lambda settings: tqdm(list(settings), unit="network", disable=None, leave=False),
    )  # fmt: skip
    print(found.paragraph)
    print("\n" + "\n".join(map(str, files)))


@verbs.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of results: of training, inference, compare, contribution or study.")],
    output: Annotated[Optional[Path], typer.Option("--output", "-o", help="HTML file; report.html in the folder if not given.")] = None,  # noqa: UP045
    subject: Annotated[Optional[str], typer.Option(help="Predicted subject to show first and in the viewer.")] = None,  # noqa: UP045
) -> None:
    """Write one self-contained HTML page of what a folder of results holds."""
    from mrh_monai.report import write_report

    print(write_report(folder, output, subject))
