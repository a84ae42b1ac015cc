"""Keys of OpenSSH, and lists of the signers that are trusted."""

import subprocess


def new_key(path, passphrase=""):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "", "-f", str(path)], check=True, timeout=30)
    return path


def trusted(folder, *lines, key="key"):
    public = (folder / f"{key}.pub").read_text().strip()
    (folder / "signers").write_text("".join(f"{line} {public}\n" for line in lines))
    return folder / "signers"
