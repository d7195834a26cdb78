"""A hub of dataset repositories on loopback: as much of its HTTP API as the real client needs to push.

Run as `python hub_stand_in.py FOLDER [--broken]`; it prints its port. What is committed lies under FOLDER/OWNER/NAME,
requests are lines of FOLDER/requests.jsonl. The key `placeholder-key` may write; the repository `open/...` is public.
"""

import asyncio
import base64
import hashlib
import json
import socket
import sys
from pathlib import Path

from aiohttp import web

KEY = "placeholder-key"


class Hub:
    def __init__(self, folder: Path, broken: bool) -> None:
        self.folder, self.broken = folder, broken
        self.blobs: dict[str, bytes] = {}
        self.private: dict[str, bool] = {}

    @web.middleware
    async def checked(self, request: web.Request, handler: web.RequestHandler) -> web.StreamResponse:
        with (self.folder / "requests.jsonl").open("a") as file:
            file.write(json.dumps([request.method, request.path]) + "\n")
        open_to_all = request.method == "PUT" or request.path == "/api/validate-yaml"
        authorised = request.headers.get("Authorization") == f"Bearer {KEY}" or open_to_all
        if not authorised:
            said = f"no such key: {request.headers.get('Authorization', 'none')}"
            return web.json_response({"error": said}, status=401, headers={"X-Error-Message": said})
        if self.broken:
            return web.json_response({"error": "placeholder trouble"}, status=500)
        return await handler(request)

    async def create(self, request: web.Request) -> web.Response:
        body = await request.json()
        name = f"{body['organization']}/{body['name']}"
        url = f"{request.url.origin()}/datasets/{name}"
        if name in self.private or name.startswith("open/"):
            self.private.setdefault(name, False)
            return web.json_response({"error": "You already created this repo", "url": url}, status=409)
        self.private[name] = body.get("visibility") == "private"
        return web.json_response({"url": url})

    async def info(self, request: web.Request) -> web.Response:
        name = "{owner}/{name}".format(**request.match_info)
        root = self.folder / name
        files = [str(path.relative_to(root)) for path in sorted(root.rglob("*")) if path.is_file()]
        siblings = [{"rfilename": one} for one in files]
        return web.json_response({"id": name, "private": self.private[name], "siblings": siblings, "sha": "0" * 40})

    async def card(self, request: web.Request) -> web.Response:
        return web.json_response({"errors": [], "warnings": []})

    async def preupload(self, request: web.Request) -> web.Response:
        files = (await request.json())["files"]
        modes = [{"path": one["path"], "uploadMode": _mode(one["path"]), "shouldIgnore": False} for one in files]
        return web.json_response({"files": modes})

    async def batch(self, request: web.Request) -> web.Response:
        body = await request.json()
        place = f"{request.url.origin()}/blobs"
        objects = [
            {"oid": one["oid"], "size": one["size"]}
            | ({} if one["oid"] in self.blobs else {"actions": {"upload": {"href": f"{place}/{one['oid']}"}}})
            for one in body["objects"]
        ]
        return web.json_response({"transfer": "basic", "objects": objects})

    async def blob(self, request: web.Request) -> web.Response:
        content = await request.read()
        oid = hashlib.sha256(content).hexdigest()
        if oid != request.match_info["oid"]:
            return web.json_response({"error": "another digest"}, status=400)
        self.blobs[oid] = content
        return web.Response()

    async def commit(self, request: web.Request) -> web.Response:
        root = self.folder / "{owner}/{name}".format(**request.match_info)
        for line in (await request.read()).splitlines():
            change = json.loads(line)
            kind, value = change["key"], change["value"]
            if kind == "header":
                continue
            path = root / value["path"]
            if kind == "deletedFile":
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(base64.b64decode(value["content"]) if kind == "file" else self.blobs[value["oid"]])
        oid = hashlib.sha256(str(root).encode()).hexdigest()[:40]
        url = f"{request.url.origin()}/datasets/{root.parent.name}/{root.name}/commit/{oid}"
        return web.json_response({"commitUrl": url, "commitOid": oid})


def _mode(path: str) -> str:
    return "lfs" if path.endswith(".parquet") else "regular"


async def serve(folder: Path, broken: bool) -> None:
    hub = Hub(folder, broken)
    app = web.Application(client_max_size=2**26, middlewares=[hub.checked])
    app.router.add_post("/api/repos/create", hub.create)
    app.router.add_post("/api/validate-yaml", hub.card)
    app.router.add_get("/api/datasets/{owner}/{name}", hub.info)
    app.router.add_get("/api/datasets/{owner}/{name}/revision/{revision}", hub.info)
    app.router.add_post("/api/datasets/{owner}/{name}/preupload/{revision}", hub.preupload)
    app.router.add_post("/datasets/{owner}/{name}.git/info/lfs/objects/batch", hub.batch)
    app.router.add_put("/blobs/{oid}", hub.blob)
    app.router.add_post("/api/datasets/{owner}/{name}/commit/{revision}", hub.commit)
    runner = web.AppRunner(app)
    await runner.setup()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    print(listener.getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), "--broken" in sys.argv))
