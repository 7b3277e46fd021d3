"""A local stand-in of W&B's API: as much of it as uploading runs and saving a report takes, every request checked.

GraphQL operations by name, the file stream of each run, and the upload of its small files. A request that the real
service would refuse (no key, an unknown operation, rows that leave a gap) is a fault, and gets an error as there.
"""

import base64
import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "0123456789abcdef" * 2 + "01234567"
ENTITY, PROJECT = "someone", "tom-reproduction"


class State:
    """What the service knows: runs by id, reports by id, and what was wrong with requests."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.reports: dict[str, dict[str, Any]] = {}
        self.projects: set[str] = set()
        self.operations: list[str] = []
        self.faults: list[str] = []


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"
    state: State

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if KEY in self.path or self.headers.get("authorization") != f"Basic {_encoded(KEY)}":
            return self._fault(401, f"no key for {self.path}")
        if self.path.endswith("/file_stream"):
            return self._answer(self._stream(self.path.split("/")[4], json.loads(body)))
        request = json.loads(body)
        name = request.get("operationName") or request["query"].split("(")[0].split("{")[0].split()[-1]
        self.state.operations.append(name)
        operation = getattr(self, f"_{name[0].lower()}{name[1:]}", None)
        if operation is None:
            return self._fault(400, f"unknown operation {name}")
        return self._answer({"data": operation(request.get("variables") or {})})

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self._answer({})

    def _viewer(self, _: dict[str, Any]) -> Any:
        return {
            "viewer": {
                "id": "u",
                "entity": ENTITY,
                "username": ENTITY,
                "email": "",
                "flags": "{}",
                "teams": {"edges": []},
            }
        }

    def _upsertBucket(self, given: dict[str, Any]) -> Any:
        name, self_id = given["name"], f"id-{given['name']}"
        self.state.projects.add(given["project"])
        inserted = name not in self.state.runs
        run = self.state.runs.setdefault(name, {"rows": [], "state": "running"})
        run |= {
            key: given[key] for key in ("groupName", "tags", "jobType", "displayName") if given.get(key) is not None
        }
        run["config"] = json.loads(given["config"]) if given.get("config") else run.get("config", {})
        project = {"id": "p", "name": given["project"], "entity": {"id": "e", "name": given["entity"] or ENTITY}}
        bucket = {"id": self_id, "name": name, "displayName": given.get("displayName"), "description": None}
        bucket |= {"config": "{}", "sweepName": None, "project": project, "historyLineCount": len(run["rows"])}
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}

    def _runResumeStatus(self, given: dict[str, Any]) -> Any:
        run = self.state.runs.get(given["name"])
        if run is None:
            return {
                "model": {"id": "p", "name": given["project"], "entity": {"id": "e", "name": ENTITY}, "bucket": None}
            }
        last = run["rows"][-1:] or [{}]
        bucket = {"id": f"id-{given['name']}", "name": given["name"], "summaryMetrics": "{}", "displayName": None}
        bucket |= {
            "logLineCount": 0,
            "historyLineCount": len(run["rows"]),
            "eventsLineCount": 0,
            "tags": [],
            "eventsTail": "[]",
        }
        bucket |= {
            "historyTail": json.dumps([json.dumps(row) for row in last]),
            "config": "{}",
            "wandbConfig": '{"t": {}}',
        }
        return {"model": {"id": "p", "name": PROJECT, "entity": {"id": "e", "name": ENTITY}, "bucket": bucket}}

    def _createRunFiles(self, given: dict[str, Any]) -> Any:
        host = self.headers["host"]
        files = [{"name": name, "uploadUrl": f"http://{host}/upload/{given['run']}/{name}"} for name in given["files"]]
        return {"createRunFiles": {"runID": f"id-{given['run']}", "uploadHeaders": [], "files": files}}

    def _stream(self, name: str, body: dict[str, Any]) -> Any:
        run = self.state.runs[name]
        history = body.get("files", {}).get("wandb-history.jsonl")
        if history:
            if history["offset"] != len(run["rows"]):
                self.state.faults.append(f"{name}: rows from {history['offset']} on, with {len(run['rows'])} there")
            run["rows"] += [json.loads(line) for line in history["content"]]
        if body.get("complete"):
            run["state"] = "finished" if body.get("exitcode") == 0 else "failed"
        return {}

    def _runs(self, given: dict[str, Any]) -> Any:
        if given["project"] not in self.state.projects:
            return {"project": None}
        edges = [{"node": self._node(name, run), "cursor": name} for name, run in self.state.runs.items()]
        page = {"endCursor": None, "hasNextPage": False}
        return {
            "project": {
                "internalId": "1",
                "runCount": len(edges),
                "readOnly": False,
                "runs": {"edges": edges, "pageInfo": page},
            }
        }

    def _node(self, name: str, run: dict[str, Any]) -> dict[str, Any]:
        node: dict[str, Any] = {
            "id": f"id-{name}",
            "name": name,
            "displayName": name,
            "state": run["state"],
            "group": None,
        }
        node |= {"tags": [], "sweepName": None, "jobType": None, "commit": None, "readOnly": False, "createdAt": NOW}
        node |= {"heartbeatAt": NOW, "description": None, "notes": None, "systemMetrics": "{}", "summaryMetrics": "{}"}
        node |= {"config": "{}", "historyLineCount": len(run["rows"]), "historyKeys": {}, "projectId": "1"}
        return node | {"user": {"name": ENTITY, "username": ENTITY}}

    def _projectViews(self, given: dict[str, Any]) -> Any:
        edges = [{"node": report, "cursor": name} for name, report in self.state.reports.items()]
        return {"project": {"allViews": {"edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}}}

    def _getProjects(self, _: dict[str, Any]) -> Any:
        node = {"id": "p", "name": PROJECT, "entityName": ENTITY, "createdAt": NOW, "isBenchmark": False}
        node |= {"__typename": "Project", "user": None}
        edges = [{"node": {**node, "name": name}, "cursor": name} for name in sorted(self.state.projects)]
        return {
            "models": {"edges": edges, "pageInfo": {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}}
        }

    def _projectInternalId(self, _: dict[str, Any]) -> Any:
        return {"project": {"id": "p", "internalId": "1"}}

    def _upsertView(self, given: dict[str, Any]) -> Any:
        name = given.get("id") or f"report-{len(self.state.reports)}"
        view = {"id": name, "type": given["type"], "name": given["name"], "displayName": given["displayName"]}
        view |= {"description": given["description"], "spec": given["spec"], "updatedAt": NOW, "createdAt": NOW}
        view |= {"project": {"id": "p", "name": given["projectName"], "entityName": given["entityName"]}, "user": None}
        inserted = name not in self.state.reports
        self.state.reports[name] = view
        return {"upsertView": {"view": view, "inserted": inserted}}

    def _fault(self, status: int, reason: str) -> None:
        self.state.faults.append(reason)
        self._answer({"errors": [{"message": reason}]}, status)

    def _answer(self, content: Any, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


NOW = "2026-01-01T00:00:00Z"


def _encoded(key: str) -> str:
    return base64.b64encode(f"api:{key}".encode()).decode()


@contextmanager
def standing_in() -> Iterator[tuple[str, State]]:
    """The address of a service of one's own, and what it knows."""
    state = State()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"state": state}))
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that goes away is none
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
