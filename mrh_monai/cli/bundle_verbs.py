"""The verbs of `mrh` that write bundles, pass them on and receive them. Each verb imports what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mrh_monai.cli.option_types import BundleFolder, CoronalAxis, Device, Nan, Overwrite, checked_nan

verbs = typer.Typer()

Archive = Annotated[Path, typer.Argument(metavar="ZIP", help="Zip of a bundle.")]
Signers = Annotated[
    Path | None,
    typer.Option(
        help="File of trusted signers in OpenSSH's format, with a line `name@example.org ssh-ed25519 AAAA...` for each. One of them must "
        "have signed the zip."
    ),
]
Signature = Annotated[Path | None, typer.Option(help="Signature of the zip; ZIP.sig if not given.")]
Trust = Annotated[
    bool, typer.Option("--trust", help="Accept code in the configs that this project did not write. Such code can do anything.")
]


@verbs.command()
def new_bundle(
    folder: Annotated[Path, typer.Argument(help="New folder for the bundle.")],
    stain: Annotated[str, typer.Option(help="Short name of the stain, as in result files.")],
    channels: Annotated[Path | None, typer.Option(help="YAML file of its MR images; those of MRH-Net if not given.")] = None,
    pretrained: Annotated[Path | None, typer.Option(help="Bundle to start training from; random weights if not given.")] = None,
    stain_name: Annotated[str | None, typer.Option(help="The stain in words.")] = None,
    units: Annotated[str | None, typer.Option(help="Units of the stain's intensities.")] = None,
) -> None:
    """Write a bundle for your own stain. It can be trained, evaluated and used for prediction without any change."""
    from mrh_monai.bundle import new_bundle as write

    spec = write(folder, stain, channels, pretrained, stain_name, units)
    print(f"{folder}: {spec.title}, {len(spec.protocol)} channels" + (f", starts from {spec.parent}" if spec.parent else ""))


@verbs.command()
def calibrate(
    bundle: BundleFolder,
    datalist: Annotated[Path, typer.Option(help="JSON file of subjects with histology, which `mrh datalist` writes.")],
    datalist_key: Annotated[str, typer.Option(help="Section of the datalist: training, validation or test.")] = "test",
    device: Device = "auto",
    nan: Nan = None,
    coronal_axis: CoronalAxis = None,
) -> None:
    """Measure on your own subjects with histology how wide the intervals of a bundle must be, and store it in the bundle."""
    from mrh_monai.intervals import recalibrate

    print(recalibrate(bundle, datalist, datalist_key, device, checked_nan(nan), coronal_axis).held)


@verbs.command()
def pack(
    bundle: BundleFolder,
    output: Annotated[Path, typer.Option("--output", "-o", help="Zip to write.")],
    scores: Annotated[Path | None, typer.Option(help="File scores.json of an evaluation with these weights, for the model card.")] = None,
    sign: Annotated[Path | None, typer.Option(help="OpenSSH private key with which the zip is signed.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the zip of a bundle, with its weights, lineage and model card. The same bundle gives the same bytes."""
    from mrh_monai.sharing import pack as write, signature_path

    packed = write(bundle, output, scores, sign, overwrite)
    print(f"{output}: {packed.name}, {len(packed.files)} files, SHA-256 {packed.sha256}")
    if packed.left_out:
        print(f"left out: {', '.join(packed.left_out)}")
    for code in packed.foreign:
        print(f"the receiver must give --trust, because of {code}")
    if sign is not None:
        print(signature_path(output))


@verbs.command()
def verify(archive: Archive, signers: Signers = None, signature: Signature = None, trust: Trust = False) -> None:
    """Check a bundle zip without running any part of it: paths, sizes, SHA-256, weights, signature, and all code in its configs."""
    from mrh_monai.errors import printable
    from mrh_monai.sharing import verify as examine

    found = examine(archive, signers, signature)
    strange = set(found.foreign)
    listed = sorted({*found.code, *strange})
    sidecar = found.sidecar
    shape = f"{sidecar.residual_blocks} residual blocks, {len(sidecar.channels)} channels"
    print(f"{found.name}: {len(found.files)} files, as the list in the zip says")
    print(f"weights: plain tensors, {shape}, {sidecar.stain}, SHA-256 {sidecar.sha256}")
    if found.signer is None:
        print("signature: not checked; --signers FILE names the signers whom you trust")
    else:
        print(f"signed by {printable(found.signer)}")
    release = found.difference.version
    print(f"configs: {'those' if not strange else 'not those'} of release {release}{' (the nearest one)' if strange else ''}")
    if found.difference.changed:
        print(f"values that differ from the release's own: {len(found.difference.changed)}")
        for changed in found.difference.changed:
            print(f"         {changed}")
    print(f"code that its configs run: {len(listed)} places, {len(strange)} of them not written by this project")
    for code in listed:
        print(f"{'NOT OURS ' if code in strange else '         '}{code}")
    found.check_trust(trust)


@verbs.command()
def unpack(
    archive: Archive,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder into which the bundle's own folder is put.")],
    signers: Signers = None,
    signature: Signature = None,
    trust: Trust = False,
) -> None:
    """Unpack a bundle zip if it passes all checks. Otherwise no file is left behind."""
    from mrh_monai.sharing import unpack as write

    print(write(archive, output, trust, signers, signature))


@verbs.command()
def export(
    bundle: BundleFolder,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: TorchScript (.ts) or ONNX (.onnx).")],
    what: Annotated[
        Literal["patch", "slab"],
        typer.Option(
            help="Content of the file: patch (scaled patches to scaled patches) or slab (raw coronal slices and a mask to the stain)."
        ),
    ] = "patch",
    coronal_axis: CoronalAxis = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the network of a bundle as one TorchScript or ONNX file, and compare the file with PyTorch."""
    from mrh_monai.export import export_network

    difference = export_network(bundle, output, what, overwrite, coronal_axis)
    print(f"{output}: {what}, differs from PyTorch by at most {difference:.1e}")
