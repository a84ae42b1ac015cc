"""Signatures of files by OpenSSH keys: made and checked by ssh-keygen, offline."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from mrh_monai.errors import BundleError

# What a signature is for; one made for another purpose, such as a Git commit, is none of a bundle.
NAMESPACE = "mrh-monai-bundle"
SIGNATURE = ".sig"


def sign(path: Path | str, key: Path | str) -> Path:
    """Write ``PATH.sig``.

    Args:
        path: The file to sign.
        key: Private key as ssh-keygen makes it, or a public one whose private key is in the agent.

    Raises:
        BundleError: ssh-keygen is not there, or refuses.
    """
    path, key = Path(path), Path(key)
    if not key.is_file():
        raise BundleError(key, "an OpenSSH private key", "no such file", "make one with ssh-keygen -t ed25519")
    signature = signature_path(path)
    signature.unlink(missing_ok=True)
    done = _ssh_keygen(["sign", "-f", str(key), "-n", NAMESPACE, str(path)])
    if done.returncode or not signature.is_file():
        raise BundleError(key, "a key that signs", _words(done), "name a private key, and give its passphrase")
    return signature


def check_signature(path: Path | str, signers: Path | str, signature: Path | str | None = None) -> str:
    """Who signed a file.

    Args:
        path: The file.
        signers: Those who are trusted, in OpenSSH's ALLOWED SIGNERS format: ``name@example.org ssh-ed25519 AAAA...`` a line.
        signature: ``PATH.sig`` if None.

    Returns:
        The signer's name in that list.

    Raises:
        BundleError: There is no signature; the file is not what was signed, or not signed by one of them.
    """
    path, signers = Path(path), Path(signers)
    signature = signature_path(path) if signature is None else Path(signature)
    remedy = "get file and signature again from whom they came; do not unpack this"
    if not signature.is_file():
        raise BundleError(signature, f"the signature of {path.name}", "no such file", remedy)
    if not signers.is_file():
        raise BundleError(signers, "a list of trusted signers", "no such file", "write a line `name@example.org ssh-ed25519 AAAA...`")
    names = ["-s", str(signature), "-f", str(signers)]
    asked = _ssh_keygen(["find-principals", *names, "-n", NAMESPACE])
    found = asked.stdout.decode(errors="replace").split("\n")[0].strip()
    if asked.returncode or not found:
        raise BundleError(signature, f"a signature by one of {signers}", f"another one ({_words(asked)})", remedy)
    done = _ssh_keygen(["verify", "-I", found, "-n", NAMESPACE, *names], path)
    if done.returncode:
        raise BundleError(path, f"what {found} signed", f"something else ({_words(done)})", remedy)
    return found


def signature_path(path: Path | str) -> Path:
    """``PATH.sig``."""
    return Path(f"{path}{SIGNATURE}")


def _ssh_keygen(arguments: list[str], stdin: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    program = shutil.which("ssh-keygen")
    if program is None:
        raise BundleError("ssh-keygen", "OpenSSH to sign and to check signatures", "no such command", "install OpenSSH (8.1 or newer)")
    command = [program, "-Y", *arguments]
    if stdin is None:
        return subprocess.run(command, capture_output=True, check=False)
    with stdin.open("rb") as stream:
        return subprocess.run(command, stdin=stream, capture_output=True, check=False)


def _words(done: subprocess.CompletedProcess[bytes]) -> str:
    return " ".join((done.stderr or done.stdout).decode(errors="replace").split())[:200] or f"status {done.returncode}"
