"""`python -m mrh_monai.cli` is the same as `mrh`."""

from mrh_monai.cli import main

main()
