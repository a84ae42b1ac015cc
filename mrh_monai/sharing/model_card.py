"""The model card of a packed bundle: the data and the settings with which its network was trained, and how well the network predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from mrh_monai.bundle import TrainingSettings, recorded_titles
from mrh_monai.evaluation import SCORES
from mrh_monai.network import Sidecar
from mrh_monai.protocol import ChannelGroup, MRProtocol

Kind = TypeVar("Kind")


def fill_card(readme: str, sidecar: Sidecar, protocol: MRProtocol, scores: Mapping[str, Mapping[str, float]] | None = None) -> str:
    """Return the page of a bundle, `docs/README.md`, with the facts of its trained network.

    Args:
        readme: The page as the bundle has it, with regions from ``<!-- card: data -->`` (``training``, ``performance``) to
            ``<!-- /card -->``. Facts for which it has no region go to its end.
        sidecar: Sidecar of the weights.
        protocol: Channels of the network.
        scores: Scores of each test subject, as `OUT/scores.json` has them; None for no scores.
    """
    facts = {"data": _data(sidecar, protocol), "training": _training(sidecar), "performance": _performance(sidecar, scores)}
    for name, text in facts.items():
        before, mark, rest = readme.partition(f"<!-- card: {name} -->\n")
        _, end, after = rest.partition("<!-- /card -->\n")
        region = f"<!-- card: {name} -->\n{text}<!-- /card -->\n"  # with its marks, so that the card can be filled again
        readme = f"{before}{region}{after}" if mark and end else f"{readme.rstrip()}\n\n{region}"
    return readme


def _data(sidecar: Sidecar, protocol: MRProtocol) -> str:
    source = sidecar.source
    imported = _given(source, "imported", dict)
    rows: list[tuple[str, Any]]
    if imported is not None:
        rows = [
            ("imported from", imported.get("file")),
            ("SHA-256 of that file", imported.get("sha256")),
            ("published with", source.get("citation")),
        ]
    elif (subjects := _given(source, "subjects", list)) is not None:
        counts = _given(source, "patches_per_subject", list) or [None] * len(subjects)
        named = (f"{name}{'' if n is None else f' ({n} patches)'}" for name, n in zip(subjects, counts, strict=False))
        validated = ", ".join(map(str, _given(source, "validation_subjects", list) or [])) or "training patches that were held out"
        patches = f" ({source['validation_patches']} patches)" if "validation_patches" in source else ""
        rows = [
            ("trained on", ", ".join(named)),
            ("patches", source.get("patches")),
            ("validated on", f"{validated}{patches}"),
            ("SHA-256 of a sample of the patches", source.get("data")),
        ]
    else:
        rows = [("source", "not recorded")]
    lines = ["### Data of this network", "", *_table(("", ""), [(key, value) for key, value in rows if value is not None])]
    lines += ["", f"The {len(protocol)} channels of this network, by contrast:", ""]
    lines += _table(("contrast", "channels", "number", "minutes"), [_group_row(group, protocol) for group in protocol.groups])
    return "\n".join(lines) + "\n"


def _training(sidecar: Sidecar) -> str:
    source, parent, patch = sidecar.source, sidecar.parent, sidecar.patch
    started = "random weights" if parent is None else f"{parent.get('name')} ({parent.get('stain')}), SHA-256 `{parent.get('sha256')}`"
    titles = recorded_titles(TrainingSettings) | {"epoch": "best epoch, whose weights these are"}
    rows: list[tuple[str, Any]] = [
        ("residual blocks, features", f"{sidecar.residual_blocks}, {sidecar.features}"),
        ("patch", f"{patch.width} voxels along array axes {', '.join(map(str, patch.axes))}"),
        ("scaling", f"{sidecar.scaling.mode}: {sidecar.scaling.description}"),
        ("largest stain", f"{sidecar.scaling.target_max:g} ({sidecar.units})"),
        *((title, source[name]) for name, title in titles.items() if name in source),
        ("started from", started),
    ]
    for key in ("copied", "partly_copied", "replaced", "frozen"):
        tensors = _given(parent or {}, key, list)
        if tensors is not None:
            rows.append((f"tensors {key.replace('_', ' ')}", len(tensors)))
    versions = _given(source, "versions", dict)
    if versions is not None:
        rows.append(("software", ", ".join(f"{name} {version}" for name, version in versions.items())))
    rows.append(("SHA-256 of `models/model.pt`", f"`{sidecar.sha256}`"))
    return "\n".join(["### Training of this network", "", *_table(("", ""), rows)]) + "\n"


def _performance(sidecar: Sidecar, scores: Mapping[str, Mapping[str, float | None]] | None) -> str:
    rmse, r2, imported = (_given(sidecar.source, key, float) for key in ("val_rmse", "val_r2", "final_rmse_mean"))
    if rmse is not None and r2 is not None:
        lines = [f"On the centre voxels of the validation patches: RMSE {rmse:.4g} ({sidecar.units}), R2 {r2:.4f}."]
    elif imported is not None:
        lines = [f"At the end of its training in MATLAB, the RMSE of a patch was {imported:.3g}."]
    else:
        lines = ["Its training recorded no scores."]
    if sidecar.intervals is not None:
        lines += ["", f"Intervals: {sidecar.intervals.held}."]
    if not scores:
        return "\n".join([*lines, "", "No scores of whole test subjects were packed with this network."]) + "\n"
    present = [score for score in SCORES if any(score.key in values for values in scores.values())]
    rows = [(name, *(_number(values.get(score.key)) for score in present)) for name, values in sorted(scores.items())]
    in_units = " and ".join(score.title for score in present if score.unit == "stain")
    units = f" ({in_units}: {sidecar.units})" if in_units else ""
    lines += ["", f"On whole test subjects, inside the mask{units}:", ""]
    return "\n".join([*lines, *_table(("subject", *(score.title for score in present)), rows)]) + "\n"


def _given(values: Mapping[str, Any], key: str, kind: type[Kind]) -> Kind | None:
    """Return a value of a sidecar if it has the expected type; the sidecar of a stranger may hold anything."""
    value = values.get(key)
    return value if isinstance(value, kind) else None


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _group_row(group: ChannelGroup, protocol: MRProtocol) -> tuple[str, str, int, str]:
    runs: list[list[int]] = []
    for index in group.indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    names = protocol.names
    listed = ", ".join(names[run[0]] if len(run) == 1 else f"{names[run[0]]} to {names[run[-1]]}" for run in runs)
    minutes = [channel.minutes for channel in (protocol.channels[index] for index in group.indices) if channel.minutes is not None]
    return group.name, listed, len(group.indices), f"{sum(minutes):.4g}" if len(minutes) == len(group.indices) else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    cells = [[" ".join(str(cell).split()).replace("|", "\\|") for cell in row] for row in (head, *rows)]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return [lines[0], "|" + "---|" * len(head), *lines[1:]]
