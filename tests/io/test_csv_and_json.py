import csv
import json

import numpy as np

from mrh_monai.io.csv_and_json import as_csv, as_json


def test_rows_come_back_with_every_digit_and_unknown_numbers_are_empty():
    rows = [{"name": 'a "b", c', "value": 0.1 + 0.2, "count": 3}, {"name": "d", "value": float("nan"), "count": None}]
    found = list(csv.DictReader(as_csv(rows).splitlines()))
    assert [row["name"] for row in found] == ['a "b", c', "d"]
    assert float(found[0]["value"]) == 0.1 + 0.2
    assert (found[1]["value"], found[1]["count"]) == ("", "")
    assert as_csv([{"x": np.float32(np.inf)}, {"x": np.float64(np.inf)}]).splitlines() == ["x", '""', '""']


def test_json_has_null_for_what_could_not_be_computed():
    assert json.loads(as_json({"s": {"ssim": float("nan"), "r2": 0.5}})) == {"s": {"ssim": None, "r2": 0.5}}
    nested = {"psnr": float("inf"), "intervals": [(0.5, float("nan"))], "voxels": 3, "name": "s"}
    assert json.loads(as_json(nested)) == {"psnr": None, "intervals": [[0.5, None]], "voxels": 3, "name": "s"}
