"""Networks from MATLAB: read exactly and put into a bundle."""

import json

import numpy as np
import pytest
import torch

from helpers.matlab_files import forward, mrh_net, stored_graph, write_network
from mrh_monai.data.input_kinds import load_subject
from mrh_monai.errors import CheckpointError, OptionError, root_cause
from mrh_monai.inference.voxelwise import predict_volume
from mrh_monai.matlab.network_export import released_layer_names
from mrh_monai.matlab.network_import import import_from_matlab, read_mrh_network, training_summary
from mrh_monai.network.checkpoint import load_network
from mrh_monai.network.mrh_net import MRHNet
from mrh_monai.network.sidecar import read_sidecar
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.subjects.subject_search import find_subject

pytestmark = pytest.mark.usefixtures("undo_hooks")

RELEASED_NETWORKS = {5: "net_5layerV3Res_HRJG_allMRIs_Fluo.mat", 10: "net_10layerV3Res_HRJG_allMRIs_Fluo.mat"}


def built(read) -> MRHNet:
    network = MRHNet(read.channels, read.features, read.residual_blocks)
    network.load_state_dict(read.state)
    return network.eval()


def run(network: MRHNet, patches: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return network(torch.from_numpy(patches.astype(np.float32)).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("version", ["v7", "v7.3"])
@pytest.mark.parametrize(("kind", "blocks"), [("DAGNetwork", 3), ("dlnetwork", 2), ("SeriesNetwork", 0)])
def test_reads_depth_channels_and_features_and_computes_the_same(tmp_path, rng, kind, blocks, version):
    graph = mrh_net(blocks, channels=6, features=5)
    read = read_mrh_network(write_network(tmp_path / "net.mat", *graph, kind, version))
    assert (read.residual_blocks, read.channels, read.features, read.matlab_class) == (blocks, 6, 5, kind)
    assert list(read.layer_names) == released_layer_names(blocks)
    patches = rng.uniform(0, 1, (200, 3, 3, 6))
    np.testing.assert_allclose(run(built(read), patches), forward(*graph, patches), rtol=0, atol=1e-5)


def test_transfer_learned_networks_are_read_whatever_the_order_of_their_layers(tmp_path, rng):
    layers, connections = mrh_net(2, 4, 3, head=("new_Conv4", "new_Conv5"))
    moved = [layers[i] for i in rng.permutation(len(layers))]
    read = read_mrh_network(write_network(tmp_path / "net.mat", moved, list(reversed(connections))))
    assert read.layer_names[-2:] == ("new_Conv4", "new_Conv5")
    patches = rng.uniform(0, 1, (20, 3, 3, 4))
    np.testing.assert_allclose(run(built(read), patches), forward(layers, connections, patches), rtol=0, atol=1e-5)


def test_the_table_of_learnables_stands_in_for_weights_in_the_layers(tmp_path):
    graph = mrh_net(1, 4, 3)
    whole = read_mrh_network(write_network(tmp_path / "whole.mat", *graph, "dlnetwork"))
    apart = read_mrh_network(write_network(tmp_path / "apart.mat", *graph, "dlnetwork", learnables=True))
    assert all(torch.equal(whole.state[key], apart.state[key]) for key in whole.state)


# ---------------------------------------------------------------- into a bundle


def full(tmp_path, blocks=1, channels=67, **options):
    return write_network(tmp_path / "trained" / "net_own.mat", *mrh_net(blocks, channels, 8), **options)


def test_import_fills_the_bundle_and_says_where_the_network_came_from(tmp_path, bundle_copy):
    path = full(tmp_path)
    written = import_from_matlab(path, bundle_copy, target_max=255)
    network, sidecar = load_network(bundle_copy / "models" / "model.pt", MRH_NET.names)
    assert sidecar == written
    assert (sidecar.residual_blocks, sidecar.features, len(sidecar.channels), sidecar.stain) == (1, 8, 67, "af")
    assert (sidecar.scaling.mode, sidecar.scaling.target_max, sidecar.units) == ("published", 255, "8-bit autofluorescence")
    lineage = json.loads((bundle_copy / "models" / "model.json").read_text())["source"]
    assert lineage["imported"]["file"] == "net_own.mat"
    assert len(lineage["imported"]["sha256"]) == 64
    assert lineage["final_rmse"] == pytest.approx(0.3)
    assert lineage["curve"]["iterations"] == 1000
    assert len(lineage["curve"]["rmse"]) == 200
    assert lineage["curve"]["rmse"][0] == pytest.approx(np.linspace(1.5, 0.3, 1000)[:5].mean(), rel=1e-3)
    assert "72331" in lineage["citation"]
    assert sorted(path.name for path in (bundle_copy / "models").iterdir()) == ["model.json", "model.pt"]
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), read_mrh_network(path).state.values(), strict=True))


def test_without_the_targets_maximum_predictions_stay_scaled_and_say_so(tmp_path, bundle_copy):
    sidecar = import_from_matlab(full(tmp_path, info=False), bundle_copy)
    assert (sidecar.scaling.target_max, sidecar.units) == (1.0, "largest af of its training = 1")
    assert "final_rmse" not in sidecar.source


def test_a_failed_import_leaves_the_bundle_as_it_was(tmp_path, bundle_copy):
    import_from_matlab(full(tmp_path), bundle_copy)
    before = {path: path.read_bytes() for path in (bundle_copy / "models").iterdir()}
    other = write_network(tmp_path / "other.mat", *mrh_net(1, 42, 8))
    with pytest.raises(CheckpointError, match=r"other.mat: expected 67 channels as .*mrh_af has, found 42"):
        import_from_matlab(other, bundle_copy)
    for target_max in (0, -1, float("nan")):
        with pytest.raises(OptionError, match="target_max: expected a positive number"):
            import_from_matlab(full(tmp_path), bundle_copy, target_max)
    assert {path: path.read_bytes() for path in (bundle_copy / "models").iterdir()} == before
    with pytest.raises(OptionError, match="expected a bundle folder, found no such folder"):
        import_from_matlab(full(tmp_path), tmp_path / "nothing")


def test_a_broken_config_of_the_bundle_is_one_sentence(tmp_path, bundle_copy):
    for content in (b"a: [", b"\xff\xfe"):
        (bundle_copy / "configs" / "train.yaml").write_bytes(content)
        with pytest.raises(OptionError, match="train.yaml: expected a config in YAML or JSON"):
            import_from_matlab(full(tmp_path), bundle_copy)


def test_missing_library_is_a_pip_hint(tmp_path, monkeypatch):
    path = full(tmp_path)

    def without(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("importlib.import_module", without)
    with pytest.raises(OptionError, match=r"the library matio: expected an installed library.*pip install 'mrh-monai\[matlab\]'"):
        read_mrh_network(path)


def test_curve_of_a_short_or_broken_record():
    assert training_summary({}) == {}
    assert training_summary({"TrainingRMSE": np.array([1.0, np.nan])}) == {}
    curve = training_summary({"TrainingRMSE": np.array([np.nan, 2.0, 1.0]), "TrainingLoss": np.ones(2)})
    assert curve["final_rmse_mean"] == 1.5
    assert json.loads(json.dumps(training_summary({"TrainingRMSE": np.array([1e308, 1e308, 1.0])}), allow_nan=False))
    assert training_summary({"TrainingRMSE": np.array([1e308])}) == {}
    assert curve["curve"] == {"iterations": 3, "iterations_per_point": 1, "rmse": [None, 2.0, 1.0]}


# ---------------------------------------------------------------- the published networks


@pytest.fixture(params=RELEASED_NETWORKS)
def published(request, shared):
    return request.param, shared / "mouse_kit" / "published" / RELEASED_NETWORKS[request.param]


def test_published_networks_equal_the_layer_lists_own_arithmetic(published, rng):
    blocks, path = published
    read = read_mrh_network(path)
    assert (read.residual_blocks, read.channels, read.features) == (blocks, 67, 64)
    graph = stored_graph(path)
    for patches in (rng.uniform(0, 1, (500, 3, 3, 67)), rng.normal(0, 1, (100, 3, 3, 67))):
        np.testing.assert_allclose(run(built(read), patches), forward(*graph, patches), rtol=0, atol=1e-5)


def test_published_training_ended_as_its_record_says(published, bundle_copy):
    blocks, path = published
    source = import_from_matlab(path, bundle_copy).source
    assert source["final_rmse_mean"] == pytest.approx({5: 0.326, 10: 0.311}[blocks], abs=6e-4)
    assert source["curve"]["iterations"] == 20526


def test_published_networks_on_a_subject_equal_the_oracle(published, kit_subject, bundle_copy, rng):
    _, path = published
    import_from_matlab(path, bundle_copy)
    network, sidecar = load_network(bundle_copy / "models" / "model.pt", MRH_NET.names)
    loaded = load_subject(find_subject(kit_subject), MRH_NET)
    support = sidecar.scaling.support(loaded.mask, sidecar.patch)
    coefficients = sidecar.scaling.coefficients(loaded, support)
    predicted = predict_volume(network, loaded.slabs, support, coefficients).numpy()
    image = loaded.image.astype(np.float64)
    inside = loaded.mask.copy()
    inside[[0, -1]], inside[:, :, [0, -1]] = False, False
    largest = image[inside].max()
    voxels = np.argwhere(inside)
    chosen = voxels[rng.choice(len(voxels), 400, replace=False)]
    patches = np.stack([image[x - 1 : x + 2, y, z - 1 : z + 2] for x, y, z in chosen]) / largest
    expected = forward(*stored_graph(path), patches)[:, 1, 1, 0]
    np.testing.assert_allclose(predicted[tuple(chosen.T)], expected, rtol=0, atol=1e-5)
    assert not predicted[~inside].any()


def test_bundle_and_command_need_no_flag_after_an_import(published, kit_subject, bundle_copy, tmp_path):
    import nibabel

    from helpers.bundle_runs import bundle_run
    from mrh_monai.inference.predictor import predict

    blocks, path = published
    import_from_matlab(path, bundle_copy)
    predict(bundle_copy, kit_subject).save(tmp_path / "af.nii.gz")
    entry = {
        "subject": "one",
        "image": [str(file) for file in find_subject(kit_subject).image],
        "mask": str(kit_subject / "Masked_outline.img"),
    }
    (tmp_path / "list.json").write_text(json.dumps({"test": [entry]}))
    bundle_run(bundle_copy, "inference.yaml", datalist=str(tmp_path / "list.json"), output_dir=str(tmp_path / "out"))
    one, other = (np.asarray(nibabel.load(file).dataobj) for file in (tmp_path / "af.nii.gz", tmp_path / "out" / "one" / "one_af.nii.gz"))
    np.testing.assert_array_equal(one, other)
    assert read_sidecar(bundle_copy / "models" / "model.pt").residual_blocks == blocks
    with pytest.raises(RuntimeError) as raised:
        bundle_run(
            bundle_copy, "inference.yaml", datalist=str(tmp_path / "list.json"), output_dir=str(tmp_path / "out"), residual_blocks=30
        )
    assert f"expected residual_blocks = 30 as asked for, found residual_blocks = {blocks}" in str(root_cause(raised.value))
