"""One virtual environment for each peer, created from its pinned requirements and kept until those change."""

import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from ebb.errors import SetupError

REQUIREMENTS = Path(__file__).parent / "requirements"


def python_of(peer: str, folder: Path) -> Path:
    """Return the interpreter of a peer's environment, which is created in `folder` if missing.

    Raises
    ------
    SetupError
        If its packages cannot be installed; the message contains the installer's.
    """
    pins = REQUIREMENTS / f"{peer}.txt"
    home, python = folder / peer, folder / peer / "bin" / "python"
    digest = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()
    stamp = home / "pins"
    if stamp.exists() and stamp.read_text() == digest:
        return python
    shutil.rmtree(home, ignore_errors=True)
    print(f"Installing {peer} …", flush=True)
    uv = Path(sys.executable).parent / "uv"
    venv.create(home, with_pip=not uv.exists())
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install = [str(uv), "pip", "install", "--quiet", "--python", str(python)] if uv.exists() else pip
    done = subprocess.run([*install, "--require-hashes", "-r", str(pins)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        shutil.rmtree(home, ignore_errors=True)
        last = " ".join(done.stderr.split())[-600:]
        what = f"The packages of {peer} cannot be installed on Python {sys.version.split()[0]}: {last}"
        raise SetupError(what, "Connect this machine to a package index, or use a Python that the framework supports.")
    stamp.write_text(digest)
    return python
