"""The verbs of `mrh` that judge and explain predictions; what one needs is imported inside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

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
    from mrh_monai.maps import write_maps
    from mrh_monai.protocol import MRH_NET, Protocol
    from mrh_monai.subjects import MRH_NET_LAYOUT, Layout

    protocol = Protocol.from_yaml(channels) if channels else MRH_NET
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

    from mrh_monai.comparison import compare as run
    from mrh_monai.comparison_tables import comparison_table, regions_table, write_comparison
    from mrh_monai.devices import choose_device
    from mrh_monai.errors import OptionError

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
