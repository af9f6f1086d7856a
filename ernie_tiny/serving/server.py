"""Exported models behind HTTP: questions in, answers out, with limits, metrics and a page to try a text by hand."""

from __future__ import annotations

import asyncio
import hmac
import itertools
import logging
import math
import socket
import time
import traceback
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib import resources
from pathlib import Path
from types import FrameType
from typing import Any, Callable, Optional

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ernie_tiny.data.task import Example
from ernie_tiny.engines.export import MODEL_PREFIX
from ernie_tiny.errors import InputError
from ernie_tiny.files import CARD_FILE, MANIFEST, damage, to_json
from ernie_tiny.kinds.registry import kind_named
from ernie_tiny.serving.connection import BoundedConnection
from ernie_tiny.serving.predictor import Predictor
from ernie_tiny.serving.queue import BatchQueue, ClosedError, FullError
from ernie_tiny.serving.request import Limits, RefusedError, body_of, questions_of

ANSWERING = 2  # threads a model: one tokenises and decodes while the other has the engine
LAST_QUESTIONS = 0.5  # seconds after SIGTERM in which questions are still taken, each as the last of its connection
logger = logging.getLogger("ernie_tiny.serve")


class ServedModel:
    """A folder of tools/export.py that answers, and can be read again while it does."""

    def __init__(self, folder: Path, limits: Limits, threads: int, engine: str, precision: str) -> None:
        self._load: Callable[[], Predictor] = partial(_load, folder, threads, engine, precision)
        self.predictor = self._load()
        self.queue = BatchQueue(self.predictor.predict, limits.batch, limits.room, limits.wait, ANSWERING)

    def reload(self) -> None:
        """Takes the folder as it is now; questions that no batch has taken yet are answered by it.

        Raises:
            InputError: the folder is damaged; the old model goes on.
        """
        predictor = self._load()
        self.queue.replace(predictor.predict)
        self.predictor = predictor


def _load(folder: Path, threads: int, engine: str, precision: str) -> Predictor:
    if (folder / MANIFEST).is_file():
        fault = damage(folder, partial(_is_unread, folder))
        if fault is not None:
            raise InputError(f"{folder}: is damaged: {fault}. Copy the folder again, or export it anew.")
    predictor = Predictor(folder, threads, engine=engine, precision=precision)
    predictor.warm_up()
    return predictor


def _is_unread(folder: Path, name: str) -> bool:
    """Whether a file is the card, which may be edited, or a network that is not there: who needs it says so."""
    return name == CARD_FILE or (name.startswith(f"{MODEL_PREFIX}.") and not (folder / name).is_file())


class Metrics:
    """What /metrics tells, of this server alone."""

    def __init__(self, models: Mapping[str, ServedModel]) -> None:
        self.registry = CollectorRegistry()
        labels = ("model", "status")
        self.requests = Counter("ernie_tiny_requests", "Requests by status", labels, registry=self.registry)
        self.inputs = Counter("ernie_tiny_inputs", "Texts and records answered", ("model",), registry=self.registry)
        self.seconds = Histogram(
            "ernie_tiny_request_seconds", "From a request's head to its answer", ("model",), registry=self.registry
        )
        waiting = Gauge("ernie_tiny_waiting", "Examples that wait", ("model",), registry=self.registry)
        for name, model in models.items():
            waiting.labels(name).set_function(partial(getattr, model.queue, "waiting"))


class Service:
    """What the addresses do.

    Args:
        models: By the name that addresses have.
        token: That predict and reload ask for as a bearer token; None lets everybody ask.
    """

    def __init__(self, models: Mapping[str, ServedModel], limits: Limits, token: Optional[str] = None) -> None:
        self._models, self._limits, self._token = models, limits, token
        self._metrics, self._ready, self._asked = Metrics(models), True, itertools.count()

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """The life of the server; at its end all that was taken is answered."""
        yield
        self.end()
        for name, model in self._models.items():
            if not await asyncio.to_thread(model.queue.close, self._limits.seconds):
                entry = {"event": "unanswered at the end", "model": name, "waiting": model.queue.waiting}
                logger.error(to_json(entry))

    def end(self) -> None:
        """From now on answers tell that they are the last of their connections: the server is about to close them."""
        self._ready = False

    def health(self) -> dict[str, str]:
        """Alive."""
        return {"status": "ok"}

    def ready(self) -> Response:
        """Whether questions are taken: not while the server ends."""
        return Response(status_code=200 if self._ready else 503)

    def metrics(self) -> Response:
        """For Prometheus."""
        return Response(generate_latest(self._metrics.registry), media_type=CONTENT_TYPE_LATEST)

    def page(self) -> HTMLResponse:
        """A page to try a text by hand; it asks nothing of other machines."""
        samples = {name: _described(model)["sample"] for name, model in self._models.items()}
        template = resources.files("ernie_tiny.serving").joinpath("page.html").read_text(encoding="utf-8")
        return HTMLResponse(template.replace("{{samples}}", to_json(samples).replace("<", "\\u003c")))

    def models(self) -> dict[str, Any]:
        """The models, what each answers, and a record that it takes."""
        return {name: _described(model) for name, model in self._models.items()}

    def request_body(self) -> dict[str, Any]:
        """What predict is sent, as OpenAPI shows it, with an example a model."""
        examples = {name: {"value": {"inputs": [_described(model)["sample"]]}} for name, model in self._models.items()}
        properties = {
            "texts": {"type": "array", "description": "texts, or lists of two where the task has two"},
            "inputs": {
                "type": "array",
                "items": {"type": "object"},
                "description": "records as tools/infer.py takes them",
            },
        }
        content = {"application/json": {"schema": {"type": "object", "properties": properties}, "examples": examples}}
        return {"requestBody": {"required": True, "content": content}}

    async def predict(self, model: str, request: Request) -> Response:
        """Answers texts or records, in their order."""
        began = time.perf_counter()
        status, headers, count = 200, dict[str, str](), 0
        try:
            served = self._served(model, request)
            body = await body_of(request, self._limits)
            questions = questions_of(body, served.predictor, self._limits, next(self._asked))
            count = len(questions)
            said = to_json({"model": model, "predictions": await _answers(served, questions, self._limits)})
            self._metrics.inputs.labels(model).inc(count)
        except RefusedError as refused:
            status, said, headers = refused.status, to_json({"error": str(refused)}), refused.headers
        except Exception as error:  # a bug of ours, which is one request's
            logger.error(to_json({"event": "error", **_without_texts(error)}))
            status, said = 500, to_json({"error": "an error of the server's own, which its log has"})
        seconds = time.perf_counter() - began
        known = model if model in self._models else "unknown"
        self._metrics.requests.labels(known, status).inc()
        self._metrics.seconds.labels(known).observe(seconds)
        entry = {"event": "request", "model": known, "status": status, "inputs": count, "seconds": round(seconds, 5)}
        logger.info(to_json(entry))  # and never a text
        if not self._ready:
            headers["Connection"] = "close"  # uvicorn does not say so, and the client's next question would be lost
        return Response(said, status, headers, media_type="application/json")

    async def reload(self, model: str, request: Request) -> Response:
        """Reads the model's folder again; the old model goes on where the new one is damaged."""
        status, headers, content = 200, dict[str, str](), {"model": model, "reloaded": True}
        try:
            await asyncio.to_thread(self._served(model, request).reload)
        except RefusedError as refused:
            status, content, headers = refused.status, {"error": str(refused)}, refused.headers
        except InputError as error:
            status, content = 409, {"error": str(error)}
        return Response(to_json(content), status, headers, media_type="application/json")

    def _served(self, name: str, request: Request) -> ServedModel:
        """The model of a name, for a client that may ask."""
        given = request.headers.get("authorization", "").encode("latin-1")  # the bytes as sent
        if self._token is not None and not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
            raise RefusedError(401, "give the header Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})
        if name not in self._models:
            raise RefusedError(404, f"there is no model {name!r}; there are: {', '.join(self._models)}")
        return self._models[name]


def make_app(service: Service) -> FastAPI:
    """The application of a service."""
    app = FastAPI(title="ernie_tiny", lifespan=service.lifespan)
    app.add_api_route("/", service.page, response_class=HTMLResponse, include_in_schema=False)
    app.add_api_route("/health", service.health)
    app.add_api_route("/ready", service.ready)
    app.add_api_route("/metrics", service.metrics)
    app.add_api_route("/v1", service.models)
    app.add_api_route("/v1/{model}/predict", service.predict, methods=["POST"], openapi_extra=service.request_body())
    app.add_api_route("/v1/{model}/reload", service.reload, methods=["POST"])
    return app


def run_server(
    models: Mapping[str, ServedModel], limits: Limits, host: str, port: int, token: Optional[str] = None
) -> None:
    """Serves until SIGTERM or SIGINT; what was taken by then is answered.

    On stderr stands a line of JSON for the address, for each request and for what goes wrong.

    Args:
        port: 0 for any that is free.
    Raises:
        InputError: the address cannot be had.
    """
    listener = _listener(host, port)
    lines = logging.StreamHandler()
    lines.setFormatter(_JsonLines())
    for name in ("ernie_tiny", "uvicorn.error", "asyncio"):
        logging.getLogger(name).addHandler(lines)
        logging.getLogger(name).propagate = False
    logger.setLevel(logging.INFO)
    service = Service(models, limits, token)
    _Server(_config(make_app(service), limits), service).run([listener])


def _config(app: FastAPI, limits: Limits) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=BoundedConnection,
        ws="none",
        log_config=None,
        access_log=False,
        timeout_keep_alive=limits.seconds,  # type: ignore[arg-type]  # of which BoundedConnection takes fractions
        timeout_graceful_shutdown=math.ceil(2 * limits.seconds) + 1,  # for a body to come in, and for its answer
    )


def _listener(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"--host {host} --port {port}: cannot listen there ({error}). Name another port, or end what has this one."
        ) from error


class _JsonLines(logging.Formatter):
    """A record as a line of JSON; what this module says is one already."""

    def format(self, record: logging.LogRecord) -> str:
        if record.name == logger.name:
            return record.getMessage()
        entry = {"event": record.name, "level": record.levelname, "said": record.getMessage()}
        if record.exc_info and record.exc_info[1] is not None:  # which asyncio shows in its further lines
            entry |= {"said": entry["said"].partition("\n")[0], **_without_texts(record.exc_info[1])}
        return to_json(entry)


def _without_texts(error: BaseException) -> dict[str, Any]:
    """An error's class and places, and not what it says, in which a text may stand."""
    return {"type": type(error).__name__, "places": traceback.format_tb(error.__traceback__)}


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def startup(self, sockets: Optional[list[socket.socket]] = None) -> None:
        await super().startup(sockets)
        for own in sockets or ():
            host, port = own.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            logger.info(to_json({"event": "listening", "address": f"http://{shown}:{port}"}))

    async def shutdown(self, sockets: Optional[list[socket.socket]] = None) -> None:
        if not self.force_exit:  # a client that has just been answered without a word of the end asks again at once
            await asyncio.sleep(LAST_QUESTIONS)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: Optional[FrameType]) -> None:
        self._service.end()
        super().handle_exit(sig, frame)


def _described(model: ServedModel) -> dict[str, Any]:
    spec = model.predictor.spec
    kind = kind_named(spec.kind)
    return {
        "task": spec.name,
        "kind": kind.facts.name,
        "answers": kind.answers(spec),
        "labels": spec.labels,
        "sample": kind.sample_input(spec),
        "max_length": spec.max_length,
    }


async def _answers(model: ServedModel, questions: Sequence[Example], limits: Limits) -> list[dict[str, Any]]:
    try:
        future = model.queue.ask(questions)
        found = await asyncio.wait_for(asyncio.wrap_future(future), limits.seconds)
    except FullError as full:
        raise RefusedError(429, str(full), {"Retry-After": f"{full.seconds:.0f}"}) from None
    except ClosedError:
        raise RefusedError(503, "the server ends", {"Retry-After": "5"}) from None
    except asyncio.TimeoutError:
        raise RefusedError(503, f"not answered within {limits.seconds:g} s", {"Retry-After": "5"}) from None
    except InputError as error:
        raise RefusedError(422, str(error)) from None
    return [prediction.record() for prediction in found]
