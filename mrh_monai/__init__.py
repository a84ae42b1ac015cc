"""Virtual histology of the mouse brain from multi-contrast MRI, as MONAI bundles."""

__version__ = "0.1.0"
