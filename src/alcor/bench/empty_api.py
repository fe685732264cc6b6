"""The floor of one answer: an application that answers as many bytes and does nothing for them."""

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def serve(port: int) -> None:
    """Answer `GET /SIZE` with so many bytes, until killed."""

    async def answer(request: Request) -> Response:
        return Response(b" " * int(request.path_params["size"]), media_type="application/json")

    application = Starlette(routes=[Route("/{size}", answer)])
    uvicorn.run(application, host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
