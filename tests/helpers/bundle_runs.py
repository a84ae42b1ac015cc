"""Runs of bundles by `monai.bundle` in this process, small ones."""

from monai.bundle import run

FEW_STEPS = {"recipes::fast::root_steps": 0}  # an epoch of few patches then has 60 steps
SMALL = {
    "residual_blocks": 1, "patches": 400, "epochs": 3, "batch_size": 32, "validation_patches": 100, "align": "off", "device": "cpu",
    **FEW_STEPS,
}  # fmt: skip


def bundle_run(bundle, *configs, **options):
    files = [str(bundle / "configs" / name) for name in configs]
    run(**{"config_file": files, "bundle_root": str(bundle), "logging_file": False, **options})
