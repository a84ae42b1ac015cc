"""Entry point of a MONAI application package, which runs this folder by its name."""

import sys

from app import main

sys.exit(main(sys.argv[1:]))
