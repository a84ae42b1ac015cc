"""The model card of a packed bundle: what its network was trained on, how, and how well it did, in the places that its README keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mrh_monai.network import Sidecar
from mrh_monai.protocol import Channel, MRProtocol

SCORES = (("rmse", "RMSE"), ("nrmse", "RMSE / range"), ("mae", "MAE"), ("r2", "R2"), ("ssim", "SSIM"))


def fill_card(readme: str, sidecar: Sidecar, protocol: MRProtocol, scores: Mapping[str, Mapping[str, float]] | None = None) -> str:
    """A bundle's `docs/README.md` with the facts of its trained network.

    Args:
        readme: As the bundle has it, with the regions ``<!-- card: data -->`` (``training``, ``performance``) to ``<!-- /card -->``. What
            it has no region for goes to its end.
        sidecar: Of the network.
        protocol: Its channels.
        scores: Of each test subject, as `OUT/scores.json` has them; None for none.
    """
    facts = {"data": _data(sidecar, protocol), "training": _training(sidecar), "performance": _performance(sidecar, scores)}
    for name, text in facts.items():
        before, mark, rest = readme.partition(f"<!-- card: {name} -->\n")
        _, end, after = rest.partition("<!-- /card -->\n")
        region = f"<!-- card: {name} -->\n{text}<!-- /card -->\n"  # marked again, for a network that is trained further
        readme = f"{before}{region}{after}" if mark and end else f"{readme.rstrip()}\n\n{region}"
    return readme


def _data(sidecar: Sidecar, protocol: MRProtocol) -> str:
    source = sidecar.source
    imported = _given(source, "imported", dict)
    rows: list[tuple[str, Any]]
    if imported is not None:
        rows = [
            ("imported from", imported.get("file")),
            ("its SHA-256", imported.get("sha256")),
            ("published with", source.get("citation")),
        ]
    elif (subjects := _given(source, "subjects", list)) is not None:
        counts = _given(source, "patches_per_subject", list) or [None] * len(subjects)
        named = (f"{name}{'' if n is None else f' ({n} patches)'}" for name, n in zip(subjects, counts, strict=False))
        validated = ", ".join(map(str, _given(source, "validation_subjects", list) or [])) or "training patches held out"
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
    lines += ["", f"Channels of this network, in their order ({len(protocol)}):", ""]
    lines += _table(("channels", "b-value, s/mm^2", "minutes"), [_group_row(group) for group in _groups(protocol)])
    return "\n".join(lines) + "\n"


def _training(sidecar: Sidecar) -> str:
    source, parent = sidecar.source, sidecar.parent
    started = "scratch" if parent is None else f"{parent.get('name')} ({parent.get('stain')}), SHA-256 `{parent.get('sha256')}`"
    names = {"recipe": "recipe", "epochs": "epochs", "epoch": "epoch kept, the best", "batch_size": "batch size"}
    names |= {"learning_rate": "learning rate", "seed": "seed"}
    rows: list[tuple[str, Any]] = [
        ("residual blocks, features", f"{sidecar.residual_blocks}, {sidecar.features}"),
        ("patch", f"{2 * sidecar.patch_radius + 1} voxels along array axes {', '.join(map(str, sidecar.patch_axes))}"),
        ("scaling", sidecar.scaling.mode),
        ("largest stain", f"{sidecar.scaling.target_max:g} ({sidecar.units})"),
        *((title, source[key]) for key, title in names.items() if key in source),
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
        lines = [f"On the centres of the validation patches: RMSE {rmse:.4g} ({sidecar.units}), R2 {r2:.4f}."]
    elif imported is not None:
        lines = [f"At the end of its training in MATLAB: RMSE {imported:.3g} a patch."]
    else:
        lines = ["Its training recorded no scores."]
    if not scores:
        return "\n".join([*lines, "", "No scores on whole test subjects were packed with it."]) + "\n"
    present = [(key, title) for key, title in SCORES if any(key in values for values in scores.values())]
    rows = [(name, *(_number(values.get(key)) for key, _ in present)) for name, values in sorted(scores.items())]
    lines += ["", f"On whole subjects, inside the mask (RMSE and MAE: {sidecar.units}):", ""]
    return "\n".join([*lines, *_table(("subject", *(title for _, title in present)), rows)]) + "\n"


def _given(values: Mapping[str, Any], key: str, kind: type) -> Any:
    """What a sidecar says under a key, where it is of the kind that we write; another's sidecar may say anything."""
    return values[key] if isinstance(values.get(key), kind) else None


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _groups(protocol: MRProtocol) -> list[list[Channel]]:
    """Neighbours of one shell, unweighted or not, in one row; all others by themselves."""
    groups: list[list[Channel]] = []
    for channel in protocol:
        if groups and _alike(groups[-1][-1], channel):
            groups[-1].append(channel)
        else:
            groups.append([channel])
    return groups


def _alike(one: Channel, other: Channel) -> bool:
    if one.b_value is None or other.b_value is None or (one.direction is None) != (other.direction is None):
        return False
    return abs(one.b_value - other.b_value) <= 0.1 * one.b_value


def _group_row(group: Sequence[Channel]) -> tuple[str, str, str]:
    names = group[0].name if len(group) == 1 else f"{group[0].name} to {group[-1].name} ({len(group)})"
    values = [channel.b_value for channel in group if channel.b_value is not None]
    span = "" if not values else f"{values[0]:g}" if min(values) == max(values) else f"{min(values):g} to {max(values):g}"
    minutes = [channel.minutes for channel in group if channel.minutes is not None]
    return names, span, f"{sum(minutes):.4g}" if len(minutes) == len(group) else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    cells = [[" ".join(str(cell).split()).replace("|", "\\|") for cell in row] for row in (head, *rows)]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return [lines[0], "|" + "---|" * len(head), *lines[1:]]
