"""Export of a bundle's network to MATLAB: plain arrays, and a function that rebuilds the network from them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import scipy.io

from mrh_monai.errors import CheckpointError, OutputError
from mrh_monai.io import replacing
from mrh_monai.network import Sidecar, bundle_files, load_network
from mrh_monai.output_files import check_outputs, writing

KIND = "matlab-network"  # of the files, see `mrh_monai.output_files`
MATLAB_KEYWORDS = {
    *("break", "case", "catch", "classdef", "continue", "else", "elseif", "end", "for", "function", "global"),
    *("if", "otherwise", "parfor", "persistent", "return", "spmd", "switch", "try", "while"),
}


def export_to_matlab(bundle: Path | str, output: Path | str, overwrite: bool = False) -> Path:
    """Write a bundle's network for MATLAB: a MAT file of plain arrays, and beside it a function that rebuilds the network from them.

    The MAT file (version 5) holds the struct ``layers``, the cell ``channels`` with the names of the channels, and the struct ``scaling``
    with the constants of the sidecar. ``layers`` has one field for each convolution, named as in the release: ``layers.Conv1.Weights``
    (3, 3, C, F) and ``layers.Conv1.Bias`` (1, 1, F), both single.

    Args:
        bundle: Bundle folder with trained weights.
        output: MAT file to write. Its name without the ending becomes the name of the function, and must be a MATLAB identifier.
        overwrite: Whether files of another origin may be replaced.

    Returns:
        The file of the function, which ends in `.m`.

    Raises:
        CheckpointError: The bundle has no trained weights, or its network takes other patches than 3x3.
        OutputError: The name cannot be the name of a function, or the files cannot be written.
    """
    output = Path(output)
    if output.suffix != ".mat" or not re.fullmatch(r"[A-Za-z]\w{0,62}", output.stem, flags=re.ASCII):
        expected = "a name of letters, digits and _ that begins with a letter and ends in .mat"
        raise OutputError(output, expected, output.name, "name it like net_af.mat, because the function gets the same name")
    function = output.with_suffix(".m")
    inputs = bundle_files(bundle)
    check_outputs(KIND, [output, function], inputs, overwrite)
    network, sidecar = load_network(Path(bundle) / "models" / "model.pt")
    if len(sidecar.patch_axes) != 2 or sidecar.patch_radius != 1:
        found = f"patches along the axes {sidecar.patch_axes} of radius {sidecar.patch_radius}"
        raise CheckpointError(bundle, "a network of 3x3 patches", found, "export a network that was trained on 3x3 patches")
    names = released_layer_names(sidecar.residual_blocks)
    arrays = [value.numpy().astype(np.float32) for value in network.state_dict().values()]
    layers = {
        name: {"Weights": weights.transpose(2, 3, 1, 0), "Bias": bias.reshape(1, 1, -1)}
        for name, weights, bias in zip(names, arrays[::2], arrays[1::2], strict=True)
    }
    scaling = {**sidecar.scaling.to_dict(), "units": sidecar.units}
    content = {"layers": layers, "channels": np.array(sidecar.channels, object), "scaling": scaling}
    text = _rebuilding_function(output.stem, sidecar)
    code_alone = re.sub(r"'[^'\n]*'|%[^\n]*", "", text.partition("\n")[2])
    if output.stem in MATLAB_KEYWORDS | set(re.findall(r"[A-Za-z]\w*", code_alone)):
        expected = "a name that neither MATLAB nor the written function uses"
        raise OutputError(output, expected, output.stem, "name it like net_af.mat")
    with writing(KIND, [output, function], inputs, overwrite), replacing(output) as data, replacing(function) as code:
        scipy.io.savemat(data, content, do_compression=True)
        code.write_text(text)
    return function


def released_layer_names(residual_blocks: int) -> list[str]:
    """Return the names of the convolutions in the released code, in the order of computing.

    Args:
        residual_blocks: Number of residual blocks B.

    Example:
        >>> released_layer_names(2)
        ['Conv1', 'Conv2', 'Conv3', 'Conv3_1', 'Conv_loop11', 'Conv_loop21', 'Conv4', 'Conv5']
    """
    if not residual_blocks:
        return ["Conv1", "Conv2", "Conv4", "Conv5"]
    loop = [f"Conv_loop{half}{k}" for k in range(1, residual_blocks) for half in (1, 2)]
    return ["Conv1", "Conv2", "Conv3", "Conv3_1", *loop, "Conv4", "Conv5"]


def _rebuilding_function(name: str, sidecar: Sidecar) -> str:
    """Return MATLAB code (Deep Learning Toolbox, R2019b or newer) that assembles the layer graph."""
    lines = [
        f"function [net, channels, scaling] = {name}()",
        f"% MRH-Net for {sidecar.stain}, {sidecar.residual_blocks} residual blocks, {len(sidecar.channels)} channels.",
        "% YPred = predict(net, X) for X of 3 x 3 x channels x patches; keep the centre, YPred(2, 2, 1, :).",
        sidecar.scaling.matlab_comment(),
        f"s = load(fullfile(fileparts(mfilename('fullpath')), '{name}.mat'));",
        "channels = s.channels; scaling = s.scaling;",
        "c = @(n) convolution2dLayer(3, size(s.layers.(n).Bias, 3), 'NumChannels', size(s.layers.(n).Weights, 3), ...",
        "    'Padding', 'same', 'Weights', s.layers.(n).Weights, 'Bias', s.layers.(n).Bias, 'Name', n);",
        f"g = layerGraph([imageInputLayer([3 3 {len(sidecar.channels)}], 'Normalization', 'none', 'Name', 'InputLayer')",
        "    c('Conv1'); reluLayer('Name', 'ReLU1'); c('Conv2'); reluLayer('Name', 'ReLU2')]);",
        "last = 'ReLU2';",
    ]
    blocks = released_layer_names(sidecar.residual_blocks)[2:-2]
    if blocks:
        pairs = "; ".join(f"'{first}', '{second}'" for first, second in zip(blocks[::2], blocks[1::2], strict=True))
        lines += [
            f"blocks = {{{pairs}}};",
            "for k = 1:size(blocks, 1)",
            "    id = num2str(k);",
            "    g = addLayers(g, [c(blocks{k, 1}); reluLayer('Name', ['ReLU_in' id]); c(blocks{k, 2})",
            "        additionLayer(2, 'Name', ['add' id]); reluLayer('Name', ['ReLU_out' id])]);",
            "    g = connectLayers(g, last, blocks{k, 1});",
            "    g = connectLayers(g, last, ['add' id '/in2']);",
            "    last = ['ReLU_out' id];",
            "end",
        ]
    else:
        lines += ["g = addLayers(g, reluLayer('Name', 'ReLU3')); g = connectLayers(g, last, 'ReLU3'); last = 'ReLU3';"]
    lines += [
        "g = addLayers(g, [c('Conv4'); reluLayer('Name', 'ReLU4'); c('Conv5'); regressionLayer('Name', 'FinalRegressionLayer')]);",
        "g = connectLayers(g, last, 'Conv4');",
        "net = assembleNetwork(g);",
        "end",
    ]
    return "\n".join(lines) + "\n"
