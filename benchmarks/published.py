"""Predict one whole subject with published networks; measure the time, and the largest difference from their layer lists in float64.

    python benchmarks/published.py SUBJECT_DIR NET.mat [NET.mat ...] [--target FILE] [--picture FILE.png] [-o FILE.json]

Every predicted voxel is also computed by the reference of the tests. The reference is written from the layers in the file and not from
`MRHNet`: it sums 3x3 neighbourhoods in float64, with NumPy only.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from helpers.matlab_files import forward, stored_graph  # noqa: E402
from mrh_monai import MRH_NET  # noqa: E402
from mrh_monai.data import load_subject  # noqa: E402
from mrh_monai.figures import side_by_side  # noqa: E402
from mrh_monai.inference import predict_volume  # noqa: E402
from mrh_monai.io import read_header, read_voxels  # noqa: E402
from mrh_monai.matlab import import_from_matlab  # noqa: E402
from mrh_monai.network import load_network  # noqa: E402
from mrh_monai.subjects import find_subject  # noqa: E402

CHUNK = 8192


def largest_difference(image: np.ndarray, support: np.ndarray, predicted: np.ndarray, network: Path) -> float:
    """Return the largest difference between a prediction and the reference, over all predicted voxels.

    Args:
        image: (X, Y, Z, C) raw intensities.
        support: (X, Y, Z) bool, the predicted voxels.
        predicted: (X, Y, Z) scaled prediction.
        network: MAT file of the network.
    """
    graph, largest, worst = stored_graph(network), float(image[support].max()), 0.0
    voxels = np.argwhere(support)
    offsets = np.arange(-1, 2)
    for start in range(0, len(voxels), CHUNK):
        x, y, z = voxels[start : start + CHUNK].T
        patches = image[x[:, None, None] + offsets[:, None], y[:, None, None], z[:, None, None] + offsets].astype(np.float64) / largest
        expected = forward(*graph, patches)[:, 1, 1, 0]
        worst = max(worst, float(np.abs(predicted[x, y, z] - expected).max()))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subject", type=Path, help="folder of the subject")
    parser.add_argument("networks", type=Path, nargs="+", help="MAT files of networks")
    parser.add_argument("--target", type=Path, help="volume of the true stain, for the picture")
    parser.add_argument("--picture", type=Path, help="PNG file to write")
    parser.add_argument("-o", "--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    loaded = load_subject(find_subject(arguments.subject), MRH_NET)
    volumes = {"MT off": loaded.image[..., MRH_NET.names.index("mt_off")] * loaded.mask}
    if arguments.target:
        volumes["AF target"] = read_voxels(read_header(arguments.target))[..., 0] / 255.0 * loaded.mask
    results = []
    for path in arguments.networks:
        with tempfile.TemporaryDirectory() as folder:
            bundle = shutil.copytree(ROOT / "bundles" / "mrh_af", Path(folder) / "mrh_af", ignore=shutil.ignore_patterns("models"))
            sidecar = import_from_matlab(path, bundle)
            network, _ = load_network(bundle / "models" / "model.pt")
        support = sidecar.scaling.support(loaded.mask, sidecar.patch)
        started = time.perf_counter()
        predicted = predict_volume(network, loaded.slabs, support, sidecar.scaling.coefficients(loaded, support)).numpy()
        seconds = time.perf_counter() - started
        worst = largest_difference(loaded.image, support, predicted, path)
        blocks, count = sidecar.residual_blocks, int(support.sum())
        inside = predicted[support]
        result = {"blocks": blocks, "voxels": count, "seconds": seconds, "largest_difference": worst}
        results.append({**result, "smallest": float(inside.min()), "largest": float(inside.max())})
        span = f"values {inside.min():.3f} to {inside.max():.3f}"
        print(f"{blocks} blocks: {count:,} voxels in {seconds:.1f} s", f"largest difference {worst:.2e}", span, sep=", ")
        volumes[f"AF B={blocks}"] = predicted
    if arguments.picture:
        side_by_side(volumes, arguments.picture, title="published networks on simulated signals, on which they were not trained")
    if arguments.output:
        arguments.output.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
