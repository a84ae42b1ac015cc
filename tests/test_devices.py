from threading import Barrier

import pytest
import torch

from mrh_monai.devices import check_precision, choose_device, in_precision, map_on_threads, training_threads
from mrh_monai.errors import OptionError


def test_devices_must_exist(monkeypatch):
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(OptionError, match="device: expected auto, cpu, cuda or cuda:N, found 'gpu'"):
        choose_device("gpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(OptionError, match="device: expected the device cuda, found 0 CUDA devices on this machine; use --device cpu"):
        choose_device("cuda")


def test_a_precision_is_what_the_device_can_do():
    assert [check_precision("cpu", name) for name in ("float32", "tf32", "bf16", "auto")] == ["float32", "float32", "bf16", "float32"]
    assert check_precision("cuda", "tf32") == "tf32"
    with pytest.raises(OptionError, match="precision: expected float32, tf32, bf16, auto, found 'fp16'"):
        check_precision("cpu", "fp16")


def test_products_are_in_that_precision_inside_and_as_before_outside():
    a, b = torch.randn(2, 8, 8)
    with in_precision("cpu", "bf16"):
        assert (a @ b).dtype == torch.bfloat16
    assert (a @ b).dtype == torch.float32
    settings = torch.backends.cuda.matmul.fp32_precision
    with in_precision("cuda", "tf32"):
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    with in_precision("cuda", "float32"):
        assert torch.backends.cuda.matmul.fp32_precision == "ieee"
    assert torch.backends.cuda.matmul.fp32_precision == settings


def test_training_takes_a_thread_for_every_64_patches_and_not_more_than_there_are(four_threads):
    found = []
    for size in (1, 63, 64, 128, 200, 640):
        with training_threads(size):
            found.append(torch.get_num_threads())
    assert found == [1, 1, 1, 2, 3, 4]
    assert torch.get_num_threads() == 4


def test_threads_are_there_again_after_an_error(four_threads):
    with pytest.raises(KeyError), training_threads(64):
        raise KeyError
    assert torch.get_num_threads() == 4


def test_items_are_worked_on_at_the_same_time_each_on_one_thread(four_threads):
    all_are_there = Barrier(4)

    def threads(item):
        all_are_there.wait(timeout=20)
        return item, torch.get_num_threads()

    assert map_on_threads(threads, "abcd") == [("a", 1), ("b", 1), ("c", 1), ("d", 1)]
    assert torch.get_num_threads() == 4
    with pytest.raises(ZeroDivisionError):
        map_on_threads(lambda item: 1 // item, [1, 0])
    assert torch.get_num_threads() == 4
