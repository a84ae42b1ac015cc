"""The verbs of `mrh` that make and list subjects. What a verb needs is imported inside it, so that no verb pays for another's libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mrh_monai.cli.option_types import CoronalAxis, LayoutFile, Overwrite, VoxelSize
from mrh_monai.errors import OptionError

verbs = typer.Typer()


@verbs.command()
def phantom(
    out: Annotated[Path, typer.Argument(help="Folder into which subject folders are written.")],
    subjects: Annotated[int, typer.Option(help="Number of subjects.")] = 6,
    shape: Annotated[tuple[int, int, int], typer.Option(help="Number of voxels along x, y (coronal slices) and z.")] = (96, 24, 64),
    seed: Annotated[int, typer.Option(help="Random seed of anatomy and noise.")] = 0,
    snr: Annotated[float, typer.Option(help="Signal-to-noise ratio of the unweighted images.")] = 30.0,
    overwrite: Overwrite = False,
) -> None:
    """Write the digital mouse brain: subjects in the layout of MRH-Net, their stains, and the noise-free truth."""
    from mrh_monai.phantom import write_phantom

    for folder in write_phantom(out, subjects, shape, seed, snr, overwrite):
        print(folder, flush=True)


@verbs.command()
def datalist(
    root: Annotated[Path, typer.Argument(help="Folder of subject folders.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Datalist to write (JSON).")],
    target: Annotated[
        str | None,
        typer.Option(help="File of the stain, in each subject's folder or in ROOT; {subject} in it stands for the folder's name."),
    ] = None,
    target_mask: Annotated[
        str | None,
        typer.Option(
            help="File that is 1 where the stain is intact and 0 where tissue is torn, in each folder or in ROOT; "
            "auto to write one beside the datalist for each stain with NaN, of its finite voxels."
        ),
    ] = None,
    train: Annotated[int, typer.Option(min=0, help="Number of subjects to train on.")] = 0,
    val: Annotated[int, typer.Option(min=0, help="Number of subjects to validate on.")] = 0,
    test: Annotated[int | None, typer.Option(min=0, help="Number of subjects to test on; all remaining ones if not given.")] = None,
    shuffle: Annotated[int | None, typer.Option(help="Random seed of the order of subjects; the order of names if not given.")] = None,
    train_slices: Annotated[
        str | None, typer.Option(help="Coronal slices to train on, such as 0:13,17:30, to divide each brain by slices.")
    ] = None,
    val_slices: Annotated[str | None, typer.Option(help="Coronal slices to validate on.")] = None,
    test_slices: Annotated[str | None, typer.Option(help="Coronal slices to test on.")] = None,
    voxel_size: VoxelSize = None,
    coronal_axis: CoronalAxis = None,
    layout: LayoutFile = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a datalist: which subjects train, validate and test. The subjects are taken in the order of their names."""
    from mrh_monai.bundle import slices
    from mrh_monai.output_files import check_outputs
    from mrh_monai.subjects import Datalist, FileGeometry, Layout, files_of, find_subjects

    if any((train_slices, val_slices, test_slices)) and (train or val or test is not None):
        found_words = "both --train, --val or --test and --train-slices, --val-slices or --test-slices"
        expected = "subjects divided either by number or by slices"
        raise OptionError("mrh datalist", expected, found_words, "give only one of the two kinds")
    is_auto = target_mask == "auto"
    found = find_subjects(root, Layout.from_yaml(layout), target, None if is_auto else target_mask)
    found = [subject.stated(FileGeometry(voxel_size, coronal_axis)) for subject in found]
    inputs = [*(file for subject in found for file in files_of(subject)), *([layout] if layout else [])]
    check_outputs("datalist", [output], inputs, overwrite)
    if is_auto:
        from mrh_monai.data import with_target_masks

        found = with_target_masks(found, output.parent, overwrite)
    lists = Datalist.split(found, (train, val, test), [slices(text) for text in (train_slices, val_slices, test_slices)], shuffle)
    lists.write(output, overwrite)
    print(f"{output}: " + ", ".join(f"{len(entries)} {name}" for name, entries in lists.sections.items()))
