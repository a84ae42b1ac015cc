import sys

import pytest

from mrh_monai.errors import OptionError
from mrh_monai.optional_imports import import_optional


def test_an_installed_library_is_imported():
    assert import_optional("json", "matlab") is sys.modules["json"]


@pytest.mark.parametrize("module", ["no_such_library", "no_such_library.part"])
def test_an_absent_library_names_the_extra_that_brings_it(module):
    with pytest.raises(OptionError, match=r"no_such_library: .*pip install 'mrh-monai\[matlab\]'"):
        import_optional(module, "matlab")


def test_an_installed_library_that_lacks_another_is_not_said_to_be_absent(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import no_such_library")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        import_optional("half_installed", "matlab")
