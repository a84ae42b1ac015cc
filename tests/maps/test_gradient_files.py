import numpy as np
import pytest

from helpers.gradient_files import write_fsl
from helpers.subjects import write_nifti
from mrh_monai.data.grid import read_headers
from mrh_monai.errors import MRHWarning, SubjectError
from mrh_monai.io.volume_files import read_header
from mrh_monai.maps.gradient_files import gradients_of, read_gradients
from mrh_monai.protocol.channel import Channel
from mrh_monai.protocol.mr_protocol import MRProtocol
from mrh_monai.protocol.mrh_net import MRH_NET, SHELL_2000, SHELL_5000
from mrh_monai.subjects.subject_search import find_subject

B_VALUES = np.array([5.0, 1000, 1010, 990, 2500])


@pytest.fixture
def directions(rng):
    """Unit vectors, the first volume without one."""
    found = rng.normal(size=(5, 3))
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    found[0] = 0
    return found


def write_method(path, b_values, directions):
    """As ParaVision writes it: what is not asked for before, between and behind, lines broken anywhere, comments, repeats."""

    def lines(numbers):
        words = [f"{number:.12g}" for number in np.ravel(numbers)]
        return "".join(" ".join(words[start : start + 4]) + " \n" for start in range(0, len(words), 4))

    path.write_text(
        "##TITLE=Parameter List, ParaVision 6.0.1\n##$PVM_DwNDiffDir=30\n"
        f"##$PVM_DwDir=( {len(directions)}, 3 )\n{lines(directions)}"
        "##$PVM_DwBvalEach=( 1 )\n1850\n"
        f"##$PVM_DwEffBval=( {len(b_values)} )\n{lines(b_values)}"
        "$$ @vis= PVM_DwEffBval\n##$PVM_DwSpDir=( 3, 3 )\n1 @7*(0) 1\n##END=\n",
        encoding="latin-1",
    )
    return path


def volumes(path, count):
    return read_header(write_nifti(path, np.ones((3, 3, 3, count), np.int16)))


@pytest.mark.parametrize("ending", ["bval", "bvals"])
@pytest.mark.parametrize("rows", [False, True])
def test_fsl_pairs_with_directions_as_columns_or_rows(directions, tmp_path, ending, rows):
    path = write_fsl(tmp_path / f"dwi.ap.{ending}", B_VALUES, 3 * (directions if rows else directions.T))
    for file in (path, path.with_suffix(f".{ending.replace('bval', 'bvec')}")):
        table = read_gradients(file)
        np.testing.assert_allclose(table.b_values, B_VALUES)
        np.testing.assert_allclose(table.directions, directions)
        np.testing.assert_array_equal(table.scans, np.zeros(5))
        assert (len(table), table.source) == (5, file.name)


def test_a_method_file_with_and_without_directions_of_unweighted_volumes(directions, tmp_path):
    for given in (directions, directions[1:]):
        table = read_gradients(write_method(tmp_path / "method", B_VALUES, given))
        np.testing.assert_allclose(table.b_values, B_VALUES)
        np.testing.assert_allclose(table.directions, directions, atol=1e-9)


def test_repeated_numbers_of_a_method_file(tmp_path):
    (tmp_path / "method").write_text("##$PVM_DwDir=( 2, 3 )\n1 @2*(0) @3*(0.6)\n##$PVM_DwEffBval=( 5 )\n@3*(0.5) @2*(1e3)\n##END=")
    table = read_gradients(tmp_path / "method")
    np.testing.assert_array_equal(table.b_values, [0.5, 0.5, 0.5, 1000, 1000])
    np.testing.assert_allclose(table.directions, [*np.zeros((3, 3)), [1, 0, 0], [3**-0.5] * 3])


@pytest.mark.parametrize("unweighted", [1, 3, 4, 6])
def test_any_number_of_unweighted_volumes_of_a_method_file(tmp_path, unweighted):
    b_values = [5.0] * unweighted + [1000.0] * 3
    table = read_gradients(write_method(tmp_path / "method", b_values, np.eye(3)))
    np.testing.assert_array_equal(table.directions, np.r_[np.zeros((unweighted, 3)), np.eye(3)])


def test_an_unweighted_volume_may_have_any_direction_or_none(tmp_path):
    """Some converters write NaN."""
    table = read_gradients(write_fsl(tmp_path / "dwi.bval", [0, 1000, 5, 1000], np.array([[np.nan, 1, 0.01, 0]] * 2 + [[np.nan, 0, 0, 1]])))
    np.testing.assert_allclose(table.directions[[0, 2]], 0)
    np.testing.assert_allclose(table.directions[1], [2**-0.5, 2**-0.5, 0])


@pytest.mark.parametrize(("name", "shell", "nominal"), [("dwi_b2000_method", SHELL_2000, 1900), ("dwi_b5000_method", SHELL_5000, 4800)])
def test_published_method_files(shared, name, shell, nominal):
    path = shared / "mouse_kit" / "published" / name
    table = read_gradients(path)
    written = path.read_text(encoding="latin-1").split("##$PVM_DwEffBval=( 32 )")[1].split("##")[0].split("$$")[0].split()
    np.testing.assert_array_equal(table.b_values, np.array(written, float))
    expected = np.array(shell)
    np.testing.assert_allclose(table.b_values, expected[:, 0], atol=0.06)
    np.testing.assert_allclose(table.directions, expected[:, 1:], atol=1e-4)
    assert {b: int(members.sum()) for b, members in table.shells.items()} == {nominal: 30}


@pytest.mark.parametrize("name", ["low.bval", "low.bvals", "low.method", "low_method"])
def test_tables_beside_the_images_come_before_the_protocols(directions, tmp_path, name):
    headers = [volumes(tmp_path / "t2.nii.gz", 1), volumes(tmp_path / "low.nii.gz", 5), volumes(tmp_path / "high.nii", 5)]
    write = write_method if name.endswith("method") else write_fsl
    write(tmp_path / name, B_VALUES, directions)
    write_fsl(tmp_path / "high.bval", 2 * B_VALUES, directions)
    own = [Channel(f"{part}{i}", 1.0) for part in ("low", "high") for i in range(5)]
    table, channels = gradients_of(headers, MRProtocol((Channel("t2"), *own)))
    np.testing.assert_allclose(table.b_values, [*B_VALUES, *2 * B_VALUES])
    np.testing.assert_allclose(table.directions, [*directions, *directions], atol=1e-9)
    assert channels == list(range(1, 11))
    assert table.scans.tolist() == [1] * 5 + [2] * 5
    assert table.source == f"{name}, high.bval"


def test_given_tables_come_before_those_beside(directions, tmp_path):
    headers = [volumes(tmp_path / "low.nii.gz", 5), volumes(tmp_path / "t2.nii.gz", 1), volumes(tmp_path / "high.nii", 5)]
    write_fsl(tmp_path / "low.bval", B_VALUES, directions)
    given = [write_fsl(tmp_path / "given" / f"{name}.bval", factor * B_VALUES, directions) for name, factor in (("a", 2), ("b", 3))]
    low, high = ([Channel(f"{part}{i}", 1.0) for i in range(5)] for part in "lh")
    protocol = MRProtocol((*low, Channel("t2"), *high))
    table, channels = gradients_of(headers, protocol, given)
    np.testing.assert_allclose(table.b_values, [*2 * B_VALUES, *3 * B_VALUES])
    assert channels == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    with pytest.raises(
        SubjectError, match=r"expected 2 gradient tables, one for each of low\.nii\.gz, high\.nii, found 1; give --gradients"
    ):
        gradients_of(headers, protocol, given[:1])
    alone, channels = gradients_of(headers[:1], None, given[:1])
    assert (len(alone), channels) == (5, [0, 1, 2, 3, 4])


def test_the_protocol_stands_in_with_a_warning(study):
    headers = read_headers(find_subject(study / "subject01"), MRH_NET)["image"]
    with pytest.warns(
        MRHWarning, match="subject01: no gradient table beside the images; the b-values and directions of the protocol are used"
    ):
        table, channels = gradients_of(headers, MRH_NET)
    expected = np.array(SHELL_2000 + SHELL_5000)
    np.testing.assert_array_equal(table.b_values, expected[:, 0])
    np.testing.assert_allclose(table.directions, expected[:, 1:], atol=2e-4)
    np.testing.assert_allclose(np.linalg.norm(table.directions[~table.unweighted], axis=1), 1, atol=1e-12)
    assert channels == list(range(64))
    assert table.scans.tolist() == [0] * 32 + [1] * 32
    assert table.source == "the protocol"


def test_wrong_counts_and_no_table_at_all(directions, tmp_path):
    headers = [volumes(tmp_path / "dwi.nii.gz", 6)]
    with pytest.raises(
        SubjectError, match=r"dwi\.nii\.gz: expected a gradient table for diffusion maps, found no table, and no b-values in the protocol"
    ):
        gradients_of(headers, None)
    with pytest.raises(SubjectError, match="found no table, and no b-values in the protocol"):
        gradients_of(headers, MRProtocol(tuple(Channel(f"c{i}") for i in range(6))))
    given = write_fsl(tmp_path / "other.bval", B_VALUES, directions)
    with pytest.raises(
        SubjectError,
        match=r"other\.bval: expected 6 b-values, one for each volume of dwi\.nii\.gz, found 5; give the gradient table of this scan",
    ):
        gradients_of(headers, None, [given])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "t.bval: expected a gradient table, found no such file; give ParaVision's `method` file, or a pair"),
        ({"t.bval": "0 1000"}, "found no t.bvec beside it"),
        ({"t.bvec": "0 1\n0 0\n0 0"}, "found no such file"),
        ({"t.bval": "0 1000 x", "t.bvec": "0 1\n0 0\n0 0"}, "expected a gradient table, found could not convert string 'x'"),
        ({"t.bval": "0 1000 1000 1000", "t.bvec": "0 1\n0 0\n0 0"}, r"found 4 b-values and directions of shape \(3, 2\)"),
        ({"t.bval": "0 1000", "t.bvec": "0 1\n0 0\n0"}, "expected a gradient table, found"),
        ({"t.bval": "0 -1000", "t.bvec": "0 1\n0 0\n0 0"}, "expected b-values of 0 or more and finite directions, found other numbers"),
        ({"t.bval": "nan 1000", "t.bvec": "0 1\n0 0\n0 0"}, "expected b-values of 0 or more and finite directions"),
        ({"t.bval": "0 1000", "t.bvec": "0 inf\n0 0\n0 0"}, "finite directions"),
        (
            {"t.bval": "0 1000", "t.bvec": "1 0\n0 0\n0 0"},
            "expected a direction for every weighted volume, found volume 1 without a direction",
        ),
    ],
)
def test_wrong_fsl_pairs(tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(SubjectError, match=message):
        read_gradients(tmp_path / "t.bval")


B2, DIR1 = "##$PVM_DwEffBval=( 2 )\n0 1000\n", "##$PVM_DwDir=( 1, 3 )\n1 0 0\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a gradient table, found no PVM_DwEffBval in it"),
        (DIR1, "found no PVM_DwEffBval in it"),
        (B2, "found no PVM_DwDir in it"),
        ("##$PVM_DwEffBval=( 3 )\n0 1000\n" + DIR1, r"found 2 numbers where PVM_DwEffBval says \[3\]"),
        (
            B2 + "##$PVM_DwDir=( 3, 3 )\n1 0 0 0 1 0 0 0 1\n",
            "found 2 effective b-values, but 0 unweighted volumes and 3 directions of 1 b-values",
        ),
        (B2 + "##$PVM_DwDir=( 1, 2 )\n1 0\n", "expected a gradient table, found"),
        (B2 + "##$PVM_DwDir=( 0, 3 )\n", "expected a direction for every weighted volume, found volume 1 without a direction"),
        ("##$PVM_DwEffBval=( 2 )\n0 <many>\n" + DIR1, "found could not convert string"),
        ("##$PVM_DwEffBval=( 3 )\n0 1000 2000\n" + DIR1, "expected a"),
    ],
)
def test_wrong_method_files(tmp_path, text, message):
    (tmp_path / "method").write_text(text)
    with pytest.raises(SubjectError, match=message):
        read_gradients(tmp_path / "method")


def test_a_folder_and_binary_nonsense_are_no_tables(tmp_path, rng):
    with pytest.raises(SubjectError, match="expected a gradient table, found a folder"):
        read_gradients(tmp_path)
    for name in ("x.bval", "x.bvec", "method"):
        (tmp_path / name).write_bytes(rng.bytes(500))
    for name in ("x.bval", "method"):
        with pytest.raises(SubjectError, match=rf"{name}: expected a gradient table, found"):
            read_gradients(tmp_path / name)


def method_text(b_values, directions):
    unweighted = len(b_values) - len(directions)
    rows = " ".join(f"{value:g}" for value in np.ravel(directions))
    numbers = f"##$PVM_DwEffBval=( {len(b_values)} )\n{' '.join(map(str, b_values))}\n##$PVM_DwDir=( {len(directions)}, 3 )\n{rows}\n"
    return f"##TITLE=Parameter List\n##$PVM_DwAoImages={unweighted}\n{numbers}##END=\n"


def test_tables_of_the_same_folder_go_where_they_fit(tmp_path, rng):
    directions = rng.normal(size=(6, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    shells = {"low": [0.0] + [1000.0] * 6, "high": [0.0] + [3000.0] * 6}
    channels = [Channel(f"{name}{i}", b) for name, values in shells.items() for i, b in enumerate(values)]
    headers = [volumes(tmp_path / f"{name}.nii.gz", 7) for name in shells]
    for name, values in shells.items():
        (tmp_path / f"scan_{name}_method").write_text(method_text([b * 1.05 for b in values], directions))
    (tmp_path / "t2_method").write_text("##TITLE=Parameter List\n##$PVM_EchoTime=50\n##END=\n")
    table, found = gradients_of(headers, MRProtocol(tuple(channels)))
    assert found == list(range(14))
    assert table.b_values.tolist() == [b * 1.05 for values in shells.values() for b in values]
    (tmp_path / "scan_low_method").unlink()
    with pytest.raises(
        SubjectError, match=r"low\.nii\.gz: expected one gradient table in its folder .* found 0 of scan_high_method, t2_method"
    ):
        gradients_of(headers, MRProtocol(tuple(channels)))


@pytest.mark.parametrize("length", [0.985, 2.0, 30.0])
def test_directions_of_a_protocol_are_treated_as_those_of_files(study, length):
    """Any length, and dummies on unweighted volumes, as in exports of other programs."""
    rows = [{**row, "direction": [length * number for number in row.get("direction", (1, 0, 0))]} for row in MRH_NET.to_rows()[:64]]
    headers = read_headers(find_subject(study / "subject01"), MRH_NET)["image"]
    protocol = MRProtocol.from_rows([*rows, *MRH_NET.to_rows()[64:]])
    with pytest.warns(MRHWarning, match="no gradient table"):
        found, expected = (gradients_of(headers, each)[0] for each in (protocol, MRH_NET))
    np.testing.assert_allclose(found.directions, expected.directions, atol=1e-9)


@pytest.mark.parametrize(
    ("b_name", "v_name"),
    [
        ("bvals", "bvecs"),
        ("BVALS", "BVECS"),
        ("dwi.BVAL", "dwi.BVEC"),
        ("dwi.Bval", "dwi.bvec"),
        ("dwi_bvals", "dwi_bvecs"),
        ("bval", "bvec"),
        ("bval1900.bval", "bval1900.bvec"),
        ("dwi.bval", "dwi.bvecs"),
    ],
)
def test_the_names_that_programs_give_to_a_pair(directions, tmp_path, b_name, v_name):
    np.savetxt(tmp_path / b_name, B_VALUES[None])
    np.savetxt(tmp_path / v_name, directions.T)
    (tmp_path / f"._{b_name}").write_bytes(b"a twin of macOS")
    for name in (b_name, v_name):
        table = read_gradients(tmp_path / name)
        np.testing.assert_allclose(table.b_values, B_VALUES)
        np.testing.assert_allclose(table.directions, directions)
    found, channels = gradients_of([volumes(tmp_path / "dwi.nii.gz", 5)], None)
    np.testing.assert_allclose(found.directions, directions)
    assert (found.source, channels) == (b_name, [0, 1, 2, 3, 4])


def test_tables_with_a_byte_order_mark(directions, tmp_path):
    path = write_fsl(tmp_path / "dwi.bval", B_VALUES, directions.T)
    for file in (path, path.with_suffix(".bvec")):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    np.testing.assert_allclose(read_gradients(path).directions, directions)


@pytest.mark.parametrize(
    "lengths", [[1, 0.5, 0.5, 0.5, 0.5], [1, 0.9, 0.01, 0.3, 2e3], [1, *np.sqrt(B_VALUES[1:] / 2500)], [1, 1.001, 1, 1, 1]]
)
def test_directions_of_any_length_are_the_same_directions(directions, tmp_path, lengths):
    scaled = directions * np.array(lengths)[:, None]
    scaled[0] = [0.3, 0.4, 0.5]  # a dummy vector of the unweighted volume
    table = read_gradients(write_fsl(tmp_path / "dwi.bval", B_VALUES, scaled.T))
    np.testing.assert_allclose(table.directions, directions, atol=1e-12)


@pytest.mark.parametrize("length", [0.0, 1e-4])
def test_a_weighted_volume_without_a_direction_is_refused(directions, tmp_path, length):
    directions[3] *= length
    with pytest.raises(SubjectError, match="dwi.bval: expected a direction for every weighted volume, found volume 3 without a direction"):
        read_gradients(write_fsl(tmp_path / "dwi.bval", B_VALUES, directions.T))
