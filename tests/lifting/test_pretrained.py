"""Weights by name: bundled, from files and folders, and from a hub that runs in this process."""

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch

from ites_fast import Lifter
from ites_fast.errors import InputError
from ites_fast.lifting.pretrained import HUB_NAME
from ites_fast.weights import BUNDLED

COMMIT = "0123456789abcdef0123456789abcdef01234567"
POSE = np.random.default_rng(0).uniform(0, 500, (17, 2))


def test_bundled_file_and_folder(tmp_path, monkeypatch):
    expected = Lifter.from_pretrained()
    assert "bundled weights" in repr(expected)
    shutil.copy(BUNDLED, tmp_path / "mine.safetensors")
    run = tmp_path / "runs" / "mine"
    run.mkdir(parents=True)
    shutil.copy(BUNDLED, run / "lifter.safetensors")
    monkeypatch.chdir(tmp_path)
    # "runs/mine" could be a model of the hub: what is here comes first
    for name in ("mine.safetensors", tmp_path / "mine.safetensors", "runs/mine", run):
        lifter = Lifter.from_pretrained(name)
        assert repr(lifter).startswith(f"Lifter({name}, on cpu")
        np.testing.assert_array_equal(lifter(POSE).positions, expected(POSE).positions)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.safetensors", "checkpoint nowhere.safetensors: no such file"),
        ("models/nowhere.safetensors", "checkpoint models/nowhere.safetensors: no such file"),
        ("/no/such/folder", "/no/such/folder: no such file"),
        ("", "no such file"),
    ],
)
def test_names_that_are_not_for_the_hub(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        Lifter.from_pretrained(name)


@pytest.mark.parametrize(
    ("device", "message"), [("toaster", "device: expected a device of PyTorch"), ("cuda", "sees no CUDA device here")]
)
def test_devices_that_are_not_there(device, message):
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(InputError, match=message):
        Lifter.from_pretrained(device=device)


@pytest.mark.parametrize(
    ("name", "repo", "revision"),
    [
        ("owner/name", "owner/name", None),
        ("owner/name@v1.0", "owner/name", "v1.0"),
        ("o-w_n.er/n-a_m.e@refs/pr/1", "o-w_n.er/n-a_m.e", "refs/pr/1"),
    ],
)
def test_names_of_the_hub(name, repo, revision):
    match = HUB_NAME.fullmatch(name)
    assert (match["repo"], match["revision"]) == (repo, revision)


@pytest.mark.parametrize("name", ["name", "a/b/c", "/a", "a/", "a/b@", "a b/c", "a/b@x@y", "C:\\a\\b"])
def test_names_that_cannot_be_on_the_hub(name):
    assert HUB_NAME.fullmatch(name) is None


class Hub(BaseHTTPRequestHandler):
    """Serves one model, owner/good at revisions main and v1; owner/empty has no file. It writes down what is asked."""

    def __init__(self, asked, *arguments):
        self.asked = asked
        super().__init__(*arguments)

    def do_HEAD(self):
        self.answer(b"")

    def do_GET(self):
        self.answer(BUNDLED.read_bytes())

    def answer(self, body):
        self.asked.append(f"{self.command} {self.path}")
        found = {f"/owner/good/resolve/{revision}/lifter.safetensors" for revision in ("main", "v1", COMMIT)}
        if self.path in found:
            size, digest = BUNDLED.stat().st_size, hashlib.sha256(BUNDLED.read_bytes()).hexdigest()
            headers = {"Content-Length": size, "ETag": f'"{digest}"', "X-Repo-Commit": COMMIT}
            self.reply(200, headers, body)
        elif self.path.startswith("/owner/good/resolve/"):
            self.reply(404, {"X-Error-Code": "RevisionNotFound"}, b"")
        elif self.path.startswith("/owner/empty/"):
            self.reply(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b"")
        else:
            self.reply(404, {"X-Error-Code": "RepoNotFound"}, b"")

    def reply(self, status, headers, body):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        if "Content-Length" not in headers:
            self.send_header("Content-Length", "0")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub():
    """Address of a hub, and the requests that it got."""
    asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Hub, asked)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


ASK = """
import sys
from ites_fast import InputError, Lifter
for name in sys.argv[1:]:
    try:
        print(Lifter.from_pretrained(name))
    except InputError as error:
        print("InputError:", error)
"""


def ask(names, address, folder, **environment):
    """What a process says to these names whose hub is at this address; the address is read when it starts."""
    pytest.importorskip("huggingface_hub.file_download")
    environment = {
        **os.environ,
        "HF_ENDPOINT": address,
        "HF_HOME": str(folder / "cache"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
        **environment,
    }
    command = [sys.executable, "-c", ASK, *names]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_the_hub(hub, tmp_path):
    address, asked = hub
    names = ["owner/good", "owner/good@v1", "owner/good@v2", "owner/empty", "owner/none"]
    good, tagged, no_revision, no_file, no_model = ask(names, address, tmp_path)
    assert good.startswith("Lifter(owner/good on the hub, on cpu")
    assert tagged.startswith("Lifter(owner/good@v1 on the hub, on cpu")
    assert no_revision == "InputError: owner/good@v2: the model owner/good has no revision v2"
    assert no_file.endswith("owner/empty has no file lifter.safetensors")
    assert "there is none of this name" in no_model
    assert {path.rpartition("/")[2] for path in asked} == {"lifter.safetensors"}
    assert sum(line.startswith("GET") for line in asked) == 1  # both revisions are one commit
    (again,) = ask(["owner/good"], "http://127.0.0.1:1", tmp_path, HF_HUB_OFFLINE="1")
    assert again.startswith("Lifter(owner/good on the hub")
    (offline,) = ask(["owner/other"], "http://127.0.0.1:1", tmp_path, HF_HUB_OFFLINE="1")
    assert "InputError: owner/other: no such file or folder, so it is taken for a model of the Hug" in offline
    assert "the hub cannot be reached" in offline


def test_without_the_extra(tmp_path):
    """A module of that name that cannot be imported stands in for one that is not installed."""
    (tmp_path / "huggingface_hub.py").write_text("raise ImportError('no such module')")
    command = [sys.executable, "-c", ASK, "owner/name"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.stdout.endswith('which needs: pip install "ites_fast[hub]"\n'), done.stderr
