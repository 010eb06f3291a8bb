"""The loopback HTTP endpoint through which the durable client reaches its task hub.

The durable client of an out-of-process language is thin: it calls the Durable Functions extension on
an RPC endpoint of the host. The routes and answers here are those of the extension's HttpApiHandler,
as far as the client of azure-functions-durable reads them:
https://github.com/Azure/azure-functions-durable-extension
"""

import json
from collections.abc import Callable
from datetime import datetime

from aiohttp import web

from local.durable_instances import UNFINISHED, InstanceExistsError, InstanceResult, Instances


class TaskHubEndpoint:
    """Serves the instances on a free loopback port."""

    def __init__(self, instances: Instances, clock: Callable[[], datetime]) -> None:
        self._instances = instances
        self._clock = clock
        self._runner: web.AppRunner | None = None
        self._base = ""

    async def start(self) -> None:
        """Open the port."""
        app = web.Application()
        app.router.add_post("/durabletask/orchestrators/{name}", self._create)
        app.router.add_post("/durabletask/orchestrators/{name}/{id}", self._create)
        app.router.add_get("/durabletask/instances/{id}", self._status)
        app.router.add_delete("/durabletask/instances/", self._purge_by_time)
        app.router.add_delete("/durabletask/instances/{id}", self._purge_one)
        app.router.add_route("*", "/{rest:.*}", _refuse)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._base = f"http://127.0.0.1:{self._runner.addresses[0][1]}/durabletask"

    async def stop(self) -> None:
        """Close the port."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def client_binding(self) -> str:
        """Give the JSON of the durableClient input binding."""
        if self._runner is None:
            raise RuntimeError("the task hub has not started")
        instance = f"{self._base}/instances/INSTANCEID"
        binding = {
            "taskHubName": "local",
            "creationUrls": {
                "createNewInstancePostUri": f"{self._base}/orchestrators/{{functionName}}[/{{instanceId}}]"
            },
            "managementUrls": {
                "id": "INSTANCEID",
                "statusQueryGetUri": instance,
                "purgeHistoryDeleteUri": instance,
            },
            "baseUrl": self._base,
            "rpcBaseUrl": f"{self._base}/",
        }
        return json.dumps(binding)

    async def _create(self, request: web.Request) -> web.Response:
        # The client serialises the input and then posts that text as JSON, so it is encoded twice.
        body = await request.text()
        input_json = json.loads(body) if body else None
        name, wanted_id = request.match_info["name"], request.match_info.get("id")
        try:
            instance_id = self._instances.create(name, wanted_id, input_json, self._clock())
        except InstanceExistsError as error:
            return web.json_response({"Message": str(error)}, status=409)
        return web.json_response({"id": instance_id}, status=202)

    async def _status(self, request: web.Request) -> web.Response:
        instance = self._instances.view.get(request.match_info["id"])
        if instance is None:
            return web.Response(status=404)
        status = 202 if instance.status in UNFINISHED else 200
        return web.json_response(_status_payload(instance), status=status)

    async def _purge_one(self, request: web.Request) -> web.Response:
        instance = self._instances.view.get(request.match_info["id"])
        if instance is not None and instance.status in UNFINISHED:
            refusal = (
                "Only orchestrations in a terminal state can be purged, but the orchestration with instance ID"
                f" {instance.instance_id} has status {instance.status}"
            )
            return web.json_response(refusal, status=412)
        return _purged(self._instances.purge([request.match_info["id"]]))

    async def _purge_by_time(self, request: web.Request) -> web.Response:
        query = request.query
        if "createdTimeFrom" not in query:
            return web.json_response("Please provide value for 'createdTimeFrom' parameter.", status=400)
        earliest = datetime.fromisoformat(query["createdTimeFrom"])
        latest = datetime.fromisoformat(query["createdTimeTo"]) if "createdTimeTo" in query else self._clock()
        statuses = query["runtimeStatus"].split(",") if "runtimeStatus" in query else None
        found = self._instances.created_between(earliest, latest, statuses)
        return _purged(self._instances.purge(found))


async def _refuse(request: web.Request) -> web.Response:
    """Answer what is not played here; the client raises on this status."""
    return web.json_response(f"{request.method} {request.path} is not played locally", status=501)


def _purged(count: int) -> web.Response:
    """Tell how many instances were purged; none is 404, as the extension has it."""
    return web.json_response({"instancesDeleted": count}) if count else web.Response(status=404)


def _status_payload(instance: InstanceResult) -> dict[str, object]:
    """Show an instance; the extension gives times to the second."""
    return {
        "name": instance.name,
        "instanceId": instance.instance_id,
        "runtimeStatus": instance.status,
        "input": instance.input,
        "customStatus": None,
        "output": instance.output,
        "createdTime": instance.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lastUpdatedTime": instance.updated_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
