"""The `mrh` command: one thin function a verb. What a verb needs is imported inside it, so that none pays for another's libraries."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from mrh_monai.cli import analysis_verbs, bundle_verbs
from mrh_monai.cli.analysis_verbs import LayoutFile
from mrh_monai.errors import MRHError, OptionError, one_sentence_errors, sentence

app = typer.Typer(
    name="mrh", help="Virtual histology of the mouse brain from multi-contrast MRI.", no_args_is_help=True, add_completion=False,
    pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip

Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


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
    target_mask: Annotated[Optional[str], typer.Option(help="Likewise, 1 where the stain is sound, 0 where tissue is torn.")] = None,  # noqa: UP045
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
    from mrh_monai.bundle import slices
    from mrh_monai.data import MRH_NET_LAYOUT, Layout, find_subjects, split, write_datalist

    if any((train_slices, val_slices, test_slices)) and (train or val or test is not None):
        found_words = "both --train, --val or --test and --train-slices, --val-slices or --test-slices"
        raise OptionError("mrh datalist", "subjects shared out either by number or by slices", found_words, "drop one kind")
    found = find_subjects(root, Layout.from_yaml(layout) if layout else MRH_NET_LAYOUT, target, target_mask)
    lists = split(found, (train, val, test), [slices(text) for text in (train_slices, val_slices, test_slices)], shuffle)
    write_datalist(output, lists)
    print(f"{output}: " + ", ".join(f"{len(entries)} {name}" for name, entries in lists.items()))


@app.command()
def predict(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder, with trained weights in models/.")],
    subject: Annotated[
        Path, typer.Argument(help="Subject folder, 4D image with NAME_mask.* beside it, manifest (*.mrh.json), or MAT file of patches.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="NIfTI file to write; a MAT file for a file of patches.")],
    precision: Annotated[str, typer.Option(help="float32, tf32, bf16 or auto.")] = "float32",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Patches a batch.")] = 4096,
    nan: Annotated[
        Optional[str],  # noqa: UP045 (typer)
        typer.Option(help="refuse, or zero: NaN and Inf inside the mask become 0. If not given: zero with published scaling, else refuse."),
    ] = None,
    support: Annotated[str, typer.Option(help="mask, or fa: predict where FA > 0 even if there is a mask.")] = "mask",
    layout: LayoutFile = None,
) -> None:
    """Predict the stain of one subject."""
    from mrh_monai.data import MRH_NET_LAYOUT, Layout, find_input, is_patch_file
    from mrh_monai.io import check_nifti_output, check_predictions_output, write_nifti, write_predictions

    files = find_input(subject, Layout.from_yaml(layout) if layout else MRH_NET_LAYOUT)
    (check_predictions_output if is_patch_file(files) else check_nifti_output)(output)

    from tqdm import tqdm

    from mrh_monai.data import open_subject
    from mrh_monai.devices import choose_device
    from mrh_monai.inference import predict_volume
    from mrh_monai.network import load_network
    from mrh_monai.protocol import MRProtocol
    from mrh_monai.scaling import nan_rule

    where = choose_device(device)
    protocol = MRProtocol.from_metadata(bundle / "configs" / "metadata.json")
    network, sidecar = load_network(bundle / "models" / "model.pt", protocol.names)
    scaling, axes, radius = sidecar.scaling, sidecar.patch_axes, sidecar.patch_radius
    opened = open_subject(files, protocol, nan=nan_rule(scaling.mode, nan), support=support, margin=radius, axes=axes)
    mask = scaling.support(opened.mask, axes, radius)
    predicted = predict_volume(
        network.to(where),
        opened.slabs,
        mask,
        *scaling.coefficients(opened, mask),
        axes=axes,
        radius=radius,
        batch_size=batch_size,
        device=where,
        precision=precision,
        progress=lambda steps: tqdm(steps, desc=opened.name, unit="batch", disable=None, leave=False),
    )
    stain = (predicted * scaling.target_max).numpy()
    if is_patch_file(files):
        write_predictions(output, stain, mask)
    else:
        write_nifti(output, stain, opened.affine)
    print(output)


@app.command()
def evaluate(
    prediction: Annotated[Path, typer.Argument(help="Predicted volume.")],
    target: Annotated[Path, typer.Argument(help="True stain.")],
    mask: Annotated[Path, typer.Option(help="Brain mask of 0 and 1.")],
    output: Annotated[Optional[Path], typer.Option("--output", "-o", help="JSON file to write.")] = None,  # noqa: UP045
    threshold: Annotated[Optional[float], typer.Option(help="For AUC, in the stain's units; Otsu's of the target if not given.")] = None,  # noqa: UP045
) -> None:
    """Score a predicted stain against the true one, inside the mask."""
    from mrh_monai.data import check_stain, load_stains
    from mrh_monai.evaluation import as_json, auc, score, structures
    from mrh_monai.io import write_text

    volumes = load_stains([prediction, target], mask)
    predicted, true = (volume[volumes[2]] for volume in volumes[:2])
    check_stain(true, target, "inside the mask")
    found, chosen = structures(true, threshold=threshold, where="--threshold")
    text = as_json({**score(*volumes), "auc": auc(predicted, found), "threshold": chosen})
    if output is not None:
        write_text(output, text + "\n")
    print(text)


@app.command()
def new_bundle(
    folder: Annotated[Path, typer.Argument(help="New folder for the bundle.")],
    stain: Annotated[str, typer.Option(help="Short name of the stain, as in result files.")],
    channels: Annotated[Optional[Path], typer.Option(help="YAML file of its MR images; MRH-Net's 67 if not given.")] = None,  # noqa: UP045
    pretrained: Annotated[Optional[Path], typer.Option(help="Bundle folder to start from; from scratch if not given.")] = None,  # noqa: UP045
    stain_name: Annotated[Optional[str], typer.Option(help="The stain in words.")] = None,  # noqa: UP045
    units: Annotated[Optional[str], typer.Option(help="Units of the stain's intensities.")] = None,  # noqa: UP045
) -> None:
    """Write a bundle for a stain of your own, which trains, evaluates and infers at once."""
    from mrh_monai.bundle import new_bundle as write

    spec = write(folder, stain, channels, pretrained, stain_name, units)
    print(f"{folder}: {spec.title}, {len(spec.protocol)} channels" + (f", starts from {spec.parent}" if spec.parent else ""))


@app.command()
def import_matlab(
    network: Annotated[Path, typer.Argument(help="MAT file with a trained network `net`.")],
    bundle: Annotated[Path, typer.Option(help="Bundle folder to put it into.")],
    target_max: Annotated[
        Optional[float],  # noqa: UP045 (typer)
        typer.Option(help="Largest target of its training, such as 255; predictions stay scaled (largest = 1) if not given."),
    ] = None,
) -> None:
    """Put an MRH-Net trained in MATLAB into a bundle, its graph checked layer by layer."""
    from mrh_monai.matlab import import_network

    sidecar = import_network(network, bundle, target_max)
    rmse = sidecar.source.get("final_rmse_mean")
    print(
        f"{bundle / 'models' / 'model.pt'}: {sidecar.residual_blocks} residual blocks, {len(sidecar.channels)} channels, "
        f"{sidecar.features} features, published scaling" + ("" if rmse is None else f", training ended at RMSE {rmse:.3g} a patch")
    )


@app.command()
def export_matlab(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder, with trained weights in models/.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="MAT file to write; a function that rebuilds the network goes beside it.")],
) -> None:
    """Write a bundle's network for MATLAB: plain arrays, and a short .m that rebuilds it."""
    from mrh_monai.matlab import export_network

    function = export_network(bundle, output)
    print(f"{output}\n{function}: in MATLAB, net = {function.stem}();")


@app.command()
def recon(
    patches: Annotated[Path, typer.Argument(help="MAT file with YPred and fa, one patch a voxel, such as YPred_auto.mat.")],
    height: Annotated[int, typer.Option(min=3, help="Voxels of a coronal slice along x.")],
    width: Annotated[int, typer.Option(min=3, help="Voxels of a coronal slice along z.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="NIfTI file to write.")],
    voxel: Annotated[float, typer.Option(min=1e-6, help="Edge of a voxel in mm.")] = 0.0625,
) -> None:
    """Put predicted patches back into coronal slices: the centre voxel of each, where fa > 0."""
    import numpy as np

    from mrh_monai.io import check_nifti_output, write_nifti
    from mrh_monai.matlab import reconstruct

    check_nifti_output(output)
    slices = reconstruct(patches, height, width)
    write_nifti(output, slices, np.diag([voxel, voxel, voxel, 1.0]))
    print(f"{output}: {' x '.join(map(str, slices.shape))} voxels")


@app.command()
def reorder(
    volume: Annotated[Path, typer.Argument(help="Released volume, such as fluo_No-noisy_R3.img.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="NIfTI file to write.")],
    axes: Annotated[Optional[str], typer.Option(help="The volume's axes in the order x,y,z, such as 1,2,0; - before one flips it.")] = None,  # noqa: UP045
    voxel: Annotated[float, typer.Option(min=1e-6, help="Edge of a voxel in mm.")] = 0.0625,
) -> None:
    """Put a released volume into the P60 template's order, 200 x 280 x 128, coronal slices along the second axis."""
    import numpy as np

    from mrh_monai.io import check_nifti_output, write_nifti
    from mrh_monai.matlab import read_in_template_order

    check_nifti_output(output)
    voxels = read_in_template_order(volume, axes)
    write_nifti(output, voxels, np.diag([voxel, voxel, voxel, 1.0]))
    print(f"{output}: {' x '.join(map(str, voxels.shape))} voxels")


@app.command()
def fetch(
    name: Annotated[Optional[str], typer.Argument(help="What to fetch; a list is shown if not given.")] = None,  # noqa: UP045
    folder: Annotated[Path, typer.Option("--output", "-o", help="Folder to put it into.")] = Path("published"),
    url: Annotated[Optional[str], typer.Option(help="Where to fetch it from instead, such as a mirror's.")] = None,  # noqa: UP045
) -> None:
    """Fetch a published file of MRH-Net; an interrupted download goes on where it stopped."""
    from mrh_monai.matlab import PUBLISHED, fetch_published

    if name is None:
        for item in PUBLISHED.values():
            print(f"{item.name:18} {item.identifier:18} {item.holds}")
        return
    print(fetch_published(name, folder, url))


app.add_typer(bundle_verbs.verbs)
app.add_typer(analysis_verbs.verbs)


def main() -> None:
    """Run the command; a wrong input ends in one sentence on standard error and status 1."""
    try:
        app()
    except MRHError as error:
        if "--debug" in sys.argv:
            raise
        print(sentence(error), file=sys.stderr)
        sys.exit(1)
