"""The verbs of `mrh` that hand bundles on and take them in; what one needs is imported inside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

verbs = typer.Typer()

Signers = Annotated[
    Optional[Path],  # noqa: UP045 (typer)
    typer.Option(help="Trusted signers, in OpenSSH's format (`name@example.org ssh-ed25519 AAAA...`): the zip must be signed by one."),
]
Signature = Annotated[Optional[Path], typer.Option(help="The signature; ZIP.sig if not given.")]  # noqa: UP045
Trust = Annotated[bool, typer.Option("--trust", help="Accept code in its configs that this project did not write. It can do anything.")]


@verbs.command()
def pack(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder, with trained weights in models/.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Zip to write.")],
    scores: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="scores.json of an evaluation by these weights, for the model card."),
    ] = None,
    sign: Annotated[Optional[Path], typer.Option(help="OpenSSH private key to sign the zip with.")] = None,  # noqa: UP045
) -> None:
    """Write a bundle's zip: the same bytes for the same bundle, weights inside, its lineage and model card filled in."""
    from mrh_monai.sharing import pack as write, signature_path

    packed = write(bundle, output, scores, sign)
    print(f"{output}: {packed.name}, {len(packed.files)} files, SHA-256 {packed.sha256}")
    if packed.left_out:
        print(f"left out: {', '.join(packed.left_out)}")
    for code in packed.foreign:
        print(f"a receiver will need --trust for {code}")
    if sign is not None:
        print(signature_path(output))


@verbs.command()
def verify(
    archive: Annotated[Path, typer.Argument(metavar="ZIP", help="Bundle zip.")],
    signers: Signers = None,
    signature: Signature = None,
    trust: Trust = False,
) -> None:
    """Examine a bundle zip without running any of it: paths, sizes, SHA-256, weights, signature, and all code in its configs."""
    from mrh_monai.errors import one_line
    from mrh_monai.sharing import verify as examine

    found = examine(archive, signers, signature)
    strange = set(found.foreign)
    listed = sorted({*found.code, *strange})
    print(f"{found.name}: {len(found.files)} files as its manifest says")
    blocks, channels = found.sidecar.residual_blocks, len(found.sidecar.channels)
    print(f"weights: plain tensors, {blocks} residual blocks, {channels} channels, {found.sidecar.stain}, SHA-256 {found.sidecar.sha256}")
    print(
        f"signed by {one_line(found.signer)}"
        if found.signer is not None
        else "signature: not asked for; --signers FILE names whom you trust"
    )
    print(f"code that its configs run: {len(listed)} places, {len(strange)} of them not this project's")
    for code in listed:
        print(f"{'NOT OURS ' if code in strange else '         '}{code}")
    found.check_trust(trust)


@verbs.command()
def unpack(
    archive: Annotated[Path, typer.Argument(metavar="ZIP", help="Bundle zip.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to put the bundle's own folder into.")],
    signers: Signers = None,
    signature: Signature = None,
    trust: Trust = False,
) -> None:
    """Unpack a bundle zip that is sound; of any other nothing is left behind."""
    from mrh_monai.sharing import unpack as write

    print(write(archive, output, trust, signers, signature))


@verbs.command()
def export(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder, with trained weights in models/.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: TorchScript if it ends in .ts, ONNX if in .onnx.")],
    what: Annotated[
        str, typer.Option(help="patch: scaled patches to scaled patches; slab: raw coronal slices and a mask to the stain.")
    ] = "patch",
) -> None:
    """Write a network as one TorchScript or ONNX file, checked against PyTorch."""
    from mrh_monai.export import export as run

    difference = run(bundle, output, what)
    print(f"{output}: {what}, differs from PyTorch by {difference:.1e} at most")
