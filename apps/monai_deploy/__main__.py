"""What a MONAI application package runs: this folder, by its name."""

import sys

from app import main

sys.exit(main(sys.argv[1:]))
