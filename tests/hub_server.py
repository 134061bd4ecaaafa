"""A stand-in for the Hugging Face Hub: what huggingface_hub asks of it to make, write and read models."""

import base64
import hashlib
import http.server
import json
import re
import threading
import urllib.parse

TOKEN = "a token that may write"


class HubServer(http.server.ThreadingHTTPServer):
    """Models in memory, by user/name; `failing` is a status that all requests get, 0 for none.

    Attributes:
      models: of each model its commits, oldest first: hash, message, and content by path.
      private: the names of those that only `TOKEN` may read.
      objects: large files by sha256, as they are uploaded before the commit that names them.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models, self.private, self.objects, self.failing = {}, set(), {}, 0
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def put(self, name, files, message="by hand"):
        """Adds a commit with these files beside those of the one before."""
        commits = self.models.setdefault(name, [])
        files = {**(commits[-1][2] if commits else {}), **files}
        commits.append((hashlib.sha1(f"{len(commits)}{sorted(files)}".encode()).hexdigest(), message, files))
        return commits[-1][0]

    def close(self):
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: HubServer

    def log_message(self, *args):
        pass

    def answer(self, status, content=b"", **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_request(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urllib.parse.unquote(self.path.partition("?")[0])
        is_known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if self.server.failing:
            return self.answer(self.server.failing, b"out of order")
        for method, pattern, needs_token, function in _ROUTES:
            if method == self.command.replace("HEAD", "GET") and (found := re.fullmatch(pattern, path)):
                if needs_token and not is_known:
                    return self.answer(401, {"error": "Invalid username or password."}, X_Error_Message="Invalid")
                name = found.groupdict().get("name")
                if (
                    name
                    and method == "GET"
                    and (name not in self.server.models or (name in self.server.private and not is_known))
                ):
                    status = 404 if is_known else 401  # the hub does not tell strangers what exists
                    return self.answer(status, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
                return function(self, body, **found.groupdict())
        return self.answer(404, {"error": f"no such page: {self.command} {path}"})

    do_GET = do_HEAD = do_POST = do_PUT = handle_request  # noqa: N815 - the names of http.server

    def commit_of(self, name, revision):
        for commit in reversed(self.server.models[name]):
            if revision in (None, "main", commit[0]):
                return commit
        return self.answer(404, {"error": "Invalid rev id"}, X_Error_Code="RevisionNotFound")

    def create(self, body):
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.server.models:
            return self.answer(409, {"error": "exists", "url": f"{self.server.url}/{name}"})
        self.server.models[name] = []
        if asked.get("visibility") == "private" or asked.get("private"):
            self.server.private.add(name)
        return self.answer(200, {"url": f"{self.server.url}/{name}", "name": name})

    def validate(self, body):
        has_head = json.loads(body)["content"].startswith("---\nlicense: ")
        errors = [] if has_head else [{"message": "no license"}]
        self.answer(200 if has_head else 400, {"errors": errors, "warnings": []})

    def preupload(self, body, name):
        files = json.loads(body)["files"]
        modes = {True: "lfs", False: "regular"}
        self.answer(
            200,
            {
                "files": [
                    {"path": path, "uploadMode": modes[path.endswith(".safetensors")], "shouldIgnore": False}
                    for path in (file["path"] for file in files)
                ]
            },
        )

    def batch(self, body, name):
        asked = json.loads(body)["objects"]
        action = {"upload": {"href": f"{self.server.url}/objects/%s"}}
        objects = [{**each, "actions": json.loads(json.dumps(action) % each["oid"])} for each in asked]
        self.answer(200, {"transfer": "basic", "objects": objects})

    def put_object(self, body, sha256):
        assert hashlib.sha256(body).hexdigest() == sha256
        self.server.objects[sha256] = body
        self.answer(200)

    def commit(self, body, name, revision):
        if revision != "main":
            return self.answer(404, {"error": "Invalid rev id"}, X_Error_Code="RevisionNotFound")
        files, message = {}, ""
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                message = value["summary"]
            else:
                is_large = line["key"] == "lfsFile"
                content = self.server.objects[value["oid"]] if is_large else base64.b64decode(value["content"])
                files[value["path"]] = content
        sha = self.server.put(name, files, message)
        return self.answer(200, {"commitUrl": f"{self.server.url}/{name}/commit/{sha}", "commitOid": sha})

    def info(self, body, name, revision=None):
        if commit := self.commit_of(name, revision):
            self.answer(200, {"id": name, "sha": commit[0], "siblings": [{"rfilename": each} for each in commit[2]]})

    def tree(self, body, name, revision):
        if commit := self.commit_of(name, revision):
            self.answer(200, [_entry(path, content) for path, content in commit[2].items()])

    def resolve(self, body, name, revision, path):
        if commit := self.commit_of(name, revision):
            if path not in commit[2]:
                return self.answer(404, {"error": "Entry not found"}, X_Error_Code="EntryNotFound")
            content = commit[2][path]
            return self.answer(200, content, ETag=f'"{_blob_id(content)}"', X_Repo_Commit=commit[0])
        return None


def _blob_id(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _entry(path, content):
    return {"type": "file", "path": path, "size": len(content), "oid": _blob_id(content)}


_NAME = r"(?P<name>[^/]+/[^/]+)"
# Method, path, whether it needs the token, and the function that answers.
_ROUTES = (
    ("POST", r"/api/repos/create", True, _Handler.create),
    ("POST", r"/api/validate-yaml", False, _Handler.validate),
    ("POST", rf"/api/models/{_NAME}/preupload/[^/]+", True, _Handler.preupload),
    ("POST", rf"/{_NAME}\.git/info/lfs/objects/batch", True, _Handler.batch),
    ("PUT", r"/objects/(?P<sha256>\w+)", False, _Handler.put_object),
    ("POST", rf"/api/models/{_NAME}/commit/(?P<revision>.+)", True, _Handler.commit),
    ("GET", rf"/api/models/{_NAME}", False, _Handler.info),
    ("GET", rf"/api/models/{_NAME}/revision/(?P<revision>.+)", False, _Handler.info),
    ("GET", rf"/api/models/{_NAME}/tree/(?P<revision>[^/]+)", False, _Handler.tree),
    ("GET", rf"/{_NAME}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", False, _Handler.resolve),
)
