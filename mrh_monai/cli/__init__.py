"""The `mrh` command: one file for each group of verbs, one thin function for each verb."""

from mrh_monai.cli.app import main

__all__ = ["main"]
