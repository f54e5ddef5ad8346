"""Kafka's jars: pinned by coordinate and SHA-256, downloaded once, verified at every start.

`kafka-jars.txt` is the whole class path, flat, so a user's machine resolves nothing; `make lock` rewrites it with jgo's
resolver. Downloads go through jgo too, so a mirror set in jgo's own configuration file is respected.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import requests

from ebb.errors import SetupError

KAFKA = "org.apache.kafka:kafka_2.13:4.1.2"
LIST = "kafka-jars.txt"
PARALLEL = 6
"""Downloads at a time: the jars are many and small, so latency counts more than bandwidth."""

Progress = Callable[[int, int], None]
"""Called with the number of jars that are there, and of all."""


@dataclass(frozen=True)
class Jar:
    """One file of the class path."""

    coordinate: str
    """`group:artifact:version`."""
    sha256: str

    @property
    def filename(self) -> str:
        """Name under which it is stored."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def pinned() -> list[Jar]:
    """Return the jars of the class path as this version of Ebb pins them."""
    text = (files("ebb_cli.local") / LIST).read_text()
    rows = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    return [Jar(coordinate, sha256) for coordinate, sha256 in rows]


def classpath(lib: Path, *, jars: Sequence[Jar] | None = None, progress: Progress = lambda *_: None) -> list[Path]:
    """Return the jars' paths under `lib`, fetching those that are missing or damaged.

    Raises
    ------
    SetupError
        If a jar cannot be fetched, is not the one that was pinned, or cannot be stored.
    """
    jars = pinned() if jars is None else jars
    missing = [jar for jar in jars if _sha256(lib / jar.filename) != jar.sha256]
    if missing:
        progress(len(jars) - len(missing), len(jars))
        try:
            lib.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".fetching-", dir=lib) as folder:
                _fetch(missing, Path(folder), lib, lambda done: progress(len(jars) - len(missing) + done, len(jars)))
        except OSError as error:
            # Errors of requests are OSErrors as well, but _fetch_one has turned them into a SetupError already.
            what = f"Kafka's jars cannot be stored in {lib}: {error}."
            raise SetupError(what, "Give EBB_LIB a folder that can be written and has 100 MB free.") from error
    return [lib / jar.filename for jar in jars]


def _fetch(jars: Sequence[Jar], folder: Path, lib: Path, progress: Callable[[int], None]) -> None:
    with ThreadPoolExecutor(PARALLEL) as pool:
        pending = [pool.submit(_fetch_one, jar, folder, lib) for jar in jars]
        try:
            for done, future in enumerate(as_completed(pending), start=1):
                future.result()
                progress(done)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _fetch_one(jar: Jar, folder: Path, lib: Path) -> None:
    # jgo's Maven layer takes a quarter of a second to import and is needed at the first start only.
    from jgo.config import GlobalSettings  # noqa: PLC0415
    from jgo.maven import MavenContext  # noqa: PLC0415

    group, artifact, version = jar.coordinate.split(":")
    context = MavenContext(repo_cache=folder, remote_repos=GlobalSettings.load().repositories or None, timeout=30)
    try:
        path = context.project(group, artifact).at_version(version).artifact().resolve()
    except (requests.RequestException, RuntimeError) as error:
        reason = "the network does not reach it" if isinstance(error, requests.ConnectionError) else str(error)
        what = f"{jar.filename}, which Kafka needs, cannot be fetched: {reason[:200]}."
        hint = (
            "Connect this machine for the first start (behind a proxy set HTTPS_PROXY; for a mirror of your own, "
            f"jgo's configuration file), or copy {lib} from a machine where Ebb has run."
        )
        raise SetupError(what, hint) from error
    actual = _sha256(path)
    if actual != jar.sha256:
        what = f"{jar.filename} arrived with SHA-256 {actual}, but {jar.sha256} is pinned; it was not used."
        hint = "Try again; if it persists, do not trust the Maven repository that answers on this network."
        raise SetupError(what, hint)
    os.replace(path, lib / jar.filename)


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return None


def lock(target: Path) -> int:
    """Resolve Kafka's class path with jgo and write the list of pins; for developers, by `make lock`.

    Returns
    -------
    int
        The number of jars.
    """
    from jgo.maven import MavenContext  # noqa: PLC0415

    folder = Path(tempfile.mkdtemp(prefix="ebb-jars-"))
    try:
        context = MavenContext(repo_cache=folder, timeout=60)
        inputs, transitive = context.resolver.resolve([context.create_dependency(KAFKA)])
        artifacts = [dependency.artifact for dependency in (*inputs, *transitive) if dependency.scope != "test"]
        # Kafka logs through slf4j; its own distribution adds this binding, its POM does not.
        log4j = next(artifact.version for artifact in artifacts if artifact.artifactId == "log4j-core")
        binding = context.project("org.apache.logging.log4j", "log4j-slf4j-impl").at_version(log4j).artifact()
        rows = sorted(
            f"{artifact.groupId}:{artifact.artifactId}:{artifact.version} {_sha256(artifact.resolve())}"
            for artifact in (*artifacts, binding)
        )
    finally:
        shutil.rmtree(folder)
    head = f"# The class path of {KAFKA}, written by `make lock`: coordinate, SHA-256.\n"
    target.write_text(head + "\n".join(rows) + "\n")
    return len(rows)


if __name__ == "__main__":
    lock(Path(__file__).with_name(LIST))
