"""A minimal FastAPI application, under the same server as Ebb's API."""

import sys
from types import SimpleNamespace

from fastapi import FastAPI, Response
from prometheus_client import generate_latest

from ebb.settings import Settings
from serving.server import DrainingServer, listen
from serving.streaming.hub import Hub


def main() -> None:
    """Serve `/hello` on the port given by the first argument, until SIGTERM."""
    app = FastAPI()
    # The server closes the streams of an application before it stops; this one has none.
    app.state.context = SimpleNamespace(hub=Hub(0))

    @app.get("/hello")
    async def hello() -> dict[str, str]:
        return {"hello": "world"}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest())

    with listen(Settings(api_port=int(sys.argv[1]))) as opened:
        DrainingServer(app).run([opened])


if __name__ == "__main__":
    main()
