"""A bundle's network as arrays and code for MATLAB."""

import re

import numpy as np
import pytest
import scipy.io

from helpers.matlab_files import mrh_net, write_network
from mrh_monai.errors import CheckpointError, OutputError
from mrh_monai.matlab.network_export import export_to_matlab, released_layer_names
from mrh_monai.matlab.network_import import import_from_matlab
from mrh_monai.protocol.mrh_net import MRH_NET


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_export_has_every_layers_arrays_as_matlab_stored_them(tmp_path, bundle_copy, blocks):
    layers, connections = mrh_net(blocks, 67, 8)
    import_from_matlab(write_network(tmp_path / "net.mat", layers, connections), bundle_copy)
    function = export_to_matlab(bundle_copy, tmp_path / "again.mat")
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
        assert order == released_layer_names(blocks)[2:-2]
    assert all(f"'{name}'" in text for name in stored)


def test_export_neither_runs_a_strangers_words_nor_overwrites_a_strangers_file(tmp_path, bundle_copy):
    import_from_matlab(write_network(tmp_path / "trained" / "net.mat", *mrh_net(1, 67, 8)), bundle_copy)
    sidecar = bundle_copy / "models" / "model.json"
    own = sidecar.read_text()
    sidecar.write_text(own.replace('"stain": "af"', '"stain": "af\\nsystem(\'touch x\');\\n%"'))
    with pytest.raises(CheckpointError, match='the stain "af'):
        export_to_matlab(bundle_copy, tmp_path / "evil.mat")
    sidecar.write_text(own)
    export_to_matlab(bundle_copy, tmp_path / "mrh.mat")
    export_to_matlab(bundle_copy, tmp_path / "mrh.mat")  # its own file may be replaced
    (tmp_path / "mine.m").write_text("x = 1;")
    with pytest.raises(OutputError, match=r"mine\.m: expected a free name, or a file that the same command wrote, found another file"):
        export_to_matlab(bundle_copy, tmp_path / "mine.mat")
    (tmp_path / "folder.m").mkdir()
    with pytest.raises(OutputError, match="folder.m: expected a file to write, found a folder"):
        export_to_matlab(bundle_copy, tmp_path / "folder.mat")
    for name in ("end", "load", "size", "layerGraph"):
        with pytest.raises(OutputError, match="expected a name that neither MATLAB nor the written function uses"):
            export_to_matlab(bundle_copy, tmp_path / f"{name}.mat")
    assert sorted(path.name for path in tmp_path.glob("*.mat")) == ["mrh.mat"]


@pytest.mark.parametrize("name", ["net-af.mat", "1net.mat", "net.m", "netz é.mat"])
def test_export_wants_a_name_that_a_function_can_bear(tmp_path, name):
    with pytest.raises(OutputError, match=r"a name of letters, digits and _"):
        export_to_matlab(tmp_path, tmp_path / name)
