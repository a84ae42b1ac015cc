"""Measure the peak memory of predicting a whole brain, 200 x 280 x 128 voxels of 67 images, by `mrh predict` and by the inference bundle.

    python benchmarks/streaming.py [--shape 200 280 128] [--blocks 1] [--kinds int16.img float32.nii int16.nii.gz] [-o FILE.json]

The peak is the largest anonymous memory (RssAnon) of a process, read every 20 ms. It is what the process holds in addition to mapped files,
libraries included. The weights of the network are random, since memory does not depend on them. The voxels are noise in an ellipsoid of
2.09 million voxels.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from mrh_monai import MRH_NET, MRHNet
from mrh_monai.io import write_analyze
from mrh_monai.network import Sidecar, save_checkpoint
from mrh_monai.scaling import RobustScaling

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "mrh_af"
VOXELS = 2_090_000
LIMIT = 1.5e9


def ellipsoid(shape: tuple[int, ...], voxels: float) -> np.ndarray:
    """Return a mask (X, Y, Z) uint8, an ellipsoid of about this number of voxels in the middle of the volume."""
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij", sparse=True)
    distance = sum(axis**2 for axis in axes)
    return (distance <= np.partition(distance.ravel(), int(voxels) - 1)[int(voxels) - 1]).astype(np.uint8)


def write_brain(folder: Path, shape: tuple[int, int, int], dtype: str, ending: str) -> None:
    """Write a subject of noise in MRH-Net's layout, volume by volume.

    Args:
        folder: Folder to make.
        shape: Voxels (X, Y, Z).
        dtype: Type of the voxels, such as ``int16``.
        ending: Ending of the image files: ``img``, ``nii`` or ``nii.gz``.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    mask = ellipsoid(shape, VOXELS * np.prod(shape) / (200 * 280 * 128))
    write_analyze(folder / "Masked_outline.img", mask, 0.0625)
    noise = rng.integers(0, 64, shape, dtype=np.int16)
    for name, channels in (("Lddm_dwi2000", 32), ("Lddm_dwi5000", 32), ("lddm_t2MTONOFF", 3)):
        path = folder / f"rigidaffine_{name}.{ending}"
        header = nibabel.AnalyzeHeader() if ending == "img" else nibabel.Nifti1Header()
        header.set_data_dtype(dtype)
        header.set_data_shape((*shape, channels))
        header.set_zooms((0.0625,) * 3 + (1.0,))
        pack: Any = gzip.GzipFile(path, "wb", compresslevel=1) if ending == "nii.gz" else path.open("wb")
        with pack as stream:
            if ending == "img":
                path.with_suffix(".hdr").write_bytes(header.binaryblock)
            else:
                header["vox_offset"] = 352
                header.set_sform(np.diag([0.0625, 0.0625, 0.0625, 1]), 1)
                stream.write(header.binaryblock + bytes(4))
            for channel in range(channels):
                stream.write(((noise + 100 + 2 * channel) * (mask + 1)).astype(dtype).tobytes(order="F"))


def make_bundle(folder: Path, blocks: int) -> Path:
    """Copy the AF bundle into a folder and give it random weights; return the folder."""
    shutil.copytree(BUNDLE, folder, ignore=shutil.ignore_patterns("model.*"))
    scaling = RobustScaling(target_max=255.0, channel_mean=(0.5,) * 67, channel_std=(0.2,) * 67, channel_weight=(1.0,) * 67)
    network = MRHNet(67, residual_blocks=blocks)
    sidecar = Sidecar("af", "8-bit", MRH_NET.names, blocks, 64, [0, 2], 1, scaling)
    save_checkpoint(folder / "models" / "model.pt", network.state_dict(), sidecar)
    return folder


def watch(command: list[str]) -> tuple[float, float]:
    """Run a command; return its largest RssAnon in bytes, and its time in seconds."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        try:
            lines = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines()
            peak = max([peak, *(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))])
        except OSError:
            break  # the process has just ended
        time.sleep(0.02)
    process.wait()
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{process.stderr.read() if process.stderr else ''}")
    return peak, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(200, 280, 128), help="voxels along x, y and z")
    parser.add_argument("--blocks", type=int, default=1, help="number of residual blocks")
    parser.add_argument("--kinds", nargs="+", default=["int16.img", "float32.nii", "int16.nii.gz"], help="kinds of files, TYPE.ENDING")
    parser.add_argument("-o", "--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    shape = tuple(arguments.shape)
    beyond = int(np.prod(shape)) * 4
    print(f"{shape}, {arguments.blocks} residual blocks; limit {LIMIT / 1e9} GB")
    print(f"peak RssAnon in addition to the output of {beyond / 1e6:.0f} MB:")
    rows = []
    for kind in arguments.kinds:
        with tempfile.TemporaryDirectory() as root:
            folder = Path(root)
            bundle = make_bundle(folder / "mrh_af", arguments.blocks)
            write_brain(folder / "brain", shape, *kind.split(".", 1))
            images = [
                str(path)
                for name in ("dwi2000", "dwi5000", "t2MTONOFF")
                for path in (folder / "brain").glob(f"*{name}.*")
                if path.suffix != ".hdr"
            ]
            entry = {"subject": "brain", "image": images, "mask": str(folder / "brain" / "Masked_outline.img")}
            (folder / "datalist.json").write_text(json.dumps({"test": [entry]}))
            config = str(bundle / "configs" / "inference.yaml")
            routes = {
                "mrh predict": ["-m", "mrh_monai.cli", "predict", str(bundle), str(folder / "brain"), "-o", str(folder / "af.nii.gz")],
                "bundle": [
                    *("-m", "monai.bundle", "run", "--bundle_root", str(bundle), "--config_file", config),
                    *("--datalist", str(folder / "datalist.json"), "--output_dir", str(folder / "out")),
                ],
            }
            for route, words in routes.items():
                peak, seconds = watch([sys.executable, "-W", "ignore", *words])
                rows.append({"files": kind, "route": route, "beyond_output": peak - beyond, "seconds": seconds})
                print(f"{kind:14}{route:14}{(peak - beyond) / 1e9:8.2f} GB{seconds:8.0f} s", flush=True)
            one, other = (nibabel.load(path).get_fdata() for path in (folder / "af.nii.gz", folder / "out" / "brain" / "brain_af.nii.gz"))
            assert np.array_equal(one, other), "the two routes differ"
            assert (one != 0).any()
    worst = max(row["beyond_output"] for row in rows)
    print(f"largest: {worst / 1e9:.2f} GB, {'within' if worst <= LIMIT else 'ABOVE'} the limit")
    if arguments.output:
        arguments.output.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
