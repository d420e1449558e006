"""A Hub on loopback: the part of its HTTP API that huggingface_hub uses to make, fill, read and tag repositories.

It keeps everything in memory, stores large files as Git LFS objects (not Xet, which clients have to be told), and notes
what was asked of it. See huggingface.co/docs/hub/api and the Git LFS batch API.
"""

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvicorn
import yaml
from huggingface_hub import constants
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

TOKEN = "hf_owner"  # noqa: S105 - of nobody
KINDS = {"models": "", "spaces": "spaces/"}


@dataclass(frozen=True)
class File:
    """A file of a commit; large ones and binaries are LFS objects, others lie in git."""

    content: bytes
    lfs: bool

    @property
    def oid(self) -> str:
        """Name of the git blob."""
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()  # noqa: S324 - git's

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid


@dataclass
class Repo:
    """Files of each commit, and the commits that branches and tags name."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, File], branch: str) -> str:
        told = json.dumps([len(self.commits), {name: file.oid for name, file in sorted(files.items())}])
        oid = hashlib.sha1(told.encode()).hexdigest()  # noqa: S324 - git's
        self.commits[oid] = files
        self.refs[branch] = oid
        return oid


class RefusalError(Exception):
    """An answer of the Hub that is not 200."""

    def __init__(self, status: int, code: str = "", **content: object) -> None:
        super().__init__(code)
        self.response = JSONResponse(content or {"error": code}, status, {"X-Error-Code": code} if code else {})


def full_name(request: Request) -> str:
    """Owner and name of the repository that a request is about, after the prefix of its kind."""
    asked = request.path_params
    return f"{KINDS[asked.get('kind', 'models')]}{asked['owner']}/{asked['name']}"


class Hub:
    """Repositories by kind and id, LFS objects by SHA-256, and every request as "METHOD path"."""

    def __init__(self) -> None:
        self.url = self.storage = ""
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.cut_after: dict[str, list[int]] = {}
        """How many bytes to send of a file before the line breaks, for each of the next requests."""
        self.sent_from: list[int] = []
        """Where each sending of an LFS object began, in bytes."""
        self.down = False

    def downloads(self) -> list[str]:
        """Requests for the content of files."""
        return [line for line in self.requests if re.match(r"GET (/lfs/|.*/resolve/)", line)]

    def repo(self, request: Request, *, write: bool = False) -> Repo:
        repo = self.repos.get(full_name(request))
        owner = request.headers.get("authorization") == f"Bearer {TOKEN}"
        if repo is None or (repo.private and not owner):
            raise RefusalError(404 if owner else 401, "RepoNotFound")
        if repo.gated and not owner:
            raise RefusalError(403, "GatedRepo")
        if write and not owner:
            raise RefusalError(403)
        return repo

    def files(self, request: Request) -> tuple[str, dict[str, File]]:
        """Commit that a request names, and its files."""
        repo, revision = self.repo(request), request.path_params.get("revision", "main")
        oid = repo.refs.get(revision, revision)
        if oid not in repo.commits:
            raise RefusalError(404, "RevisionNotFound")
        return oid, repo.commits[oid]

    async def create(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            raise RefusalError(401)
        asked = await request.json()
        kind = asked.get("type", "model") + "s"
        name = f"{KINDS[kind]}{asked['organization']}/{asked['name']}"
        answer = {"url": f"{self.url}/{name}"}
        if name in self.repos:
            raise RefusalError(409, **answer)
        if kind == "spaces" and asked.get("sdk") != "gradio":
            raise RefusalError(400, error="a Space needs an sdk")
        self.repos[name] = Repo(private=asked.get("private") or asked.get("visibility") == "private")
        self.repos[name].commit({".gitattributes": File(b"*.safetensors filter=lfs\n", lfs=False)}, "main")
        return JSONResponse(answer)

    async def validate(self, request: Request) -> Response:
        asked = await request.json()
        settings = yaml.safe_load(asked["content"].split("---\n")[1])
        if asked["repoType"] == "space" and not {"sdk", "sdk_version", "app_file"} <= set(settings):
            raise RefusalError(400, errors=[{"message": "sdk, sdk_version and app_file are needed"}])
        return JSONResponse({"errors": [], "warnings": []})

    async def preupload(self, request: Request) -> Response:
        self.repo(request, write=True)
        _, there = self.files(request)
        answer = []
        for asked in (await request.json())["files"]:
            binary = b"\0" in base64.b64decode(asked["sample"]) or asked["size"] > 10_000_000
            old = there.get(asked["path"])
            mode = {"uploadMode": "lfs" if binary else "regular", "shouldIgnore": False}
            answer.append({"path": asked["path"], **mode, "oid": old and old.etag})
        return JSONResponse({"files": answer})

    async def batch(self, request: Request) -> Response:
        self.repo(request, write=True)
        objects = (await request.json())["objects"]
        for asked in objects:
            if asked["oid"] not in self.objects:
                href = f"{self.storage}/lfs/{asked['oid']}/{asked['oid']}"
                asked["actions"] = {"upload": {"href": href}}
        return JSONResponse({"transfer": "basic", "objects": objects})

    async def put(self, request: Request) -> Response:
        content = await request.body()
        if hashlib.sha256(content).hexdigest() != request.path_params["oid"]:
            raise RefusalError(400)
        self.objects[request.path_params["oid"]] = content
        return Response()

    async def commit(self, request: Request) -> Response:
        repo = self.repo(request, write=True)
        files = dict(self.files(request)[1])
        for line in (await request.body()).splitlines():
            operation = json.loads(line)
            value = operation["value"]
            match operation["key"]:
                case "file":
                    files[value["path"]] = File(base64.b64decode(value["content"]), lfs=False)
                case "lfsFile":
                    files[value["path"]] = File(self.objects[value["oid"]], lfs=True)
                case "deletedFile":
                    del files[value["path"]]
        oid = repo.commit(files, request.path_params["revision"])
        url = f"{self.url}/{full_name(request)}/commit/{oid}"
        return JSONResponse({"success": True, "commitOid": oid, "commitUrl": url})

    async def branch(self, request: Request) -> Response:
        repo = self.repo(request, write=True)
        if request.path_params["ref"] in repo.refs:
            raise RefusalError(409, error="this branch exists already")
        repo.refs[request.path_params["ref"]] = repo.refs["main"]
        return JSONResponse({})

    async def tag(self, request: Request) -> Response:
        repo, name = self.repo(request, write=True), (await request.json())["tag"]
        if name in repo.refs:
            raise RefusalError(409, error="this tag exists already")
        repo.refs[name] = self.files(request)[0]
        return JSONResponse({})

    async def info(self, request: Request) -> Response:
        oid, files = self.files(request)
        siblings = [{"rfilename": file} for file in files]
        return JSONResponse({"id": full_name(request), "sha": oid, "siblings": siblings})

    async def tree(self, request: Request) -> Response:
        rows = []
        for name, file in self.files(request)[1].items():
            lfs = {"lfs": {"oid": file.sha256, "size": len(file.content), "pointerSize": 134}} if file.lfs else {}
            rows.append({"type": "file", "path": name, "size": len(file.content), "oid": file.oid, **lfs})
        return JSONResponse(rows)

    async def resolve(self, request: Request) -> Response:
        oid, files = self.files(request)
        file = files.get(request.path_params["path"])
        if file is None:
            raise RefusalError(404, "EntryNotFound")
        headers = {"X-Repo-Commit": oid, "ETag": f'"{file.etag}"'}
        if not file.lfs:
            return Response(file.content, headers=headers)
        linked = {"X-Linked-ETag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.content))}
        location = f"{self.storage}/lfs/{file.sha256}/{request.path_params['path']}"
        return Response(status_code=302, headers={**headers, **linked, "Location": location})

    async def get(self, request: Request) -> Response:
        """Send an LFS object, from where the request says, or as much of it as `cut_after` allows."""
        if "authorization" in request.headers:  # the storage signs its addresses, and is not to learn who asks
            raise RefusalError(400)
        content = self.objects[request.path_params["oid"]]
        start = int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.sent_from.append(start)
        headers = {"Content-Length": str(len(content) - start), "ETag": f'"{request.path_params["oid"]}"'}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        cuts = self.cut_after.get(request.path_params["path"])
        cut = cuts.pop(0) if cuts else len(content)

        async def body() -> AsyncIterator[bytes]:
            yield content[start : start + cut]  # fewer bytes than promised: the server closes the connection

        return StreamingResponse(body(), 206 if start else 200, headers)

    def app(self) -> Starlette:
        async def refuse(_: Request, refusal: RefusalError) -> Response:
            return refusal.response

        async def note(scope: dict, receive: object, send: object) -> None:
            if scope["type"] == "http":
                self.requests.append(f"{scope['method']} {scope['path']}")
            await (Response(status_code=503) if self.down else routes)(scope, receive, send)

        api = "/api/{kind}/{owner}/{name}"
        routes = Starlette(
            routes=[
                Route("/api/repos/create", self.create, methods=["POST"]),
                Route("/api/validate-yaml", self.validate, methods=["POST"]),
                Route(api, self.info),
                Route(f"{api}/revision/{{revision:path}}", self.info),
                Route(f"{api}/tree/{{revision:path}}", self.tree),
                Route(f"{api}/preupload/{{revision:path}}", self.preupload, methods=["POST"]),
                Route(f"{api}/commit/{{revision:path}}", self.commit, methods=["POST"]),
                Route(f"{api}/branch/{{ref:path}}", self.branch, methods=["POST"]),
                Route(f"{api}/tag/{{revision:path}}", self.tag, methods=["POST"]),
                Route("/{owner}/{name}.git/info/lfs/objects/batch", self.batch, methods=["POST"]),
                Route("/{kind}/{owner}/{name}.git/info/lfs/objects/batch", self.batch, methods=["POST"]),
                Route("/lfs/{oid}/{path:path}", self.put, methods=["PUT"]),
                Route("/lfs/{oid}/{path:path}", self.get),
                Route("/{owner}/{name}/resolve/{revision}/{path:path}", self.resolve),
            ],
            exception_handlers={RefusalError: refuse},
        )
        return note


@contextmanager
def running() -> Iterator[Hub]:
    """Serve an empty Hub on a free port of this machine."""
    hub = Hub()
    with socket.create_server(("127.0.0.1", 0)) as listener:  # listens at once: whoever comes early waits
        port = listener.getsockname()[1]
        hub.url, hub.storage = f"http://127.0.0.1:{port}", f"http://localhost:{port}"  # two hosts to clients, as there
        server = uvicorn.Server(uvicorn.Config(hub.app(), log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield hub
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def alone(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Hub]:
    """Make a Hub the only one that huggingface_hub knows in this process: the cache in ``folder``, nobody logged in.

    Settings of its environment variables, which it has read long ago; and nothing may leave this machine.
    """
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: tuple[str, int]) -> None:
        assert address[0] in {"127.0.0.1", "::1"}, f"{address} is not on this machine"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with running() as hub:
        settings = {
            "ENDPOINT": hub.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(folder / "cache"),
            "HF_HUB_DISABLE_XET": True,
            "HF_TOKEN_PATH": str(folder / "token"),
        }
        for name, value in settings.items():
            monkeypatch.setattr(constants, name, value)
        yield hub
