"""The web application: routes and nothing else. Imported only when `serve` runs."""

from __future__ import annotations

from typing import Annotated, Any, cast

from fastapi import FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from headstart.serving.answers import Answers, Asked, status_of
from headstart.serving.guard import Application, Guard, unexpected
from headstart.serving.page_files import PageFile, read_page
from headstart.serving.refused import RefusedError, error_document
from headstart.serving.schema import BODY, ERRORS, About, Health, Predictions
from headstart.serving.uploads import read_uploads

VERSION_HEADER = "headstart-model"
LARGEST_INDEX = 10**9


def application(answers: Answers, hosts: frozenset[str], token: str | None) -> Application:
    """The ASGI application around `answers`, behind its guard."""
    app = FastAPI(
        title="headstart",
        description="Names the class of pictures. Every answer is computed on this computer.",
        version=answers.model.version,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    _add_errors(app)
    _add_health(app, answers)
    _add_api(app, answers)
    _add_page(app, read_page())
    return cast(Application, Guard(cast(Application, app), hosts, token))


def _add_api(app: FastAPI, answers: Answers) -> None:
    @app.post("/v1/predict", response_model=Predictions, responses=ERRORS, openapi_extra=BODY)
    async def predict(
        request: Request,
        top: Annotated[int, Query(ge=1, le=1000, description="How many classes to name.")] = 3,
        unsure: Annotated[float | None, Query(ge=0, le=1, description="Say `unsure` below this probability.")] = None,
        explain: Annotated[bool, Query(description="Also heat map and nearest training pictures.")] = False,
    ) -> JSONResponse:
        """Name the class of one picture or many. One row per picture, in order; what cannot be read says why."""
        with answers.room.body() as body:
            uploads = await read_uploads(request, answers.room, body, answers.limits)
            rows = await answers.rows(uploads, Asked(top, unsure, explain))
        status = status_of(rows)
        document: dict[str, Any] = {"predictions": rows}
        if status != 200:
            reason = rows[0]["error"] if len(rows) == 1 else "none of the pictures can be read"
            document |= error_document("unreadable" if status == 422 else "too_large", reason)
        return JSONResponse(document, status, {VERSION_HEADER: answers.model.version})

    @app.get("/v1/model", response_model=About, responses={401: ERRORS[401]})
    async def model() -> JSONResponse:
        """What answers: classes, how pictures are prepared, how it was trained, how accurate it is, limits."""
        looks = answers.model.looks
        return JSONResponse(answers.model.about | {"explains": {"heat": looks.heat, "nearest": looks.nearest}})

    @app.get(
        "/v1/training-picture/{index}",
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}}, 401: ERRORS[401], 404: ERRORS[404]},
    )
    async def training_picture(index: Annotated[int, Path(ge=0, le=LARGEST_INDEX)]) -> Response:
        """A small copy of a training picture, by its index in `nearest`."""
        content = await answers.thumbnail(index)
        if content is None:
            raise RefusedError(404, "not_found", "that training picture is not on this computer any more")
        return Response(content, media_type="image/jpeg")


def _add_health(app: FastAPI, answers: Answers) -> None:
    @app.get("/healthz", response_model=Health)
    async def healthz() -> JSONResponse:
        """Whether the process answers."""
        return JSONResponse({"status": "ok"})

    @app.get("/readyz", response_model=Health, responses={503: ERRORS[503]})
    async def readyz() -> JSONResponse:
        """Whether pictures would be answered now."""
        if answers.ready:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "starting"}, 503, {"retry-after": "1"})


def _add_page(app: FastAPI, files: dict[str, PageFile]) -> None:
    def sent(file: PageFile, request: Request) -> Response:
        headers = {"etag": file.etag}
        if request.headers.get("if-none-match") == file.etag:
            return Response(status_code=304, headers=headers)
        return Response(file.content, media_type=file.kind, headers=headers)

    async def index(request: Request) -> Response:
        return sent(files["index.html"], request)

    async def part(name: str, request: Request) -> Response:
        # A look-up among the files that were read at the start: there is no path to leave.
        if name not in files:
            raise RefusedError(404, "not_found", "there is no such page")
        return sent(files[name], request)

    app.add_api_route("/", index, methods=["GET", "HEAD"], include_in_schema=False)
    app.add_api_route("/page/{name}", part, methods=["GET", "HEAD"], include_in_schema=False)


def _add_errors(app: FastAPI) -> None:
    async def refused(_: Request, error: Exception) -> Response:
        known = cast(RefusedError, error)
        return JSONResponse(known.document, known.status, known.headers)

    async def by_status(_: Request, error: Exception) -> Response:
        status = cast(HTTPException, error).status_code
        words = {404: ("not_found", "there is no such page"), 405: ("method", "this method is not possible here")}
        return JSONResponse(error_document(*words.get(status, ("refused", "the request is refused"))), status)

    async def bad_query(_: Request, error: Exception) -> Response:
        first = cast(RequestValidationError, error).errors()[0]
        where = str(first["loc"][-1])
        return JSONResponse(error_document("query", f"{where}: {first['msg']}"), 400)

    async def gone(_: Request, __: Exception) -> Response:
        return Response(status_code=400)  # nobody reads it

    async def fault(_: Request, error: Exception) -> Response:
        return JSONResponse(unexpected(error), 500)

    app.add_exception_handler(RefusedError, refused)
    app.add_exception_handler(HTTPException, by_status)
    app.add_exception_handler(RequestValidationError, bad_query)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(Exception, fault)
