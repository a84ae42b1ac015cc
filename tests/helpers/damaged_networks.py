"""Imports damaged network files: each must end in success or in one clear error, soon, in little memory, and leave the bundle whole.

    PYTHONPATH=tests python -m helpers.damaged_networks [COUNT]

The file is the published 5-block network where it lies in MRH_SHARED or beside the checkout, and elsewhere one of its size written here.
A quarter of the damages each: cut off anywhere; bytes flipped anywhere; bytes flipped in the headers; bytes flipped inside the compressed
data, which are then packed again with a right checksum, so that the parser itself meets them.
"""

from __future__ import annotations

import collections
import concurrent.futures
import multiprocessing
import os
import shutil
import struct
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np

from helpers.matlab_files import mrh_net, write_network
from helpers.paths import ROOT

SECONDS, MEMORY = 20, 2 << 30
SHARED = Path(os.environ.get("MRH_SHARED", ROOT.parent / "shared"))
PUBLISHED = SHARED / "mouse_kit" / "published" / "net_5layerV3Res_HRJG_allMRIs_Fluo.mat"


def original(folder: Path) -> bytes:
    if PUBLISHED.is_file():
        return PUBLISHED.read_bytes()
    return write_network(folder / "net.mat", *mrh_net(5, 67, 64)).read_bytes()


def elements(data: bytes) -> list[tuple[int, int]]:
    """Start and length of the compressed elements."""
    found, place = [], 128
    while place < len(data):
        length = struct.unpack("<I", data[place + 4 : place + 8])[0]
        found.append((place, length))
        place += 8 + length
    return found


def flip(data: bytes, places: np.ndarray, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for place in places:
        changed[place] ^= int(rng.integers(1, 256))
    return bytes(changed)


def damaged(data: bytes, seed: int) -> bytes:
    """The ``seed``-th damage."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 9))
    if seed % 4 == 0:
        return data[: int(rng.integers(0, len(data)))]
    if seed % 4 == 1:
        return flip(data, rng.integers(0, len(data), count), rng)
    if seed % 4 == 2:
        heads = [*range(116, 128), *(start + k for start, _ in elements(data) for k in range(12))]
        return flip(data, rng.choice(heads, count), rng)
    parts = [data[:128]]
    chosen = int(rng.choice(3, p=(0.1, 0.2, 0.7)))
    for index, (start, length) in enumerate(elements(data)):
        packed = data[start + 8 : start + 8 + length]
        if index == chosen:
            inner = zlib.decompress(packed)
            # Half of the damages near the ends, where the objects' names and tables lie.
            edge = min(len(inner) - 8, 20_000)
            places = rng.integers(8, len(inner), count) if rng.random() < 0.5 else 8 + rng.integers(0, edge, count)
            packed = zlib.compress(flip(inner, places, rng), 1)
        parts.append(struct.pack("<II", 15, len(packed)) + packed)
    offset = sum(map(len, parts[:-1]))
    parts[0] = data[:116] + struct.pack("<Q", offset) + data[124:128]
    return b"".join(parts)


def start_worker() -> None:
    import matio  # noqa: F401
    import torch

    from mrh_monai.child_process import limit_memory
    from mrh_monai.matlab import network_import as matlab  # noqa: F401

    torch.set_num_threads(1)
    limit_memory(MEMORY)


def attempt(data: bytes, bundle: Path, seed: int) -> tuple[int, str, float]:
    """The outcome, ``imported``, ``refused`` or what went wrong, and the seconds it took."""
    from mrh_monai.errors import MRHError
    from mrh_monai.matlab.network_import import import_from_matlab

    own = bundle / f"bundle{os.getpid()}"
    if not own.is_dir():
        shutil.copytree(ROOT / "bundles" / "mrh_af", own, ignore=shutil.ignore_patterns("models"))
    path = own / "damaged.mat"
    path.write_bytes(damaged(data, seed))
    started = time.monotonic()
    try:
        import_from_matlab(path, own)
        outcome = "imported"
        left = {"model.pt", "model.json"}
    except MRHError as error:
        outcome = "refused" if "damaged.mat" in str(error) and "\n" not in str(error) else f"an unclear error: {error}"
        left = set()
    except BaseException as error:
        outcome, left = f"{type(error).__name__}: {error}", set()
    seconds = time.monotonic() - started
    found = {file.name for file in (own / "models").iterdir()} if (own / "models").is_dir() else set()
    if found != left:
        outcome += f", and models/ holds {sorted(found)}"
    shutil.rmtree(own / "models", ignore_errors=True)
    return seed, outcome if seconds < SECONDS else f"{outcome} after {seconds:.0f} s", seconds


def fuzz(count: int, first: int = 0, workers: int = 2) -> tuple[collections.Counter, float, list[str]]:
    """How often which outcome, the longest time, and all that should not have been."""
    outcomes: collections.Counter = collections.Counter()
    longest, wrong = 0.0, []
    with tempfile.TemporaryDirectory() as folder:
        data = original(Path(folder))
        context = multiprocessing.get_context("fork")
        with concurrent.futures.ProcessPoolExecutor(workers, context, initializer=start_worker) as pool:
            futures = [pool.submit(attempt, data, Path(folder), seed) for seed in range(first, first + count)]
            for future in concurrent.futures.as_completed(futures, timeout=60 + count * SECONDS):
                seed, outcome, seconds = future.result()
                longest = max(longest, seconds)
                outcomes[outcome if outcome in ("imported", "refused") else "wrong"] += 1
                if outcome not in ("imported", "refused"):
                    wrong.append(f"seed {seed}: {outcome}")
    return outcomes, longest, wrong


if __name__ == "__main__":
    asked = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    began = time.monotonic()
    counted, slowest, failures = fuzz(asked)
    print(f"{asked} damaged files in {time.monotonic() - began:.0f} s: {dict(counted)}, the slowest {slowest:.2f} s")
    print("\n".join(failures))
    sys.exit(bool(failures) or counted["imported"] + counted["refused"] != asked)
