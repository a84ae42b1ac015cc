"""Pack the three bundles of this version with tiny weights, as fixtures that every later version must verify and run.

    PYTHONPATH=tests python -m helpers.release_bundles tests/data/bundles-0.2.0

Only the release itself writes them: what a released version has packed never changes again.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from helpers.bundle_runs import bundle_run
from helpers.paths import ROOT
from helpers.random_weights import SOURCE, TARGET_MAX, random_network, sidecar_of
from helpers.subjects import write_nifti
from mrh_monai import __version__
from mrh_monai.io.volume_files import read_header, read_voxels
from mrh_monai.network.checkpoint import save_checkpoint
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.scaling import PublishedScaling
from mrh_monai.sharing.packing import pack
from mrh_monai.training.parent import load_parent
from mrh_monai.training.transfer import start_from_parent

SHAPE = (7, 3, 6)
FEATURES, BLOCKS = 4, 1
BUNDLES = ("mrh_af", "mrh_nf", "mrh_mbp")


def write_subject(folder: Path) -> None:
    """Write a subject of a few voxels, and a datalist that both trains and predicts it: slice 0 is predicted, the others train."""
    rng = np.random.default_rng(20)
    truth = rng.uniform(0.2, 1, SHAPE)
    image = 4000 * truth[..., None] * rng.uniform(0.3, 1, len(MRH_NET)) + rng.normal(0, 50, (*SHAPE, len(MRH_NET)))
    image[..., MRH_NET.names.index("mt_on")] = image[..., MRH_NET.names.index("mt_off")] * 0.6
    mask = np.ones(SHAPE, np.uint8)
    mask[0, :, 0] = 0
    for name, voxels in (("images", image.astype(np.int16)), ("mask", mask), ("stain", (250 * truth * mask).astype(np.uint8))):
        write_nifti(folder / f"{name}.nii.gz", voxels, np.diag([0.0625, 0.0625, 0.0625, 1]))
    entry = {"subject": "m1", "image": ["images.nii.gz"], "mask": "mask.nii.gz"}
    training = {**entry, "target": "stain.nii.gz", "slices": [[1, 3]]}
    (folder / "datalist.json").write_text(json.dumps({"training": [training], "test": [{**entry, "slices": [[0, 1]]}]}, indent=1) + "\n")


def write_weights(folder: Path) -> None:
    """Put tiny weights into copies of the shipped bundles: AF from scratch, NF and MBP from AF, MBP with published scaling."""
    source = {**SOURCE, "versions": {"mrh-monai": __version__}}
    for seed, name in enumerate(BUNDLES):
        bundle = folder / name
        shutil.copytree(ROOT / "bundles" / name, bundle, ignore=shutil.ignore_patterns("model.*"))
        network = random_network(len(MRH_NET), FEATURES, BLOCKS, seed=seed)
        parent = None if name == "mrh_af" else load_parent(folder / "mrh_af", bundle)
        lineage = start_from_parent(network, parent, MRH_NET.names, replaced=2).lineage
        scaling = PublishedScaling(TARGET_MAX) if name == "mrh_mbp" else None
        sidecar = sidecar_of(network, MRH_NET.names, stain=name[4:], scaling=scaling, parent=lineage, source=source)
        save_checkpoint(bundle / "models" / "model.pt", network.state_dict(), sidecar)


def main(output: Path) -> None:
    """Write the subject, the zips, and the stains that the bundles predict."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    write_subject(output / "subject")
    stains = {}
    with tempfile.TemporaryDirectory() as place:
        write_weights(Path(place))
        for name in BUNDLES:
            packed = pack(Path(place) / name, output / f"{name}.zip")
            assert packed.foreign == [], packed.foreign
            options = {
                "datalist": str(output / "subject" / "datalist.json"),
                "output_dir": f"{place}/out",
                "device": "cpu",
                "report": False,
            }
            bundle_run(Path(place) / name, "inference.yaml", **options)
            written = read_header(Path(place) / "out" / "m1" / f"m1_{name[4:]}.nii.gz")
            stains[name] = [round(float(value), 6) for value in read_voxels(written)[:, 0, :, 0].ravel()]
    (output / "stains.json").write_text(json.dumps(stains) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
