import shutil
import subprocess

import pytest

from helpers.signatures import new_key, trusted
from mrh_monai.errors import BundleError
from mrh_monai.sharing.signing import NAMESPACE, check_signature, sign, signature_path

pytestmark = [pytest.mark.sharing, pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen on this machine")]


@pytest.fixture
def parcel(tmp_path):
    """A file, a key, and the list that trusts it."""
    (tmp_path / "parcel.zip").write_bytes(b"content" * 1000)
    new_key(tmp_path / "key")
    trusted(tmp_path, "anna@example.org")
    return tmp_path


def test_the_signer_of_a_file_is_told_offline(parcel, monkeypatch):
    for name in ("SSH_AUTH_SOCK", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(parcel / "nowhere"))
    assert sign(parcel / "parcel.zip", parcel / "key") == parcel / "parcel.zip.sig" == signature_path(parcel / "parcel.zip")
    assert "BEGIN SSH SIGNATURE" in (parcel / "parcel.zip.sig").read_text()
    assert check_signature(parcel / "parcel.zip", parcel / "signers") == "anna@example.org"
    (parcel / "parcel.zip.sig").rename(parcel / "elsewhere")
    assert check_signature(parcel / "parcel.zip", parcel / "signers", parcel / "elsewhere") == "anna@example.org"


def test_a_signature_is_renewed(parcel):
    sign(parcel / "parcel.zip", parcel / "key")
    (parcel / "parcel.zip").write_bytes(b"new")
    sign(parcel / "parcel.zip", parcel / "key")
    assert check_signature(parcel / "parcel.zip", parcel / "signers") == "anna@example.org"


@pytest.mark.parametrize("place", [0, 3500, 6999, 7000])
def test_a_changed_file_is_refused(parcel, place):
    sign(parcel / "parcel.zip", parcel / "key")
    data = (parcel / "parcel.zip").read_bytes()
    (parcel / "parcel.zip").write_bytes(data[:place] + b"!" + data[place + 1 :])
    with pytest.raises(BundleError, match="expected the file that anna@example.org signed, found another file .*incorrect signature"):
        check_signature(parcel / "parcel.zip", parcel / "signers")


def test_another_signer_is_refused(parcel):
    new_key(parcel / "other")
    sign(parcel / "parcel.zip", parcel / "other")
    with pytest.raises(
        BundleError, match="expected a signature by a signer in .*signers, found the signature of somebody else .*No principal matched"
    ):
        check_signature(parcel / "parcel.zip", parcel / "signers")


@pytest.mark.parametrize("options", ['namespaces="git"', 'valid-before="20200101"'])
def test_a_signer_trusted_for_something_else_or_no_more_is_refused(parcel, options):
    sign(parcel / "parcel.zip", parcel / "key")
    with pytest.raises(BundleError, match="not permitted|expired"):
        check_signature(parcel / "parcel.zip", trusted(parcel, f"anna@example.org {options}"))
    assert check_signature(parcel / "parcel.zip", trusted(parcel, f'anna@example.org namespaces="{NAMESPACE}"')) == "anna@example.org"


def test_a_signature_made_for_another_purpose_is_refused(parcel):
    command = ["ssh-keygen", "-Y", "sign", "-f", str(parcel / "key"), "-n", "git", str(parcel / "parcel.zip")]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    with pytest.raises(BundleError, match="namespace does not match"):
        check_signature(parcel / "parcel.zip", parcel / "signers")


def test_what_is_missing_is_named(parcel):
    with pytest.raises(BundleError, match="parcel.zip.sig: expected the signature of parcel.zip, found no such file"):
        check_signature(parcel / "parcel.zip", parcel / "signers")
    sign(parcel / "parcel.zip", parcel / "key")
    with pytest.raises(BundleError, match="nobody: expected a list of trusted signers, found no such file"):
        check_signature(parcel / "parcel.zip", parcel / "nobody")
    with pytest.raises(BundleError, match="nokey: expected an OpenSSH private key, found no such file"):
        sign(parcel / "parcel.zip", parcel / "nokey")


@pytest.mark.parametrize("text", ["", "x", "-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n"])
def test_what_is_no_signature_is_refused(parcel, text):
    (parcel / "parcel.zip.sig").write_text(text)
    with pytest.raises(BundleError, match="parcel.zip.sig: expected a signature by a signer in .* found the signature of") as caught:
        check_signature(parcel / "parcel.zip", parcel / "signers")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["", "nonsense\n", "\x00"])
def test_a_list_that_trusts_nobody_refuses(parcel, text):
    sign(parcel / "parcel.zip", parcel / "key")
    (parcel / "signers").write_text(text)
    with pytest.raises(BundleError, match="expected a signature by a signer in"):
        check_signature(parcel / "parcel.zip", parcel / "signers")


def test_what_is_no_key_leaves_no_signature(parcel):
    (parcel / "text").write_text("no key")
    (parcel / "parcel.zip.sig").write_text("of an older zip")
    with pytest.raises(BundleError, match="text: expected a key that signs"):
        sign(parcel / "parcel.zip", parcel / "text")
    assert not (parcel / "parcel.zip.sig").exists()


def test_several_trusted_signers_are_told_apart(parcel):
    new_key(parcel / "other")
    both = trusted(parcel, "otto@example.org", key="other").read_text() + trusted(parcel, "anna@example.org").read_text()
    (parcel / "signers").write_text(f"# ours\n\n{both}")
    for key, name in (("key", "anna@example.org"), ("other", "otto@example.org")):
        sign(parcel / "parcel.zip", parcel / key)
        assert check_signature(parcel / "parcel.zip", parcel / "signers") == name


def test_without_openssh_one_sentence_says_so(parcel, monkeypatch):
    monkeypatch.setenv("PATH", str(parcel))
    with pytest.raises(BundleError, match="ssh-keygen: expected OpenSSH .* found no such command; install OpenSSH"):
        sign(parcel / "parcel.zip", parcel / "key")
