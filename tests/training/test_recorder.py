from mrh_monai.training.recorder import prepare_output


def test_prepare_output_clears_what_a_killed_run_left(tmp_path):
    names = ("out/checkpoint.pt", "out/.partial.x.model.pt", "out/metrics.csv", "models/.partial.y.model.pt", "models/model.pt")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    prepare_output(tmp_path / "out", tmp_path / "models" / "model.pt")
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"out/metrics.csv", "models/model.pt", "out/checkpoint.pt"}
