"""The MONAI Label app over HTTP: a real server, whose results must be those of `monai.bundle run` to the bit."""

import gzip
import io
import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import nibabel
import numpy as np
import pytest

from helpers.paths import ROOT
from helpers.subjects import write_nifti

pytest.importorskip("monailabel", reason="MONAI Label has an environment of its own: make test-label")

import requests

from helpers.label_server import APP, IMAGES, OBLIQUE, assert_same, infer, sentence, start, volume
from helpers.random_weights import save_random_weights
from mrh_monai.errors import MRHError

pytestmark = pytest.mark.label


def test_bundles_with_weights_are_models(server):
    info = requests.get(f"{server}/info/", timeout=30).json()
    assert sorted(info["models"]) == ["mrh_af", "mrh_mbp", "mrh_nf"]
    model = info["models"]["mrh_nf"]
    assert (model["type"], model["labels"], model["dimension"]) == ("others", {}, 3)
    assert "neurofilament" in model["description"]
    assert (model["config"]["device"][0], model["config"]["precision"][0], model["config"]["slices"]) == ("auto", "float32", "")
    assert info["trainers"] == {}


def test_an_image_is_all_that_a_subject_has(server):
    listed = requests.get(f"{server}/datastore/", timeout=30).json()
    assert listed["images"] == ["short", "split", "stack", "subject03", "subject04"]
    assert listed["total"] == 5
    assert sorted(requests.get(f"{server}/datastore/?output=all", timeout=30).json()["objects"]) == listed["images"]


@pytest.mark.parametrize("image", IMAGES)
def test_results_are_those_of_the_bundle_to_the_bit(server, expected, image):
    found = infer(server, "mrh_af", image)
    assert np.asanyarray(found.dataobj).any()
    assert_same(found, expected["af", image])


def test_affines_are_the_images_own(server):
    np.testing.assert_allclose(infer(server, "mrh_nf", "stack").affine, OBLIQUE, atol=1e-6)


def test_options_of_a_request_are_the_bundles(server, expected):
    found = infer(server, "mrh_af", "stack", slices="2:4", device="cpu", precision="tf32")
    assert_same(found, expected["sliced", "stack"])
    told = infer(server, "mrh_af", "split", "json", slices="", device=None).json()
    assert (told["subject"], told["stain"], told["device"], told["slices"], told["warnings"]) == ("mouse12", "af", "auto", None, [])
    assert told["interval_width"] > 0
    assert told["intervals"].startswith(f"with intervals, {told['interval_width']:.3g} wide on average: made to hold 90%")


def test_two_requests_at_once_are_both_right(server, expected):
    asked = [("af", "subject04"), ("nf", "stack"), ("nf", "split"), ("af", "stack")]
    with ThreadPoolExecutor(4) as at_once:
        answers = list(at_once.map(lambda pair: infer(server, f"mrh_{pair[0]}", pair[1]), asked))
    for pair, found in zip(asked, answers, strict=True):
        assert_same(found, expected[pair])


@pytest.mark.parametrize(
    ("model", "image", "params", "status", "message"),
    [
        ("mrh_af", "nobody", {}, 404, "image 'nobody': expected an image of the datastore (short, split, "),
        ("mrh_af", "stack_mask", {}, 404, "found an unknown name; put the scan into "),
        ("mrh_af", "../scans/stack.nii.gz", {}, 404, "found an unknown name"),
        ("mrh_af", str(ROOT), {}, 404, "found an unknown name"),
        ("untrained", "stack", {}, 404, "model 'untrained': expected one of mrh_af, mrh_mbp, mrh_nf, found an unknown name"),
        ("mrh_af", "short", {}, 422, "67 channels"),
        ("mrh_af", "bare", {}, 422, "bare.nii.gz: expected its mask or its FA map beside it, as bare_mask.nii.gz or bare_fa.nii.gz"),
        ("mrh_af", "subject03", {}, 422, "expected one file rigidaffine_[Ll]ddm_t2MTONOFF.*, found no such file"),
        (
            "mrh_af",
            "stack",
            {"slice": "2:4"},
            422,
            "option slice: expected device, precision, slices, found an unknown option; did you mean sl",
        ),
        ("mrh_af", "stack", {"result_dtype": "uint8"}, 422, "results are float32 NIfTI files on the subject's grid"),
        ("mrh_af", "stack", {"slices": "4:2"}, 422, "slices: expected ranges such as 0:13,17:30, found 4:2"),
        ("mrh_af", "stack", {"device": "abacus"}, 422, "device: expected auto, cpu, cuda or cuda:N, found 'abacus'"),
        ("mrh_af", "stack", {"device": "cuda:99"}, 422, "device: expected the device cuda:99, found "),
        ("mrh_af", "stack", {"precision": "float16"}, 422, "precision: expected float32, tf32, bf16, auto, found 'float16'"),
        ("mrh_af", "stack", {"save_label": True, "label_tag": "../../evil"}, 422, "label_tag: expected letters, digits, - and _"),
        ("mrh_af", "stack", {"save_label": True, "label_tag": 5}, 422, "label_tag: expected letters, digits, - and _, found 5"),
        ("mrh_af", "stack", {"save_label": "perhaps"}, 422, "save_label: expected True or False"),
    ],
)
def test_what_cannot_be_predicted_is_said_and_the_server_lives_on(server, expected, model, image, params, status, message):
    assert message in sentence(infer(server, model, image, **params), status)
    assert_same(infer(server, "mrh_nf", "subject04"), expected["nf", "subject04"])


def test_stains_of_an_image_are_kept_as_labels_side_by_side(server, expected):
    for model in ("mrh_af", "mrh_nf"):
        infer(server, model, "split", save_label=True)
    assert requests.get(f"{server}/datastore/", timeout=30).json()["label_tags"] == {"mrh_af": 1, "mrh_nf": 1}
    for stain in ("af", "nf"):
        kept = requests.get(f"{server}/datastore/label", params={"label": "split", "tag": f"mrh_{stain}"}, timeout=30)
        assert_same(volume(kept), expected[stain, "split"])
    info = requests.get(f"{server}/datastore/label/info", params={"label": "split", "tag": "mrh_nf"}, timeout=30).json()
    assert (info["model"], info["params"]["stain"]) == ("mrh_nf", "nf")


def test_a_volume_of_ones_own_is_kept_as_a_label(server, expected):
    content = gzip.compress(expected["af", "stack"].to_bytes())

    def put(image, name):
        query = {"image": image, "tag": "mine"}
        return requests.put(f"{server}/datastore/label", params=query, files={"label": (name, io.BytesIO(content))}, timeout=30)

    assert put("stack", "corrected.nii.gz").json() == {"image": "stack", "label": "stack"}
    kept = requests.get(f"{server}/datastore/label", params={"label": "stack", "tag": "mine"}, timeout=30)
    assert_same(volume(kept), expected["af", "stack"])
    assert "expected an image of the datastore" in sentence(put("nobody", "corrected.nii.gz"), 404)
    assert "label: expected a volume" in sentence(put("stack", "corrected.txt"), 422)
    requests.delete(f"{server}/datastore/label", params={"id": "stack", "tag": "mine"}, timeout=30).raise_for_status()
    assert "mine" not in requests.get(f"{server}/datastore/", timeout=30).json()["label_tags"]


def test_many_images_are_predicted_two_at_a_time(server, expected):
    """In threads of the server; what cannot be predicted stays behind alone."""
    query, params = {"images": "all", "run_sync": True}, {"max_workers": 2, "label_tag": "original"}
    done = requests.post(f"{server}/batch/infer/mrh_mbp", params=query, json=params, timeout=120).json()
    assert sorted(done) == ["short", "split", "stack", "subject03", "subject04"]
    assert "67 channels" in done["short"]["error"]
    assert "expected one file rigidaffine_" in done["subject03"]["error"]
    for image in IMAGES:
        assert done[image]["tag"] == "mrh_mbp"
        kept = requests.get(f"{server}/datastore/label", params={"label": image, "tag": "mrh_mbp"}, timeout=30)
        assert_same(volume(kept), infer(server, "mrh_mbp", image))


def test_a_scan_that_came_later_is_found(server, scans, expected):
    for kind in (".nii.gz", "_mask.nii.gz"):
        shutil.copy(scans / f"stack{kind}", scans / f"later{kind}")
    try:
        assert "later" in requests.get(f"{server}/datastore/", timeout=30).json()["images"]
        assert_same(infer(server, "mrh_af", "later"), expected["af", "stack"])
        shutil.copy(scans / "stack.nii.gz", scans / "later.nii")
        assert "expected one scan named later, found later.nii and later.nii.gz" in sentence(infer(server, "mrh_af", "later"), 422)
        manifest = {"image": "later.nii.gz", "mask": "later_mask.nii.gz"}
        (scans / "later.mrh.json").write_text(json.dumps(manifest))
        assert_same(infer(server, "mrh_af", "later"), expected["af", "stack"])
    finally:
        for path in scans.glob("later*"):
            path.unlink()
    assert "later" not in requests.get(f"{server}/datastore/", timeout=30).json()["images"]


def test_what_looks_wrong_is_said_to_the_client(server, scans):
    voxels = np.asanyarray(nibabel.load(scans / "stack.nii.gz").dataobj)
    write_nifti(scans / "swapped.nii.gz", voxels[..., [*range(65), 66, 65]], OBLIQUE)
    shutil.copy(scans / "stack_mask.nii.gz", scans / "swapped_mask.nii.gz")
    try:
        (warning,) = infer(server, "mrh_af", "swapped", "json").json()["warnings"]
        assert "MT on is brighter than MT off" in warning
    finally:
        for path in scans.glob("swapped*"):
            path.unlink()


def test_scans_are_neither_taken_in_nor_removed(server, scans):
    upload = {"file": ("new.nii.gz", io.BytesIO((scans / "stack.nii.gz").read_bytes()))}
    assert "expected scans in its folder" in sentence(requests.put(f"{server}/datastore/", files=upload, timeout=30), 422)
    assert "delete it from" in sentence(requests.delete(f"{server}/datastore/", params={"id": "subject04"}, timeout=30), 422)
    assert (scans / "subject04" / "Masked_outline.img").is_file()
    upload = {"file": ("new.nii.gz", io.BytesIO((scans / "stack.nii.gz").read_bytes()))}
    assert "expected an image of the datastore" in sentence(requests.post(f"{server}/infer/mrh_af", files=upload, timeout=30), 404)


def test_labels_stay_in_their_folder(server, scans, tmp_path):
    """Neither is a scan written over, nor removed, nor anything written elsewhere, whatever is asked for as tag or label."""
    before = {path: path.read_bytes() for path in scans.parent.rglob("*.nii.gz") if "labels" not in path.parts}
    for tag in ("..", "../..", "/x", "a/b", ""):
        with (scans / "stack.nii.gz").open("rb") as file:
            query = {"image": "split", "tag": tag}
            answer = requests.put(f"{server}/datastore/label", params=query, files={"label": ("l.nii.gz", file)}, timeout=60)
        assert tag == "" or "label_tag: expected letters" in sentence(answer, 422)
        for name in ("stack", "../stack", "../../stack"):
            answer = requests.delete(f"{server}/datastore/label", params={"id": name, "tag": tag or ".."}, timeout=60)
            assert answer.status_code in (404, 422), answer.text
    assert {path: path.read_bytes() for path in scans.parent.rglob("*.nii.gz") if "labels" not in path.parts} == before


def test_weights_are_checked_for_every_request(server, bundles):
    bundle = bundles / "mrh_mbp"
    before = np.asanyarray(infer(server, "mrh_mbp", "stack").dataobj)
    weights = (bundle / "models" / "model.pt").read_bytes()
    (bundle / "models" / "model.pt").write_bytes((bundles / "mrh_af" / "models" / "model.pt").read_bytes())
    assert "expected the weights that model.json describes" in sentence(infer(server, "mrh_mbp", "stack"), 500)
    (bundle / "models" / "model.pt").write_bytes(weights)
    np.testing.assert_array_equal(infer(server, "mrh_mbp", "stack").dataobj, before)
    save_random_weights(bundle, seed=77)
    assert not np.array_equal(infer(server, "mrh_mbp", "stack").dataobj, before)


def test_without_a_bundle_the_server_ends_with_one_sentence(scans, tmp_path):
    (tmp_path / "empty").mkdir()
    process, _ = start(tmp_path / "app", scans, tmp_path / "log", "--conf", "bundles", tmp_path / "empty")
    try:
        assert process.wait(120) != 0
    finally:
        process.kill()
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log
    told = [
        line
        for line in log.splitlines()
        if "expected a folder with a bundle in it, found no bundle in it; give --conf bundles FOLDER" in line
    ]
    assert len(told) == 1


@pytest.fixture
def app(monkeypatch):
    """The app's class, loaded as MONAI Label does."""
    from monailabel.utils.others.class_utils import get_class_of_subclass_from_file

    return get_class_of_subclass_from_file("main", str(APP / "main.py"), "MONAILabelApp")


def test_models_can_be_chosen(app, bundles, tmp_path):
    assert list(app(str(APP), str(tmp_path), {"bundles": str(bundles), "models": "mrh_nf, mrh_af"}).info()["models"]) == [
        "mrh_nf",
        "mrh_af",
    ]
    assert list(app(str(APP), str(tmp_path), {"bundles": str(bundles / "mrh_nf")}).info()["models"]) == ["mrh_nf"]


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"models": "untrained,mrh_af"}, "untrained/models/model.pt: expected trained weights, found no such file; train the bundle first"),
        ({"bundles": "untrained"}, "untrained/models/model.pt: expected trained weights, found no such file; train the bundle first"),
        ({"models": "mrh_xx"}, "--conf models: expected some of mrh_af, mrh_mbp, mrh_nf, untrained, found 'mrh_xx'"),
        ({"bundle": "x"}, "--conf bundle: expected bundles or models, found an unknown name; did you mean bundles"),
        ({"bundles": "nowhere"}, "nowhere: expected a folder with a bundle in it, found no such folder"),
    ],
)
def test_an_app_that_cannot_start_says_why(app, bundles, tmp_path, conf, message):
    with pytest.raises(MRHError, match=message.replace("-", r"\-")):
        app(str(APP), str(tmp_path), {**conf, "bundles": str(bundles / conf.get("bundles", ""))})


def test_what_has_no_weights_is_left_out_by_name(app, bundles, tmp_path, caplog):
    app(str(APP), str(tmp_path), {"bundles": str(bundles)})
    assert "untrained is left out: " in caplog.text
    assert "expected trained weights, found no such file; train the bundle first" in caplog.text


def test_a_server_address_is_no_folder_of_scans(app, bundles):
    with pytest.raises(MRHError, match="--studies: expected a folder of scans, found http"):
        app(str(APP), "http://127.0.0.1:1", {"bundles": str(bundles)})
