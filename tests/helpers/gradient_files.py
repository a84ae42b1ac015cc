"""Gradient tables in the files of FSL."""

import numpy as np


def write_fsl(path, b_values, directions):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, np.asarray(b_values)[None])
    np.savetxt(path.with_suffix(path.suffix.replace("bval", "bvec")), directions)
    return path
