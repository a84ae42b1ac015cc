"""Parts of the app. MONAI Label looks for a package of this name."""

# This import comes before the tasks of MONAI Label, which import torchvision.
import lib.torchvision_without_ops  # noqa: F401
