import json

import pytest
from monai.bundle import ConfigParser
from monai.bundle.config_item import ConfigComponent, ConfigExpression

from helpers.paths import ROOT
from helpers.strange_zips import strange
from mrh_monai.bundle.template_rendering import SHIPPED, render
from mrh_monai.bundle.writing_bundles import new_bundle
from mrh_monai.errors import BundleError
from mrh_monai.sharing.config_code import Code, code_of
from mrh_monai.sharing.template_history import foreign

pytestmark = pytest.mark.sharing

EVIL = "$__import__('os').system('touch evil')"
OVERLAYS = [
    ["inference.yaml"], ["inference.yaml", "evaluate.yaml"], ["inference.yaml", "multi_gpu_inference.yaml"], ["train.yaml"],
    ["train.yaml", "multi_gpu_train.yaml"],
]  # fmt: skip


def would_run(paths, metadata):
    """What MONAI itself makes of configs: all that it would evaluate or call, by kind."""
    parser = ConfigParser()
    parser.read_config([str(path) for path in paths])
    parser.read_meta(str(metadata))
    parser.parse()
    for item in parser.ref_resolver.items.values():
        if isinstance(item, ConfigExpression):
            yield "expression", item.get_config()
        elif isinstance(item, ConfigComponent):
            yield "target", item.get_config()["_target_"]
            if "_mode_" in item.get_config():
                yield "mode", item.get_config()["_mode_"]


@pytest.mark.parametrize("bundle", ["mrh_af", "mrh_nf", "mrh_mbp"])
@pytest.mark.parametrize("names", OVERLAYS, ids="+".join)
def test_all_that_monai_would_run_of_a_shipped_bundle_is_listed(bundle, names):
    configs = ROOT / "bundles" / bundle / "configs"
    listed = {(code.kind, code.text) for code in code_of({f"configs/{name}": (configs / name).read_bytes() for name in names})}
    found = set(would_run([configs / name for name in names], configs / "metadata.json"))
    assert len(found) > 35
    assert found <= listed


@pytest.mark.parametrize("spec", SHIPPED, ids=lambda spec: spec.folder)
def test_shipped_bundles_run_nothing_foreign(spec):
    files = {name.relative_to(ROOT / "bundles" / spec.folder).as_posix(): name for name in (ROOT / "bundles" / spec.folder).rglob("*.*")}
    contents = {name: path.read_bytes() for name, path in files.items() if "model." not in name}
    assert len(code_of(contents)) > 150
    assert foreign(contents) == []


@pytest.mark.parametrize("parent", [None, "beside", "../far/a b-c/mrh_x+1"])
def test_bundles_of_ones_own_run_nothing_foreign(tmp_path, parent):
    if parent is not None:
        parent = tmp_path / "me" / parent
        new_bundle(parent, "af")
    new_bundle(tmp_path / "me" / "nissl", "nissl", pretrained=parent, stain_name="Nissl stain (blue)", units="8-bit, 0-255")
    root = tmp_path / "me" / "nissl"
    contents = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert len(code_of(contents)) > 150
    assert foreign(contents) == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (f'a: "{EVIL}"', "a"),
        (f'a: [1, [2, {{b: "{EVIL}"}}]]', "a::1::1::b"),
        (f'a: "  {EVIL} "', "a"),
        (f'a: "\\u0024{EVIL[1:]}"', "a"),
        (f"a: |\n  {EVIL}\n", "a"),
        (f"a: !!str {EVIL}", "a"),
        (f'a: {{_requires_: ["{EVIL}"], _disabled_: false}}', "a::_requires_::0"),
        (f'a: {{_disabled_: "{EVIL}"}}', "a::_disabled_"),
        (f'a: {{_target_: Compose, transforms: "{EVIL}"}}', "a::transforms"),
        (f'_meta_: {{a: "{EVIL}"}}', "_meta_::a"),
        (f'"a::b#c": "{EVIL}"', "a::b#c"),
        (f'"+a": ["{EVIL}"]', "+a::0"),
        (f'a: 1\na: "{EVIL}"', "a"),
        (f'- "{EVIL}"', "0"),
        (f'"{EVIL}"', ""),
        (f'\ufeffa: "{EVIL}"', "a"),
    ],
)
@pytest.mark.parametrize("name", ["configs/inference.yaml", "configs/x.YML"])
def test_foreign_expressions_are_found_wherever_they_stand(name, text, place):
    assert (place, "expression", EVIL) in strange(name, text)


@pytest.mark.parametrize("name", ["configs/metadata.json", "configs/x.JSON"])
def test_foreign_expressions_in_json_are_found(name):
    assert strange(name, json.dumps({"a": [{"b": EVIL}]})) == [("a::0::b", "expression", EVIL)]
    assert strange(name, f'{{"a": 1, "a": {json.dumps(EVIL)}}}') == [("a", "expression", EVIL)]


@pytest.mark.parametrize(
    "text",
    [
        "$import os", "$from os import system", "$import mrh_monai as torch", "$import mrh_monai, os", "$import torch; import os",
        "$@evaluator.run(1)",
        "$@bundle_root + '/a' or open('b')", "$@bundle_root + '/a' + '/b'", "$@bundle_root + '/a\\x27'", "$@bundle_root + \"/a\"",
        "$@bundle_root + '/a'\n", "$$1", "$", "\uff04x",
    ],
)  # fmt: skip
def test_expressions_that_are_nearly_ours_are_foreign(text):
    found = strange("configs/x.json", json.dumps({"a": text}))
    expected = text.strip() if text.endswith("\n") else text
    assert found == ([] if text == "\uff04x" else [("a", "expression", expected)])  # which is no dollar to MONAI


@pytest.mark.parametrize(
    "target", ["os.system", "subprocess.Popen", "builtins.eval", "@a", "$os.system", "torch.load", "mrh_monai.cli.app.main"]
)
def test_foreign_targets_are_found(target):
    assert strange("configs/x.json", json.dumps({"a": [{"_target_": target}]})) == [("a::0::_target_", "target", target)]
    assert strange("configs/x.json", json.dumps({"_target_": "Compose", "_mode_": "debug"}))[1:] == [("_mode_", "mode", "debug")]


@pytest.mark.parametrize("text", ["%other.yaml::a", "%a", "% a", "%::b", "%/etc/x.json"])
def test_macros_are_foreign(text):
    assert strange("configs/x.json", json.dumps({"a": {"b": text}})) == [("a::b", "macro", text)]


@pytest.mark.parametrize(
    "text", ["/etc/cron.d/x", "~/.bashrc", "..", "../x", "a/../../x", "a\\..\\x", "C:\\x", "c:/x", "\\\\host\\x", " /x"]
)
def test_paths_that_lead_out_are_foreign(text):
    assert strange("configs/x.json", json.dumps({"output_dir": text})) == [("output_dir", "path", text.strip())]


@pytest.mark.parametrize("text", ["a/b", "...", "a..b", "1.5", "x/y..", "see a/b"])
def test_plain_texts_are_no_paths(text):
    assert strange("configs/x.json", json.dumps({"a": text})) == []


@pytest.mark.parametrize(
    "name",
    ["scripts/run.py", "models/model.ts", "models/other.pt", "configs/x.conf", "docs/logging.conf", "configs/LOGGING.conf", "a.so", "run",
     "configs/.yaml", "docs/LICENSE", "a.pkl", "docs/a.json", "configs/b/a.yaml", "a.ipynb", "a.sh", "sitecustomize.pyc",
     "configs/a.yaml.py"],
)  # fmt: skip
def test_files_that_could_be_run_are_foreign(name):
    assert strange(name, "x") == [("", "file", "a file that no bundle of this project has")]


def test_ours_elsewhere_is_foreign():
    """What stands in one place of one config of ours is allowed there alone."""
    run = ["$@data.write_alignment(@settings.output_folder)", "$@recorder.run(@train::trainer)"]
    own = {"handlers": ["@recorder"], "run": run, "train": {"trainer": {"_target_": "SupervisedTrainer"}}}
    assert strange("configs/train.json", json.dumps({"run": own["run"], "train": own["train"]})) == []
    assert len(strange("configs/train.json", json.dumps(own))) == 1
    assert len(strange("configs/inference.json", json.dumps(own))) == 4
    assert len(strange("configs/train.json", json.dumps({"initialize": own["run"], "validate": own["train"]}))) == 3


def test_places_that_a_config_itself_names_are_foreign():
    for key in ("output_dir", "ckpt_path", "bundle_root", "datalist"):
        assert strange("configs/inference.json", json.dumps({key: "results"})) == [(key, "path", "results")]


def test_another_logging_configuration_is_foreign():
    own = render(SHIPPED[0])["configs/logging.conf"]
    assert strange("configs/logging.conf", own) == []
    evil = own.replace(b"args=(sys.stdout,)", b"args=(__import__('os').system('touch evil'),)")
    assert [kind for _, kind, _ in strange("configs/logging.conf", evil)] == ["logging"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.yaml", b"a: !!python/object/apply:os.system [x]"), ("a.yaml", b"a: !!python/name:os.system"), ("a.yaml", b"a: !x y"),
        ("a.yaml", b"a: 1\n---\nb: 2"), ("a.yaml", b"a: [1"), ("a.yaml", b"? [a]\n: 1"), ("a.yaml", b"a: 2020-99-99"),
        ("a.yaml", b"a\0: 1"), ("a.yaml", "a: 1".encode("utf-16")), ("a.json", "{}".encode("utf-16")), ("a.json", b"\xef\xbb\xbf{}"),
        ("a.json", b"{'a': 1}"), ("a.json", b"a: 1"), ("a.json", b""), ("a.json", b"{} {}"), ("a.yaml", b"\xff"),
        ("a.json", b"[" * 10**5), ("a.json", b"[" * 10**5 + b"]" * 10**5), ("a.yaml", b"[" * 3000 + b"]" * 3000),
        ("a.json", b'{"a": ' + b"1" * 5000 + b"}"), ("a.yaml", b"#" * ((4 << 20) + 1)),
    ],
)  # fmt: skip
def test_what_is_no_plain_yaml_or_json_is_refused(name, content):
    with pytest.raises(
        BundleError, match=f"^configs/{name}: expected a config in YAML or JSON, found a file that cannot be read as such"
    ) as caught:
        code_of({f"configs/{name}": content})
    assert len(str(caught.value).splitlines()) == 1


def test_a_billion_laughs_are_refused():
    lines = [f'a0: &a0 ["{EVIL}", lol]', *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 64))]
    for text in ("\n".join(lines), f'a: &a [*a, "{EVIL}"]', "run: &r [1]\nfinalize: *r", "a: &a {k: 1}\nb: {<<: *a}"):
        with pytest.raises(BundleError, match=r"found a file that cannot be read as such \(an alias"):
            foreign({"configs/inference.yaml": text.encode()})


def test_a_line_of_the_listing_cannot_command_a_terminal():
    code = Code("configs/x.yaml", "a\n::b", "expression", "$x\x1b[2J\r\u202e\x9b fine \u00e4")
    assert str(code) == "configs/x.yaml, a\\n::b: $x\\x1b[2J\\r\\u202e\\x9b fine \u00e4"
