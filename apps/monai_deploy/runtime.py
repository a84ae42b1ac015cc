"""What Holoscan needs from the machine, prepared before Holoscan is imported."""

from __future__ import annotations

import os
import warnings

from mrh_monai.errors import MRHError


class RuntimeMissingError(MRHError):
    """A library that the SDK loads is not installed."""


def prepare() -> None:
    """Load the runtime library of CUDA and silence Holoscan. Call this before Holoscan is first imported.

    Holoscan is linked against ``libcudart.so.13`` and cannot be imported without it, even where there is neither a GPU nor a driver. The
    wheel `nvidia-cuda-runtime` puts the library where the dynamic linker does not look. Once it is loaded from there, Holoscan uses
    it, and LD_LIBRARY_PATH need not be set.

    Raises:
        RuntimeMissingError: The library is not installed.
    """
    os.environ.setdefault("HOLOSCAN_LOG_LEVEL", "ERROR")
    # Holoscan warns of stacks below 32 MiB; the same code runs in the usual 8 MiB elsewhere.
    warnings.filterwarnings("ignore", message="Current stack size")
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib

        load_nvidia_dynamic_lib("cudart")
    except (ImportError, RuntimeError, OSError) as error:  # pathfinder's own errors are RuntimeErrors
        expected = "the CUDA 13 runtime library (libcudart.so.13), which it loads even without a GPU"
        remedy = "install apps/monai_deploy/requirements.txt, which brings it"
        raise RuntimeMissingError("Holoscan", expected, f"{type(error).__name__}", remedy) from error
