"""Networks from MATLAB: read exactly, checked, put into a bundle, and written back."""

import json
import re

import numpy as np
import pytest
import scipy.io
import torch
from matlab_files import convolution, forward, mrh_net, row, stored_graph, write_network

from mrh_monai.checkpoint import load_network, read_sidecar
from mrh_monai.errors import CheckpointError, OptionError, OutputError, root_cause
from mrh_monai.loading import load_subject
from mrh_monai.matlab import import_network, read_network, training_curve
from mrh_monai.matlab_export import export_network, released_names
from mrh_monai.network import MRHNet
from mrh_monai.protocol import MRH_NET
from mrh_monai.subjects import find_subject
from mrh_monai.voxelwise import predict_volume

PUBLISHED = {5: "net_5layerV3Res_HRJG_allMRIs_Fluo.mat", 10: "net_10layerV3Res_HRJG_allMRIs_Fluo.mat"}


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
    read = read_network(write_network(tmp_path / "net.mat", *graph, kind, version))
    assert (read.residual_blocks, read.channels, read.features, read.matlab_class) == (blocks, 6, 5, kind)
    assert list(read.layer_names) == released_names(blocks)
    patches = rng.uniform(0, 1, (200, 3, 3, 6))
    np.testing.assert_allclose(run(built(read), patches), forward(*graph, patches), rtol=0, atol=1e-5)


def test_transfer_learned_networks_are_read_whatever_the_order_of_their_layers(tmp_path, rng):
    layers, connections = mrh_net(2, 4, 3, head=("new_Conv4", "new_Conv5"))
    moved = [layers[i] for i in rng.permutation(len(layers))]
    read = read_network(write_network(tmp_path / "net.mat", moved, list(reversed(connections))))
    assert read.layer_names[-2:] == ("new_Conv4", "new_Conv5")
    patches = rng.uniform(0, 1, (20, 3, 3, 4))
    np.testing.assert_allclose(run(built(read), patches), forward(layers, connections, patches), rtol=0, atol=1e-5)


def test_the_table_of_learnables_stands_in_for_weights_in_the_layers(tmp_path):
    graph = mrh_net(1, 4, 3)
    whole = read_network(write_network(tmp_path / "whole.mat", *graph, "dlnetwork"))
    apart = read_network(write_network(tmp_path / "apart.mat", *graph, "dlnetwork", learnables=True))
    assert all(torch.equal(whole.state[key], apart.state[key]) for key in whole.state)


# ---------------------------------------------------------------- other graphs


def rewired(connections, old, new):
    assert old in connections
    return [new if pair == old else pair for pair in connections if new is not None or pair != old]


def crossed(connections, one, other):
    swap = {one: (one[0], other[1]), other: (other[0], one[1])}
    return [swap.get(pair, pair) for pair in connections]


def changed(layers, name, **properties):
    assert any(layer["Name"] == name for layer in layers)
    return [{**layer, **properties} if layer["Name"] == name else layer for layer in layers]


def between(layers, connections, before, after, new):
    place = next(i for i, layer in enumerate(layers) if layer["Name"] == after)
    pairs = rewired(connections, (before, after), (before, new["Name"]))
    return [*layers[:place], new, *layers[place:]], [*pairs, (new["Name"], after)]


NAN = np.full((3, 3, 3, 3), np.nan, np.float32)
OTHERS = {
    "a missing skip": (
        lambda layers, pairs: (layers, rewired(pairs, ("ReLU2", "add11/in2"), None)),
        r"layer ReLU2: expected it to feed one Convolution2DLayer and one AdditionLayer, found Conv3 \(Convolution2DLayer\)",
    ),
    "a skip from before the ReLU": (
        lambda layers, pairs: (layers, rewired(pairs, ("ReLU2", "add11/in2"), ("Conv2", "add11/in2"))),
        r"layer Conv2: expected it to feed one ReLULayer, found ReLU2 \(ReLULayer\) and add11/in2 \(AdditionLayer\)",
    ),
    "skips that are crossed": (
        lambda layers, pairs: (layers, crossed(pairs, ("ReLU2", "add11/in2"), ("ReLU_out0", "add_loop1/in2"))),
        "layer add11: expected the outputs of ReLU2 and Conv3_1 added, found ReLU2 goes to add_loop1/in2",
    ),
    "a layer added to itself": (
        lambda layers, pairs: (layers, rewired(pairs, ("Conv3_1", "add11/in1"), ("Conv3_1", "add11/in2"))),
        "layer add11: expected the outputs of ReLU2 and Conv3_1 added",
    ),
    "a loop": (
        lambda layers, pairs: (layers, rewired(pairs, ("ReLU4", "Conv5"), ("ReLU4", "Conv1"))),
        "connection ReLU4 to Conv1: expected a way forward, found one back",
    ),
    "a layer aside": (
        lambda layers, pairs: ([*layers, {"kind": "ReLULayer", "Name": "lost"}], pairs),
        "layer lost: expected a layer on the way from input to output",
    ),
    "a missing ReLU": (
        lambda layers, pairs: (
            [layer for layer in layers if layer["Name"] != "ReLU4"],
            [*(pair for pair in pairs if "ReLU4" not in pair), ("Conv4", "Conv5")],
        ),
        "layer Conv4: expected it to feed one ReLULayer, found Conv5",
    ),
    "another activation": (
        lambda layers, pairs: (changed(layers, "ReLU1", kind="TanhLayer"), pairs),
        "layer ReLU1: expected a layer that MRH-Net has, found a TanhLayer",
    ),
    "a normalisation layer": (
        lambda layers, pairs: between(layers, pairs, "Conv1", "ReLU1", {"kind": "BatchNormalizationLayer", "Name": "norm"}),
        "layer norm: expected a layer that MRH-Net has, found a BatchNormalizationLayer",
    ),
    "one convolution more": (
        lambda layers, pairs: between(layers, pairs, "Conv1", "ReLU1", convolution("extra", 3, 3, np.random.default_rng(0))),
        r"layer Conv1: expected it to feed one ReLULayer, found extra \(Convolution2DLayer\)",
    ),
    "5x5 filters": (lambda layers, pairs: (changed(layers, "Conv3", FilterSize=row(5, 5)), pairs), r"FilterSize \[3 3\], found \[5 5\]"),
    "a stride": (
        lambda layers, pairs: (changed(layers, "Conv4", Stride=row(2, 2)), pairs),
        r"Conv4: expected Stride \[1 1\], found \[2 2\]",
    ),
    "a dilation": (
        lambda layers, pairs: (changed(layers, "Conv2", DilationFactor=row(1, 2)), pairs),
        r"Conv2: expected DilationFactor \[1 1\], found \[1 2\]",
    ),
    "no padding": (
        lambda layers, pairs: (changed(layers, "Conv2", PaddingMode="manual", PaddingSize=row(0, 0, 0, 0)), pairs),
        r"Conv2: expected PaddingSize \[1 1 1 1\], found \[0 0 0 0\]",
    ),
    "padding by ones": (
        lambda layers, pairs: (changed(layers, "Conv2", PaddingValue=row(1)), pairs),
        r"Conv2: expected PaddingValue \[0\], found \[1\]",
    ),
    "larger patches": (
        lambda layers, pairs: (changed(layers, "InputLayer", InputSize=row(5, 5, 4)), pairs),
        r"InputSize \[3 3 4\], found \[5 5 4\]",
    ),
    "a normalised input": (
        lambda layers, pairs: (changed(layers, "InputLayer", Normalization="zerocenter"), pairs),
        "layer InputLayer: expected no normalisation of the input, found zerocenter",
    ),
    "two outputs": (
        lambda layers, pairs: (changed(layers, "Conv5", NumFilters=row(2), Weights=np.zeros((3, 3, 3, 2), np.float32)), pairs),
        r"Conv5: expected NumFilters \[1\], found \[2\]",
    ),
    "weights of another shape": (
        lambda layers, pairs: (changed(layers, "Conv2", Weights=np.zeros((3, 3, 3, 4), np.float32)), pairs),
        r"Conv2: expected Weights of shape \(3, 3, 3, 3\), found \(3, 3, 3, 4\)",
    ),
    "NaN weights": (
        lambda layers, pairs: (changed(layers, "Conv2", Weights=NAN), pairs),
        "Conv2: expected numbers in Weights, found 81 NaN",
    ),
    "an untrained layer": (
        lambda layers, pairs: (changed(layers, "Conv2", Weights=np.zeros((0, 0), np.float32)), pairs),
        "Conv2: expected trained Weights",
    ),
    "one name twice": (lambda layers, pairs: (changed(layers, "Conv2", Name="Conv1"), pairs), "under different names, found Conv1 twice"),
    "a cell where numbers belong": (
        lambda layers, pairs: (changed(layers, "Conv2", Stride=np.array([[1], [1]], object)), pairs),
        r"Conv2: expected Stride \[1 1\], found a ndarray",
    ),
    "a text where numbers belong": (
        lambda layers, pairs: (changed(layers, "Conv1", NumChannels="four"), pairs),
        "Conv1: expected NumChannels as a whole number, found four",
    ),
    "an addition of three": (
        lambda layers, pairs: (changed(layers, "add11", NumInputs=row(3)), pairs),
        r"layer add11: expected NumInputs \[2\], found \[3\]",
    ),
    "a connection to nowhere": (
        lambda layers, pairs: (layers, [*pairs, ("Conv1", "gone")]),
        "connection Conv1 to gone: expected layers of the network, found no gone",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_graph_is_refused_with_the_first_difference_named(tmp_path, name):
    change, message = OTHERS[name]
    path = write_network(tmp_path / "net.mat", *change(*mrh_net(2, 4, 3)))
    with pytest.raises(CheckpointError, match=message):
        read_network(path)


# ---------------------------------------------------------------- into a bundle


def full(tmp_path, blocks=1, channels=67, **options):
    return write_network(tmp_path / "trained" / "net_own.mat", *mrh_net(blocks, channels, 8), **options)


def test_import_fills_the_bundle_and_says_where_the_network_came_from(tmp_path, bundle_copy):
    path = full(tmp_path)
    written = import_network(path, bundle_copy, target_max=255)
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
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), read_network(path).state.values(), strict=True))


def test_without_the_targets_maximum_predictions_stay_scaled_and_say_so(tmp_path, bundle_copy):
    sidecar = import_network(full(tmp_path, info=False), bundle_copy)
    assert (sidecar.scaling.target_max, sidecar.units) == (1.0, "largest af of its training = 1")
    assert "final_rmse" not in sidecar.source


def test_a_failed_import_leaves_the_bundle_as_it_was(tmp_path, bundle_copy):
    import_network(full(tmp_path), bundle_copy)
    before = {path: path.read_bytes() for path in (bundle_copy / "models").iterdir()}
    other = write_network(tmp_path / "other.mat", *mrh_net(1, 42, 8))
    with pytest.raises(CheckpointError, match=r"other.mat: expected 67 channels as .*mrh_af has, found 42"):
        import_network(other, bundle_copy)
    for target_max in (0, -1, float("nan")):
        with pytest.raises(OptionError, match="--target-max: expected a positive number"):
            import_network(full(tmp_path), bundle_copy, target_max)
    assert {path: path.read_bytes() for path in (bundle_copy / "models").iterdir()} == before
    with pytest.raises(OptionError, match="expected bundle metadata"):
        import_network(full(tmp_path), tmp_path / "nothing")


def test_a_broken_config_of_the_bundle_is_one_sentence(tmp_path, bundle_copy):
    for content in (b"a: [", b"\xff\xfe"):
        (bundle_copy / "configs" / "train.yaml").write_bytes(content)
        with pytest.raises(OptionError, match="train.yaml: expected a config in YAML or JSON"):
            import_network(full(tmp_path), bundle_copy)


def test_missing_library_is_a_pip_hint(tmp_path, monkeypatch):
    path = full(tmp_path)

    def without(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("importlib.import_module", without)
    with pytest.raises(OptionError, match=r"the library matio: expected it to be installed.*pip install 'mrh-monai\[matlab\]'"):
        read_network(path)


def test_curve_of_a_short_or_broken_record():
    assert training_curve({}) == {}
    assert training_curve({"TrainingRMSE": np.array([1.0, np.nan])}) == {}
    curve = training_curve({"TrainingRMSE": np.array([np.nan, 2.0, 1.0]), "TrainingLoss": np.ones(2)})
    assert curve["final_rmse_mean"] == 1.5
    assert json.loads(json.dumps(training_curve({"TrainingRMSE": np.array([1e308, 1e308, 1.0])}), allow_nan=False))
    assert training_curve({"TrainingRMSE": np.array([1e308])}) == {}
    assert curve["curve"] == {"iterations": 3, "iterations_per_point": 1, "rmse": [None, 2.0, 1.0]}


# ---------------------------------------------------------------- and back


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_export_has_every_layers_arrays_as_matlab_stored_them(tmp_path, bundle_copy, blocks):
    layers, connections = mrh_net(blocks, 67, 8)
    import_network(write_network(tmp_path / "net.mat", layers, connections), bundle_copy)
    function = export_network(bundle_copy, tmp_path / "again.mat")
    content = scipy.io.loadmat(tmp_path / "again.mat", simplify_cells=True)
    stored = {layer["Name"]: layer for layer in layers if layer["kind"] == "Convolution2DLayer"}
    assert set(content["layers"]) == set(stored)
    for name, layer in stored.items():
        np.testing.assert_array_equal(content["layers"][name]["Weights"], layer["Weights"].squeeze())
        np.testing.assert_array_equal(content["layers"][name]["Bias"], layer["Bias"].squeeze())
    assert list(content["channels"]) == MRH_NET.names
    assert content["scaling"]["mode"] == "published"
    text = function.read_text()
    assert text.startswith("function [net, channels, scaling] = again()\n")
    wiring = [line.strip() for line in text.splitlines() if "connectLayers" in line]
    assert wiring[-1] == "g = connectLayers(g, last, 'Conv4');"
    if blocks:
        assert wiring[:2] == ["g = connectLayers(g, last, blocks{k, 1});", "g = connectLayers(g, last, ['add' id '/in2']);"]
        order = [name for pair in re.findall(r"'(Conv\w+)', '(Conv\w+)'", text) for name in pair]
        assert order == released_names(blocks)[2:-2]
    assert all(f"'{name}'" in text for name in stored)


def test_export_neither_runs_a_strangers_words_nor_overwrites_a_strangers_file(tmp_path, bundle_copy):
    import_network(full(tmp_path), bundle_copy)
    sidecar = bundle_copy / "models" / "model.json"
    sidecar.write_text(sidecar.read_text().replace('"stain": "af"', '"stain": "af\\nsystem(\'touch x\');\\n%"'))
    text = export_network(bundle_copy, tmp_path / "evil.mat").read_text()
    assert all(line.startswith("%") for line in text.splitlines() if "touch" in line)
    export_network(bundle_copy, tmp_path / "evil.mat")  # its own file may be replaced
    (tmp_path / "mine.m").write_text("x = 1;")
    with pytest.raises(OutputError, match="mine.m: expected no file, or one written by this command, found another one"):
        export_network(bundle_copy, tmp_path / "mine.mat")
    (tmp_path / "folder.m").mkdir()
    with pytest.raises(OutputError, match="folder.m: expected a file to write, found a folder"):
        export_network(bundle_copy, tmp_path / "folder.mat")
    for name in ("end", "load", "size", "layerGraph"):
        with pytest.raises(OutputError, match="expected a name that MATLAB, or the function itself, does not use"):
            export_network(bundle_copy, tmp_path / f"{name}.mat")
    assert sorted(path.name for path in tmp_path.glob("*.mat")) == ["evil.mat"]


@pytest.mark.parametrize("name", ["net-af.mat", "1net.mat", "net.m", "netz é.mat"])
def test_export_wants_a_name_that_a_function_can_bear(tmp_path, name):
    with pytest.raises(OutputError, match=r"a name of letters, digits and _"):
        export_network(tmp_path, tmp_path / name)


# ---------------------------------------------------------------- the published networks


@pytest.fixture(params=PUBLISHED)
def published(request, shared):
    return request.param, shared / "mouse_kit" / "published" / PUBLISHED[request.param]


def test_published_networks_equal_the_layer_lists_own_arithmetic(published, rng):
    blocks, path = published
    read = read_network(path)
    assert (read.residual_blocks, read.channels, read.features) == (blocks, 67, 64)
    graph = stored_graph(path)
    for patches in (rng.uniform(0, 1, (500, 3, 3, 67)), rng.normal(0, 1, (100, 3, 3, 67))):
        np.testing.assert_allclose(run(built(read), patches), forward(*graph, patches), rtol=0, atol=1e-5)


def test_published_training_ended_as_its_record_says(published, bundle_copy):
    blocks, path = published
    source = import_network(path, bundle_copy).source
    assert source["final_rmse_mean"] == pytest.approx({5: 0.326, 10: 0.311}[blocks], abs=6e-4)
    assert source["curve"]["iterations"] == 20526


def test_published_networks_on_a_subject_equal_the_oracle(published, kit_subject, bundle_copy, rng):
    _, path = published
    import_network(path, bundle_copy)
    network, sidecar = load_network(bundle_copy / "models" / "model.pt", MRH_NET.names)
    loaded = load_subject(find_subject(kit_subject), MRH_NET)
    support = sidecar.scaling.support(loaded.mask, sidecar.patch_axes, sidecar.patch_radius)
    gain, offset = sidecar.scaling.coefficients(loaded.image, support)
    predicted = predict_volume(network, loaded.padded, support, gain, offset).numpy()
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
    from test_bundle import bundle_run

    from mrh_monai.cli import predict

    blocks, path = published
    import_network(path, bundle_copy)
    predict(bundle_copy, kit_subject, tmp_path / "af.nii.gz")
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
