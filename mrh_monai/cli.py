"""The `mrh` command: one thin function a verb. What a verb needs is imported inside it, so that none pays for another's libraries."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from mrh_monai.errors import MRHError, OptionError, one_sentence_errors, sentence

app = typer.Typer(
    name="mrh", help="Virtual histology of the mouse brain from multi-contrast MRI.", no_args_is_help=True, add_completion=False,
    pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip

Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
LayoutFile = Annotated[Optional[Path], typer.Option(help="YAML of file patterns, for other file names than MRH-Net's.")]  # noqa: UP045 (typer)


@app.callback()
def _root(debug: Debug = False) -> None:
    one_sentence_errors(debug, "mrh --debug VERB")


@app.command()
def phantom(
    out: Annotated[Path, typer.Argument(help="Folder to write subject folders into.")],
    subjects: Annotated[int, typer.Option(help="How many.")] = 6,
    shape: Annotated[tuple[int, int, int], typer.Option(help="Voxels along x, y (coronal slices) and z.")] = (96, 24, 64),
    seed: Annotated[int, typer.Option(help="Of anatomy and noise.")] = 0,
    snr: Annotated[float, typer.Option(help="Signal-to-noise ratio of the unweighted images.")] = 30.0,
) -> None:
    """Write the digital mouse brain: subjects in MRH-Net's layout, their stains, and the noise-free truth."""
    from mrh_monai.phantom import write_phantom

    for folder in write_phantom(out, subjects, shape, seed, snr):
        print(folder, flush=True)


@app.command()
def datalist(
    root: Annotated[Path, typer.Argument(help="Folder of subject folders.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The datalist to write.")],
    target: Annotated[Optional[str], typer.Option(help="The stain's file, in each subject's folder or in ROOT.")] = None,  # noqa: UP045
    train: Annotated[int, typer.Option(min=0, help="Subjects to train on.")] = 0,
    val: Annotated[int, typer.Option(min=0, help="Subjects to validate on.")] = 0,
    test: Annotated[Optional[int], typer.Option(min=0, help="Subjects to test on; all that are left if not given.")] = None,  # noqa: UP045
    shuffle: Annotated[Optional[int], typer.Option(help="Seed of a random order; the order of names if not given.")] = None,  # noqa: UP045
    train_slices: Annotated[
        str | None, typer.Option(help="Coronal slices to train on, such as 0:13,17:30, to split within brains.")
    ] = None,
    val_slices: Annotated[Optional[str], typer.Option(help="Likewise, to validate on.")] = None,  # noqa: UP045
    test_slices: Annotated[Optional[str], typer.Option(help="Likewise, to test on.")] = None,  # noqa: UP045
    layout: LayoutFile = None,
) -> None:
    """Write a datalist: which subjects train, validate and test, first to last in the order of their names."""
    from mrh_monai.datalists import split, write_datalist
    from mrh_monai.options import slices
    from mrh_monai.subjects import MRH_NET_LAYOUT, Layout, find_subjects

    if any((train_slices, val_slices, test_slices)) and (train or val or test is not None):
        found_words = "both --train, --val or --test and --train-slices, --val-slices or --test-slices"
        raise OptionError("mrh datalist", "subjects shared out either by number or by slices", found_words, "drop one kind")
    found = find_subjects(root, Layout.from_yaml(layout) if layout else MRH_NET_LAYOUT, target)
    lists = split(found, (train, val, test), [slices(text) for text in (train_slices, val_slices, test_slices)], shuffle)
    write_datalist(output, lists)
    print(f"{output}: " + ", ".join(f"{len(entries)} {name}" for name, entries in lists.items()))


@app.command()
def predict(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder, with trained weights in models/.")],
    subject: Annotated[Path, typer.Argument(help="Subject folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="NIfTI file to write.")],
    precision: Annotated[str, typer.Option(help="float32, bf16 or auto.")] = "float32",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Patches a batch.")] = 4096,
    nan: Annotated[str, typer.Option(help="refuse, or zero: NaN and Inf inside the mask become 0.")] = "refuse",
    layout: LayoutFile = None,
) -> None:
    """Predict the stain of one subject."""
    from mrh_monai.loading import load_subject
    from mrh_monai.subjects import MRH_NET_LAYOUT, Layout, find_subject
    from mrh_monai.volumes import check_nifti_output, write_nifti

    check_nifti_output(output)
    files = find_subject(subject, Layout.from_yaml(layout) if layout else MRH_NET_LAYOUT)

    from tqdm import tqdm

    from mrh_monai.checkpoint import load_network
    from mrh_monai.protocol import Protocol
    from mrh_monai.voxelwise import choose_device, predict_volume

    where = choose_device(device)
    protocol = Protocol.from_metadata(bundle / "configs" / "metadata.json")
    network, sidecar = load_network(bundle / "models" / "model.pt", protocol.names)
    loaded = load_subject(files, protocol, nan=nan, margin=sidecar.patch_radius, axes=sidecar.patch_axes)
    gain, offset = sidecar.scaling.coefficients(loaded.image, loaded.mask)
    predicted = predict_volume(
        network.to(where),
        loaded.padded,
        loaded.mask,
        gain,
        offset,
        margin=loaded.margin,
        axes=sidecar.patch_axes,
        radius=sidecar.patch_radius,
        batch_size=batch_size,
        device=where,
        precision=precision,
        progress=lambda steps: tqdm(steps, desc=loaded.name, unit="batch", disable=None, leave=False),
    )
    write_nifti(output, (predicted * sidecar.scaling.target_max).numpy(), loaded.affine)
    print(output)


@app.command()
def evaluate(
    prediction: Annotated[Path, typer.Argument(help="Predicted volume.")],
    target: Annotated[Path, typer.Argument(help="True stain.")],
    mask: Annotated[Path, typer.Option(help="Brain mask of 0 and 1.")],
    output: Annotated[Optional[Path], typer.Option("--output", "-o", help="JSON file to write.")] = None,  # noqa: UP045
) -> None:
    """Score a predicted stain against the true one, inside the mask."""
    from mrh_monai.files import write_text
    from mrh_monai.loading import load_stains
    from mrh_monai.metrics import as_json, score

    volumes = load_stains([prediction, target], mask)
    text = as_json(score(*volumes))
    if output is not None:
        write_text(output, text + "\n")
    print(text)


def main() -> None:
    """Run the command; a wrong input ends in one sentence on standard error and status 1."""
    try:
        app()
    except MRHError as error:
        if "--debug" in sys.argv:
            raise
        print(sentence(error), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
