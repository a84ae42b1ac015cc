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
    done = _ssh_keygen(["sign", "-f", str(key.absolute()), "-n", NAMESPACE, str(path.absolute())])
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
    if not path.is_file():
        raise BundleError(path, "a file that somebody signed", "a folder" if path.is_dir() else "no such file", "check the path")
    signature = signature_path(path) if signature is None else Path(signature)
    remedy = "get file and signature again from whom they came; do not unpack this"
    if not signature.is_file():
        raise BundleError(signature, f"the signature of {path.name}", "no such file", remedy)
    if not signers.is_file():
        raise BundleError(signers, "a list of trusted signers", "no such file", "write a line `name@example.org ssh-ed25519 AAAA...`")
    names = ["-s", str(signature.absolute()), "-f", str(signers.absolute())]
    asked = _ssh_keygen(["find-principals", *names])
    if asked.returncode:
        raise BundleError(signature, f"a signature by one of {signers}", f"another one ({_words(asked)})", remedy)
    # It names the first line with this key, which need not be one for this purpose.
    lines = [*asked.stdout.decode(errors="replace").splitlines(), *signers.read_text(errors="replace").splitlines()]
    entries = [line.split()[0] for line in lines if line.strip() and not line.lstrip().startswith("#")]
    principals = list(dict.fromkeys(name for entry in entries for name in entry.strip('"').split(",")))
    for principal in principals:
        done = _ssh_keygen(["verify", "-I", principal, "-n", NAMESPACE, *names], path)
        if done.returncode == 0:
            return principal
    raise BundleError(path, f"what {principals[0]} signed", f"something else ({_words(done)})", remedy)


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
