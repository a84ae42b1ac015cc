"""Signatures of files by OpenSSH keys, which ssh-keygen makes and checks without a network."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from mrh_monai.errors import BundleError

# Purpose of a signature. A signature that was made for another purpose, such as a Git commit, does not count for a bundle.
NAMESPACE = "mrh-monai-bundle"
SIGNATURE = ".sig"


def sign(path: Path | str, key: Path | str) -> Path:
    """Sign a file.

    Args:
        path: The file.
        key: Private key as ssh-keygen makes it, or a public key whose private key the agent holds.

    Returns:
        The signature, ``PATH.sig``.

    Raises:
        BundleError: ssh-keygen is not installed, or refuses.
    """
    path, key = Path(path), Path(key)
    if not key.is_file():
        raise BundleError(key, "an OpenSSH private key", "no such file", "make a key with ssh-keygen -t ed25519")
    signature = signature_path(path)
    signature.unlink(missing_ok=True)
    done = _ssh_keygen(["sign", "-f", str(key.absolute()), "-n", NAMESPACE, str(path.absolute())])
    if done.returncode or not signature.is_file():
        raise BundleError(key, "a key that signs", _words(done), "name a private key, and type its passphrase")
    return signature


def check_signature(path: Path | str, signers: Path | str, signature: Path | str | None = None) -> str:
    """Return who signed a file.

    Args:
        path: The file.
        signers: List of trusted signers in OpenSSH's format ALLOWED SIGNERS: a line ``name@example.org ssh-ed25519 AAAA...`` for each.
        signature: The signature; None for ``PATH.sig``.

    Returns:
        The name of the signer in that list.

    Raises:
        BundleError: There is no signature; the file differs from the file that was signed; or no trusted signer signed it.
    """
    path, signers = Path(path), Path(signers)
    if not path.is_file():
        raise BundleError(path, "a file that somebody signed", "a folder" if path.is_dir() else "no such file", "check the path")
    signature = signature_path(path) if signature is None else Path(signature)
    remedy = "ask the sender for the file and its signature again; do not unpack this file"
    if not signature.is_file():
        raise BundleError(signature, f"the signature of {path.name}", "no such file", remedy)
    if not signers.is_file():
        advice = "write such a file, with a line `name@example.org ssh-ed25519 AAAA...` for each signer"
        raise BundleError(signers, "a list of trusted signers", "no such file", advice)
    names = ["-s", str(signature.absolute()), "-f", str(signers.absolute())]
    asked = _ssh_keygen(["find-principals", *names])
    if asked.returncode:
        raise BundleError(signature, f"a signature by a signer in {signers}", f"the signature of somebody else ({_words(asked)})", remedy)
    # ssh-keygen names the first line with this key, which need not be a line for this purpose.
    lines = [*asked.stdout.decode(errors="replace").splitlines(), *signers.read_text(errors="replace").splitlines()]
    entries = [line.split()[0] for line in lines if line.strip() and not line.lstrip().startswith("#")]
    principals = list(dict.fromkeys(name for entry in entries for name in entry.strip('"').split(",")))
    for principal in principals:
        done = _ssh_keygen(["verify", "-I", principal, "-n", NAMESPACE, *names], path)
        if done.returncode == 0:
            return principal
    raise BundleError(path, f"the file that {principals[0]} signed", f"another file ({_words(done)})", remedy)


def signature_path(path: Path | str) -> Path:
    """Return the path of the signature of a file.

    Example:
        >>> signature_path("mrh_nf.zip").name
        'mrh_nf.zip.sig'
    """
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
