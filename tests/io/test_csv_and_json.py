import csv

import numpy as np

from mrh_monai.io.csv_and_json import as_csv


def test_rows_come_back_with_every_digit_and_unknown_numbers_are_empty():
    rows = [{"name": 'a "b", c', "value": 0.1 + 0.2, "count": 3}, {"name": "d", "value": float("nan"), "count": None}]
    found = list(csv.DictReader(as_csv(rows).splitlines()))
    assert [row["name"] for row in found] == ['a "b", c', "d"]
    assert float(found[0]["value"]) == 0.1 + 0.2
    assert (found[1]["value"], found[1]["count"]) == ("", "")
    assert as_csv([{"x": np.float32(np.inf)}, {"x": np.float64(np.inf)}]).splitlines() == ["x", '""', '""']
