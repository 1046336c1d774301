"""Models by name: fetched once from a hub that this test plays, and kept as they were."""

import json
import re
import threading
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import voiceloom
from voiceloom import hub
from voiceloom.hub import HubError

MODEL = Path(__file__).parents[1] / "codec" / "pretrained" / "encodec"
FILES = {name: (MODEL / name).read_bytes() for name in ("config.json", "model.safetensors")}
FILES["pytorch_model.bin"] = b"a pickle"
FIRST, SECOND = "a" * 40, "b" * 40  # commits


class Hub(BaseHTTPRequestHandler):
    """Of one model, `team/codec`; and `team/gated`, which wants its terms accepted."""

    commit, asked = FIRST, []

    def do_HEAD(self) -> None:
        """Headers of what GET gives."""
        self.do_GET()

    def do_GET(self) -> None:
        """Information, the list of files, and files."""
        type(self).asked.append(self.path)
        if "team/codec" not in self.path:
            kind, status = ("GatedRepo", 403) if "gated" in self.path else ("RepoNotFound", 404)
            return self._give(b"", status, {"X-Error-Code": kind})
        if found := re.search(r"/resolve/(\w+)/(\S+)", self.path):
            body = FILES[found[2]]
            tag = {"ETag": f'"{sha1(body).hexdigest()}"', "X-Repo-Commit": found[1]}
            return self._give(body, 200, tag)
        if "/tree/" in self.path:
            files = [
                {"type": "file", "path": name, "size": len(body), "oid": sha1(body).hexdigest()}
                for name, body in FILES.items()
            ]
            return self._give(json.dumps(files).encode(), 200)
        revision = re.search(r"/revision/(\w+)", self.path)
        commit = revision[1] if revision and len(revision[1]) == 40 else type(self).commit
        if revision and revision[1] == "gone":
            return self._give(b"", 404, {"X-Error-Code": "RevisionNotFound"})
        info = {"id": "team/codec", "sha": commit, "cardData": {"license": "cc-by-4.0"}}
        return self._give(json.dumps(info).encode(), 200)

    def _give(self, body: bytes, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_) -> None:
        """Says nothing."""


@pytest.fixture
def server(monkeypatch, tmp_path):
    """The hub, and an empty cache."""
    constants = pytest.importorskip("huggingface_hub.constants")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Hub.commit, Hub.asked = FIRST, []
    here = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", here)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace("https://huggingface.co", here)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    yield server
    server.shutdown()


def test_a_codec_by_its_name_shows_its_licence_once_and_stays_at_its_commit(server, capsys):
    assert voiceloom.load_codec("team/codec").sample_rate == 24_000
    assert "licence: cc-by-4.0" in capsys.readouterr().err
    assert not [path for path in Hub.asked if "pytorch_model.bin" in path]
    Hub.commit, Hub.asked = SECOND, []
    assert hub.folder("team/codec").name == FIRST
    assert not Hub.asked and not capsys.readouterr().err
    assert hub.folder(f"team/codec@{SECOND}").name == SECOND


def test_what_is_here_is_used_without_a_network(server):
    kept = hub.folder("team/codec")
    server.shutdown()
    server.server_close()
    assert hub.folder("team/codec") == kept
    with pytest.raises(HubError, match="cannot be reached"):
        hub.folder("team/other")


def test_a_fetch_that_was_cut_short_is_completed(server):
    kept = hub.folder("team/codec")
    (kept / "model.safetensors").unlink()
    assert (hub.folder("team/codec") / "model.safetensors").read_bytes() == FILES[
        "model.safetensors"
    ]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("team/gated", "terms accepted"),
        ("team/nothing", "no such model"),
        ("team/codec@gone", "no such revision"),
        ("a folder/that is/not there", "no such folder"),
    ],
)
def test_what_cannot_be_had_says_why(server, name, says):
    with pytest.raises(HubError, match=says):
        hub.folder(name)


def test_a_folder_is_itself(tmp_path):
    assert hub.folder(tmp_path) == tmp_path
    assert hub.folder(str(tmp_path)) == tmp_path
