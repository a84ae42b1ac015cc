"""Runs of bundles by `monai.bundle` in this process, small ones."""

from monai.bundle import run

SMALL = {"residual_blocks": 1, "patches": 400, "epochs": 3, "batch_size": 32, "validation_patches": 100, "align": "off", "device": "cpu"}


def bundle_run(bundle, *configs, **options):
    files = [str(bundle / "configs" / name) for name in configs]
    run(**{"config_file": files, "bundle_root": str(bundle), "logging_file": False, **options})
