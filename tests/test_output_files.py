import os

import pytest

from mrh_monai.errors import OutputError
from mrh_monai.output_files import LIST, ResultFiles, check_outputs, writing

FOREIGN = r"expected a free name, or a file that the same command wrote, found another file, or one that was changed since; .*--overwrite"
INPUT = "expected an output that is not an input too, found a file that this command reads; name another output"


def write(path, text="text", kind="scores", **options):
    with writing(kind, [path], **options):
        path.write_text(text)


def test_a_file_is_replaced_again_and_again_by_its_own_command(tmp_path):
    for text in ("one", "two", "one", "three"):
        write(tmp_path / "scores.json", text)
    assert (tmp_path / "scores.json").read_text() == "three"


@pytest.mark.parametrize("change", ["edited", "of another command", "copied over", "not listed"])
def test_other_files_stay_unless_it_is_asked(tmp_path, change):
    path = tmp_path / "a file.json"
    write(path, kind="report" if change == "of another command" else "scores")
    if change == "edited":
        path.write_text("text and more")
    if change == "copied over":
        write(tmp_path / "b.json", "b")
        os.replace(tmp_path / "b.json", path)
    if change == "not listed":
        (tmp_path / LIST).unlink()
    before = path.read_text()
    with pytest.raises(OutputError, match=FOREIGN):
        write(path, "new")
    assert path.read_text() == before
    write(path, "new", overwrite=True)
    write(path, "now its own")


def test_nothing_is_listed_that_was_not_written(tmp_path):
    with pytest.raises(KeyError), writing("scores", [tmp_path / "a.json"]):
        (tmp_path / "a.json").write_text("half")
        raise KeyError
    with writing("scores", [tmp_path / "b.json"]):
        pass
    assert not (tmp_path / LIST).exists()


@pytest.mark.parametrize("link", ["same", "relative", "symbolic", "folder", "hard"])
def test_an_input_is_never_replaced(tmp_path, monkeypatch, link):
    """Whatever name leads to it, and even if it was written by the same command."""
    scan, output = tmp_path / "scan.nii", tmp_path / "out.nii"
    write(scan)
    if link == "same":
        output = scan
    elif link == "relative":
        monkeypatch.chdir(tmp_path)
        output = tmp_path / "x" / ".." / "scan.nii"
        (tmp_path / "x").mkdir()
    elif link == "symbolic":
        output.symlink_to(scan)
    elif link == "folder":
        (tmp_path / "linked").symlink_to(tmp_path, target_is_directory=True)
        output = tmp_path / "linked" / "scan.nii"
    else:
        os.link(scan, output)
    for inputs in ([scan], ["missing", str(scan)]):
        with pytest.raises(OutputError, match=INPUT):
            check_outputs("scores", [tmp_path / "free.nii", output], inputs, overwrite=True)
    check_outputs("scores", [tmp_path / "free.nii"], [scan])


def test_the_list_is_that_of_each_folder(tmp_path):
    """Lines are only added, so that two processes can write into one folder; the last line of a file counts."""
    for name in ("a.txt", "b.txt", "a.txt"):
        write(tmp_path / name, name)
    lines = (tmp_path / LIST).read_text().splitlines()
    assert [line.split()[1:] for line in lines] == [["scores", "a.txt"], ["scores", "b.txt"], ["scores", "a.txt"]]


def test_where_the_list_cannot_be_written_the_next_run_asks(tmp_path):
    (tmp_path / LIST).mkdir()
    write(tmp_path / "a.txt")
    with pytest.raises(OutputError, match=FOREIGN):
        write(tmp_path / "a.txt")


def test_a_folder_of_results_is_checked_for_every_name(tmp_path):
    files = ResultFiles("study", ("a.csv", "a.png"))
    files.check(tmp_path)
    (tmp_path / "a.png").write_text("mine")
    with pytest.raises(OutputError, match=FOREIGN):
        files.check(tmp_path)
    files.check(tmp_path, overwrite=True)
    with pytest.raises(OutputError, match=INPUT):
        files.check(tmp_path, [tmp_path / "a.png"], overwrite=True)
