"""What the app is made of; MONAI Label finds it by this name."""

# Before MONAI Label's tasks, which import torchvision.
import lib.torchvision_without_ops  # noqa: F401
