"""Every verb that writes: a file that it reads is never replaced, and a file of another origin only with --overwrite."""

import json
import shutil

import nibabel
import numpy as np
import pytest

from helpers.bundle_runs import bundle_run
from helpers.patch_file_writing import write_patch_file
from mrh_monai.errors import OutputError, root_cause
from mrh_monai.inference import PredictionOptions, predict
from mrh_monai.io import write_nifti

FOREIGN, INPUT = "expected a free name, or a file that the same command wrote", "expected an output that is not an input too"
BOTH = ("predict", "evaluate", "datalist", "reorder")


@pytest.fixture
def words(study_bundle, study, tmp_path):
    """For each verb its words, the name of an output, and a file that it reads under a name that an output can have."""
    work = tmp_path / "work"
    shutil.copytree(study, work)
    shutil.copytree(study_bundle, work / "mrh_af")
    bundle, subject = work / "mrh_af", work / "subject04"
    target, mask = subject / "targets" / "AF.img", subject / "Masked_outline.img"
    image = nibabel.load(mask)
    for name in ("mask", "target"):
        nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine), subject / f"{name}.nii")
    manifest = work / "s.mrh.json"
    images = [f"subject04/rigidaffine_{part}.img" for part in ("Lddm_dwi2000", "Lddm_dwi5000", "lddm_t2MTONOFF")]
    manifest.write_text(f'{{"image": {images}, "mask": "subject04/mask.nii"}}'.replace("'", '"'))
    (work / "layout.yaml").write_text("image: [rigidaffine_lddm_t2MTONOFF.img]\nmask: mask.nii\n")
    write_nifti(work / "af.nii", np.ones((6, 5, 4), np.float32), np.eye(4))
    patches = write_patch_file(work / "YPred.mat", YPred=np.ones((3, 3, 1, 15), np.float32), fa=np.ones((3, 3, 1, 15), np.uint8))
    shutil.copytree(subject, work / "few" / "m7")
    listing = ["datalist", work / "few", "--target", "target.nii", "--layout", work / "layout.yaml", "-o"]
    return {
        "predict": (["predict", bundle, manifest, "--device", "cpu", "-o"], "stain.nii.gz", subject / "mask.nii"),
        "evaluate": (["evaluate", target, target, "--mask", mask, "-o"], "scores.json", target),
        "datalist": (listing, "list.json", work / "few" / "m7" / "target.nii"),
        "export": (["export", bundle, "-o"], "net.ts", None),
        "export-matlab": (["export-matlab", bundle, "-o"], "net_af.mat", None),
        "pack": (["pack", bundle, "-o"], "af.zip", None),
        "recon": (["recon", patches, "--height", 7, "--width", 5, "-o"], "slices.nii.gz", None),
        "reorder": (["reorder", work / "af.nii", "--axes", "1,2,0", "-o"], "even.nii", work / "af.nii"),
    }


@pytest.mark.parametrize("verb", [*BOTH, "export", "export-matlab", "pack", "recon"])
def test_files_of_another_origin_stay_unless_it_is_asked(call, words, tmp_path, verb):
    typed, name, _ = words[verb]
    output = tmp_path / name
    output.write_bytes(b"mine")
    status, _, err = call(*typed, output)
    assert (status, FOREIGN in err, "--overwrite" in err) == (1, True, True)
    assert output.read_bytes() == b"mine"
    for more in (["--overwrite"], []):
        assert call(*typed, output, *more)[0] == 0
        assert output.read_bytes() != b"mine"


@pytest.mark.parametrize("verb", BOTH)
def test_a_file_that_is_read_is_never_replaced(call, words, tmp_path, verb):
    typed, _, output = words[verb]
    before = output.read_bytes()
    status, _, err = call(*typed, output, "--overwrite")
    assert (status, INPUT in err) == (1, True), err
    assert output.read_bytes() == before


def test_every_kind_of_file_that_is_read_is_known(call, words, tmp_path):
    """The other file of a pair, a layout, a manifest, weights, a datalist, and what a report shows."""
    work = tmp_path / "work"
    target, bundle = work / "subject04" / "targets" / "AF.img", work / "mrh_af"
    listed = work / "depth.txt"
    shutil.copy(work / "datalist.json", listed)
    metrics = work / "few" / "metrics.csv"
    metrics.write_text("epoch,train_loss,learning_rate,val_rmse,val_r2\n1,1,1,1,1\n")
    cases = [
        (["evaluate", target, target, "--mask", work / "subject04" / "Masked_outline.img", "-o"], target.with_suffix(".hdr")),
        (words["datalist"][0], work / "layout.yaml"),
        (words["predict"][0], work / "s.mrh.nii"),  # its record would be the manifest s.mrh.json
        (words["predict"][0], bundle / "models" / "model.nii"),  # its record would be the sidecar
        (["study", "depth", "--datalist", listed, "-o"], work),
        (["report", work / "few", "-o"], metrics),
    ]
    for typed, output in cases:
        before = {path: path.read_bytes() for path in work.rglob("*") if path.is_file() and path.name != ".mrh-sha256"}
        status, _, err = call(*typed, output, "--overwrite")
        assert (status, INPUT in err) == (1, True), (typed, err)
        assert before == {path: path.read_bytes() for path in before}


def test_a_prediction_in_memory_knows_what_it_was_made_from(words, tmp_path):
    work = tmp_path / "work"
    prediction = predict(work / "mrh_af", work / "s.mrh.json", options=PredictionOptions(device="cpu"))
    for path in (work / "s.mrh.nii", work / "mrh_af" / "models" / "model.nii.gz", work / "subject04" / "mask.nii"):
        with pytest.raises(OutputError, match=INPUT):
            prediction.save(path, overwrite=True)


@pytest.mark.parametrize("output", ["datalist", "another section's target", "report"])
def test_a_bundle_run_refuses_before_anything_is_computed(words, study_bundle, tmp_path, undo_hooks, output):
    work, out = tmp_path / "work", tmp_path / "work" / "out"
    content = json.loads((work / "datalist.json").read_text())
    place = out / "subject04"
    place.mkdir(parents=True)
    if output == "another section's target":
        nibabel.save(nibabel.load(work / "subject04" / "target.nii"), place / "subject04_af.nii.gz")
        content["training"][0]["target"] = str(place / "subject04_af.nii.gz")
    listed = place / "subject04_af.json" if output == "datalist" else work / "list.json"
    for section in content.values():
        for entry in section:
            entry["image"] = [str(work / name) for name in entry["image"]]
            entry |= {key: str(work / entry[key]) for key in ("mask", "fa")}
    listed.write_text(json.dumps(content))
    (out / "report.html").write_text("mine")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    options = {"datalist": str(listed), "output_dir": str(out), "device": "cpu", "overwrite": output != "report"}
    with pytest.raises(RuntimeError) as error:
        bundle_run(study_bundle, "inference.yaml", **options)
    assert (FOREIGN if output == "report" else INPUT) in str(root_cause(error.value))
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_a_phantom_is_checked_whole_before_its_first_subject(call, tmp_path):
    typed = ("phantom", tmp_path, "--subjects", 2, "--shape", 24, 3, 24)
    assert call(*typed)[0] == 0
    (tmp_path / "subject02" / "Masked_outline.img").write_bytes(b"mine")
    before = (tmp_path / "subject01" / "truth.npz").read_bytes()
    status, _, err = call(*typed[:-3], 28, 3, 24)
    assert (status, FOREIGN in err) == (1, True)
    assert (tmp_path / "subject01" / "truth.npz").read_bytes() == before


def test_a_subject_folder_of_another_origin_is_not_a_place_for_a_phantom(call, tmp_path):
    scan = tmp_path / "subject01" / "Masked_outline.img"
    scan.parent.mkdir()
    scan.write_bytes(b"mine")
    typed = ("phantom", tmp_path, "--subjects", 1, "--shape", 24, 3, 24)
    status, _, err = call(*typed)
    assert (status, FOREIGN in err, scan.read_bytes()) == (1, True, b"mine")
    assert [call(*typed, *more)[0] for more in (["--overwrite"], [])] == [0, 0]


def test_a_file_of_another_verb_is_of_another_origin(call, words, tmp_path):
    """`mrh evaluate -o datalist.json` would replace a datalist that `mrh datalist` wrote."""
    assert call(*words["datalist"][0], tmp_path / "list.json")[0] == 0
    status, _, err = call(*words["evaluate"][0], tmp_path / "list.json")
    assert (status, FOREIGN in err) == (1, True)
