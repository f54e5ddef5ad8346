"""Kafka's jars: pinned, fetched once, never used unverified. A Maven repository of the test's own serves them."""

import gc
import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ebb.errors import SetupError
from ebb_cli.local import jars
from ebb_cli.local.jars import Jar, classpath, pinned
from ebb_cli.local.ports import free_port

BODIES = {"org.example:one:1.0": b"first jar", "org.example:two:2.1": b"second jar"}
JARS = [Jar(coordinate, hashlib.sha256(body).hexdigest()) for coordinate, body in BODIES.items()]


class _Handler(SimpleHTTPRequestHandler):
    requests: list[str]

    def do_GET(self) -> None:
        self.requests.append(self.path)
        super().do_GET()

    def log_message(self, *_: object) -> None:
        """Keep the test's output quiet."""


def _use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, port: int) -> None:
    config = tmp_path / "jgo.conf"
    config.write_text(f"[repositories]\ncentral = http://127.0.0.1:{port}\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(config))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A Maven repository on loopback that jgo is configured for; yields the requested paths."""
    root = tmp_path / "repository"
    for coordinate, body in BODIES.items():
        group, artifact, version = coordinate.split(":")
        folder = root.joinpath(*group.split("."), artifact, version)
        folder.mkdir(parents=True)
        (folder / f"{artifact}-{version}.jar").write_bytes(body)
    handler = type("Handler", (_Handler,), {"requests": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(root))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        _use(monkeypatch, tmp_path, server.server_port)
        yield handler.requests  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


def test_the_pins_are_a_whole_class_path_of_one_kafka() -> None:
    pins = pinned()
    version = jars.KAFKA.rsplit(":", 1)[1]
    assert jars.KAFKA in {jar.coordinate for jar in pins}
    assert all(len(bytes.fromhex(jar.sha256)) == 32 for jar in pins)
    ours = {jar.coordinate.rsplit(":", 1)[1] for jar in pins if jar.coordinate.startswith("org.apache.kafka:")}
    assert ours == {version}
    names = [jar.coordinate.rsplit(":", 1)[0] for jar in pins]
    assert len(names) == len(set(names)), "two versions of one artifact"
    assert "org.apache.logging.log4j:log4j-slf4j-impl" in names


def test_missing_jars_are_fetched_with_progress_and_then_kept(tmp_path: Path, repository: list[str]) -> None:
    lib = tmp_path / "deep" / "lib"
    progress: list[tuple[int, int]] = []
    paths = classpath(lib, jars=JARS, progress=lambda done, total: progress.append((done, total)))
    assert [path.read_bytes() for path in paths] == list(BODIES.values())
    assert progress == [(0, 2), (1, 2), (2, 2)]
    requests = len(repository)
    assert classpath(lib, jars=JARS) == paths
    assert len(repository) == requests
    assert sorted(path.name for path in lib.iterdir()) == ["one-1.0.jar", "two-2.1.jar"]


def test_a_damaged_jar_is_fetched_again(tmp_path: Path, repository: list[str]) -> None:
    paths = classpath(tmp_path / "lib", jars=JARS)
    paths[0].write_bytes(b"first jaR")
    repository.clear()
    classpath(tmp_path / "lib", jars=JARS)
    assert paths[0].read_bytes() == b"first jar"
    assert not any("two" in path for path in repository)


def test_a_jar_that_is_not_the_pinned_one_is_refused_and_not_kept(tmp_path: Path, repository: list[str]) -> None:
    wrong = Jar("org.example:one:1.0", "0" * 64)
    with pytest.raises(SetupError, match=r"one-1\.0\.jar arrived with SHA-256 [0-9a-f]{64}, but 0{64} is pinned"):
        classpath(tmp_path / "lib", jars=[wrong, JARS[1]])
    assert not (tmp_path / "lib" / "one-1.0.jar").exists()
    assert not list((tmp_path / "lib").glob(".fetching-*"))


# jgo leaves the body of a refusal unread and its connection to the garbage collector, which would warn later.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_a_jar_that_the_repository_lacks_is_named(tmp_path: Path, repository: list[str]) -> None:
    with pytest.raises(SetupError, match=r"three-3\.jar, which Kafka needs, cannot be fetched"):
        classpath(tmp_path / "lib", jars=[Jar("org.example:three:3", "0" * 64)])
    gc.collect()


def test_without_network_one_sentence_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, tmp_path, free_port())
    with pytest.raises(SetupError) as refused:
        classpath(tmp_path / "lib", jars=JARS)
    assert "the network does not reach it" in refused.value.what
    assert "Connect this machine for the first start" in refused.value.hint
    assert "\n" not in str(refused.value)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, repository: list[str]) -> None:
    (tmp_path / "lib").write_text("a file where the folder should be")
    with pytest.raises(SetupError, match=r"cannot be stored in .*EBB_LIB"):
        classpath(tmp_path / "lib", jars=JARS)
