"""What the pipeline is held against: one FastAPI process with the same model, validation and features inside.

Honestly fast: uvloop and httptools, orjson, no log, no middleware, no response model, no thread hop. It checks no key,
counts nothing, follows no champion and stores nothing.

    python -m benchmarks.plain USE_CASE PACKAGE_FOLDER PORT
"""

import sys
from datetime import UTC, datetime
from pathlib import Path

import orjson
import uvicorn
from fastapi import FastAPI, Request, Response

from forewarn import answering, scoring, usecases
from forewarn.package import ModelPackage


def create_app(package: ModelPackage) -> FastAPI:
    """POST /predict with one row; GET /ready."""
    app = FastAPI(openapi_url=None)
    case, card = package.case, package.card

    @app.post("/predict", response_model=None)
    async def predict(request: Request) -> Response:
        rows = scoring.validate(case, [orjson.loads(await request.body())])
        (told,) = answering.tell(case, rows, scoring.score(package, rows.values), card, at=datetime.now(UTC))
        return Response(orjson.dumps(told), media_type="application/json")

    @app.get("/ready")
    async def ready() -> Response:
        return Response()

    return app


def main() -> None:
    """Serve until the end."""
    name, folder, port = sys.argv[1:]
    package = ModelPackage.load(usecases.get(name), Path(folder))
    uvicorn.run(create_app(package), host="127.0.0.1", port=int(port), log_level="error", access_log=False)


if __name__ == "__main__":
    main()
