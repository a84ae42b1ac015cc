"""Pictures that are compared."""


def changed(one, other):
    """How many pixels of two pictures of one size differ."""
    assert one.shape == other.shape
    return int((one != other).any(-1).sum())
