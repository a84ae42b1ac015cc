import random

import numpy as np
import torch

from mrh_monai.training.random_states import random_states, restore_random_states, seed_everything


def draw():
    return random.random(), np.random.rand(3).tolist(), torch.rand(3).tolist()


def test_a_seed_sets_all_random_states():
    seed_everything(3)
    first = draw()
    seed_everything(3)
    assert draw() == first
    seed_everything(4)
    assert all(one != other for one, other in zip(draw(), first, strict=True))


def test_restored_states_continue_after_a_file(tmp_path):
    """The states are saved and read as a checkpoint is: by torch, which admits plain values only."""
    seed_everything(5)
    draw()
    torch.save(random_states(), tmp_path / "states.pt")
    expected = draw()
    seed_everything(6)
    restore_random_states(torch.load(tmp_path / "states.pt", weights_only=True))
    assert draw() == expected
