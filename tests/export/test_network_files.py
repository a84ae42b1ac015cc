"""Exported files against the network itself, one sliced patch at a time, in float64."""

import copy
import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from monai.data import load_net_with_metadata

from helpers.paths import BUNDLE
from helpers.random_weights import TARGET_MAX, random_network, sidecar_of, with_random_weights
from mrh_monai.axis_order import coronal_order, inverse_order
from mrh_monai.data.slabs import PaddedImage
from mrh_monai.errors import CheckpointError, OptionError, OutputError
from mrh_monai.export import network_files as exporting
from mrh_monai.export.exported_graph import build_graph
from mrh_monai.export.network_files import ENDINGS, compare_with_pytorch, export_network, load_exported, write_graph
from mrh_monai.export.slab_graph import BATCH
from mrh_monai.inference.voxelwise import predict_volume
from mrh_monai.io.files import sha256
from mrh_monai.network.checkpoint import load_network, save_checkpoint
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.scaling import Coefficients

pytestmark = pytest.mark.sharing

PLANES = [((0, 2), 1), ((0, 1, 2), 1), ((1, 2), 2)]


def one_by_one(network, image, mask, gain, offset, axes, radius):
    """Scaled centres, each of its own patch cut from the zero-padded raw volume."""
    network = copy.deepcopy(network).double()
    padded = np.pad(image.double().numpy(), [(0, 0)] + [(radius, radius)] * 3)
    stain = torch.zeros(mask.shape, dtype=torch.float64)
    spatial = (1,) * len(axes)
    for voxel in np.argwhere(mask.numpy()):
        window = tuple(slice(c, c + 2 * radius + 1) if axis in axes else c + radius for axis, c in enumerate(voxel))
        patch = torch.from_numpy(padded[(slice(None), *window)]) * gain.double().view(-1, *spatial) + offset.double().view(-1, *spatial)
        with torch.no_grad():
            stain[tuple(voxel)] = network(patch[None])[(0, 0, *(radius,) * len(axes))]
    return stain


def slab(shape, channels, seed=1, share=0.6):
    """Raw intensities, a mask that holds every corner of the slab, gain and offset."""
    random = torch.Generator().manual_seed(seed)
    image = torch.rand(channels, *shape, generator=random) * 4000
    mask = torch.rand(shape, generator=random) < share
    mask[:: shape[0] - 1, :: max(shape[1] - 1, 1), :: shape[2] - 1] = True
    return image, mask, torch.rand(channels, generator=random) / 2000, -torch.rand(channels, generator=random)


def written(folder, network, sidecar, what, ending):
    """A file of a network, as `export_network` writes it, and what it holds."""
    graph = build_graph(network, sidecar, what)
    path = folder / f"{what}{ending}"
    write_graph(graph, graph.description(sidecar, what), path)
    assert compare_with_pytorch(graph, path, path) < 1e-5 * max(1.0, graph.expected.abs().max() / graph.unit)
    return path


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(("axes", "radius"), PLANES)
def test_slab_is_the_network_voxel_by_voxel(tmp_path, ending, axes, radius):
    network = random_network(3, 4, 2, len(axes))
    function = load_exported(written(tmp_path, network, sidecar_of(network, "abc", axes, radius), "slab", ending))
    for shape in ((9, 3, 7), (4, 1, 6), (3, 8, 2)):
        given = slab(shape, 3)
        expected = one_by_one(network, *given, axes, radius)
        found = function(*given)
        assert (found.dtype, found.shape) == (torch.float32, shape)
        torch.testing.assert_close(found.double() / TARGET_MAX, expected, rtol=1e-5, atol=1e-5)
        assert (found[~given[1]] == 0).all()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("blocks", [0, 5])
def test_slab_of_any_depth(tmp_path, ending, blocks):
    network = random_network(4, 8, blocks)
    function = load_exported(written(tmp_path, network, sidecar_of(network, "abcd"), "slab", ending))
    given = slab((6, 2, 5), 4)
    torch.testing.assert_close(function(*given).double() / TARGET_MAX, one_by_one(network, *given, (0, 2), 1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("axis", [0, 2])
def test_a_slab_may_be_coronal_along_any_axis(bundle_copy, tmp_path, ending, axis):
    """As the option says, or otherwise the bundle's inference config."""
    network = random_network(67, 4)
    save_checkpoint(bundle_copy / "models" / "model.pt", network.state_dict(), sidecar_of(network, MRH_NET.names))
    config = bundle_copy / "configs" / "inference.yaml"
    export_network(bundle_copy, tmp_path / f"stated{ending}", "slab", coronal_axis=axis)
    config.write_text(config.read_text().replace("coronal_axis: null", f"coronal_axis: {axis}"))
    export_network(bundle_copy, tmp_path / f"own{ending}", "slab")
    image, mask, gain, offset = slab((5, 3, 6), 67)
    expected = one_by_one(network, image, mask, gain, offset, (0, 2), 1)
    back = inverse_order(coronal_order(axis))
    for name in ("stated", "own"):
        function = load_exported(tmp_path / f"{name}{ending}")
        turned = image.permute(0, *(1 + each for each in back)).contiguous()
        found = function(turned, mask.permute(back).contiguous(), gain, offset)
        torch.testing.assert_close(found.double() / TARGET_MAX, expected.permute(back), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ending", ENDINGS)
def test_slab_with_no_voxel_with_all_and_with_more_than_a_batch(tmp_path, ending):
    network = random_network(2, 4)
    function = load_exported(written(tmp_path, network, sidecar_of(network, "ab"), "slab", ending))
    image, mask, gain, offset = slab((33, 2, 35), 2)
    assert mask.numel() > 2 * BATCH
    assert (function(image, torch.zeros_like(mask), gain, offset) == 0).all()
    found = function(image, torch.ones_like(mask), gain, offset)
    source = PaddedImage(F.pad(image.permute(1, 2, 3, 0), (0, 0, 1, 1, 1, 1, 1, 1)), 1)
    expected = predict_volume(network, source, np.ones(mask.shape, bool), Coefficients(gain.numpy(), offset.numpy()))
    torch.testing.assert_close(found / TARGET_MAX, expected, rtol=1e-5, atol=1e-5)


def test_slab_goes_round_in_a_loop(tmp_path):
    """Unrolled or in one piece, it would hold one size of slab, or as much memory as the slab asks for."""
    network = random_network(2, 4)
    model = onnx.load(written(tmp_path, network, sidecar_of(network, "ab"), "slab", ".onnx"))
    (loop,) = [node for node in model.graph.node if node.op_type == "Loop"]
    assert sum(node.op_type == "MatMul" for node in loop.attribute[0].g.node) >= 3 * 5  # all of the network is in it
    assert not any(node.op_type == "Conv" for node in [*model.graph.node, *loop.attribute[0].g.node])


def test_onnxruntime_takes_it_without_a_warning(tmp_path, capfd):
    network = random_network(2, 4)
    load_exported(written(tmp_path, network, sidecar_of(network, "ab"), "slab", ".onnx"))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(("axes", "radius"), [((0, 2), 1), ((0, 1, 2), 1)])
def test_patches_in_batches_of_any_size(tmp_path, ending, axes, radius):
    network = random_network(3, 4, 2, len(axes))
    function = load_exported(written(tmp_path, network, sidecar_of(network, "abc", axes, radius), "patch", ending))
    for count in (1, 5, 300):
        patches = torch.randn(count, 3, *(2 * radius + 1,) * len(axes))
        with torch.no_grad():
            expected = copy.deepcopy(network).double()(patches.double())
        torch.testing.assert_close(function(patches).double(), expected, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return with_random_weights(BUNDLE, tmp_path_factory.mktemp("bundle"), residual_blocks=2)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_bundles_slab_is_what_predict_gives(bundle, tmp_path, ending):
    assert export_network(bundle, tmp_path / f"slab{ending}", "slab") < 1e-4
    network, _ = load_network(bundle / "models" / "model.pt")
    image, mask, gain, offset = slab((20, 2, 17), 67)
    padded = F.pad(image.permute(1, 2, 3, 0), (0, 0, 1, 1, 1, 1, 1, 1))
    expected = predict_volume(network, PaddedImage(padded, 1), mask, Coefficients(gain.numpy(), offset.numpy()))
    found = load_exported(tmp_path / f"slab{ending}")(image, mask, gain, offset) / TARGET_MAX
    assert (found - expected).abs().max() <= 1e-5 * (expected.max() - expected.min())


@pytest.mark.parametrize("what", ["patch", "slab"])
def test_files_say_what_they_are(bundle, tmp_path, what):
    for ending in ENDINGS:
        export_network(bundle, tmp_path / f"net{ending}", what)
    about = load_net_with_metadata(str(tmp_path / "net.ts"))[1]
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["metadata.json"]) == about
    sidecar = json.loads((bundle / "models" / "model.json").read_text())
    for key in ("stain", "units", "channels", "scaling", "patch_axes", "sha256"):
        assert about[key] == sidecar[key]
    assert (about["what"], about["sha256"]) == (what, sha256(bundle / "models" / "model.pt"))
    types = {"float32": "tensor(float)", "bool": "tensor(bool)"}
    for ports, said in ((session.get_inputs(), about["inputs"]), (session.get_outputs(), about["outputs"])):
        assert {port.name: (" ".join(map(str, port.shape)), port.type) for port in ports} == {
            name: (one["axes"], types[one["dtype"]]) for name, one in said.items()
        }


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_differs_is_not_put_in_place(bundle, tmp_path, monkeypatch, ending):
    path = tmp_path / f"net{ending}"
    path.write_text("the old one")
    monkeypatch.setattr(exporting, "load_exported", lambda path: lambda *given: load_exported(path)(*given) * 1.001)
    with pytest.raises(
        OutputError, match=rf"net\{ending}: expected outputs within [12]e-05 of PyTorch's, found a difference of 0.00.*; install"
    ):
        export_network(bundle, path, overwrite=True)
    assert path.read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [path]


def test_wrong_inputs_end_in_a_sentence(bundle, bundle_copy, tmp_path, monkeypatch):
    with pytest.raises(OptionError, match=r"net.pt: expected a name that ends in .ts or .onnx, found .pt; give"):
        export_network(bundle, tmp_path / "net.pt")
    with pytest.raises(OptionError, match=r"what: expected patch or slab, found 'brain'; choose"):
        export_network(bundle, tmp_path / "net.ts", "brain")
    with pytest.raises(CheckpointError, match="expected trained weights, found no such file; train the bundle first"):
        export_network(bundle_copy, tmp_path / "net.ts")
    for library in ("onnx", "onnxruntime"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, library, None)
            with pytest.raises(OptionError, match=rf"the library {library}: .* pip install 'mrh-monai\[export\]'"):
                export_network(bundle, tmp_path / "net.onnx")
    assert not list(tmp_path.glob("net*"))
