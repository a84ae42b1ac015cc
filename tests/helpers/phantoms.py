"""Digital brains of a size that is made in a moment."""

SMALL = (36, 6, 28)
