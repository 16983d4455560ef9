"""The fastest answer that this stack can give: parse and validate the request, send a ready answer.

Whatever the service does beyond it (look up, filter, search, score, serialise) is the difference.
"""

import click
import uvicorn
from fastapi import FastAPI, Response

from service.wire.ranked import RankBody, RecommendationBody


def create_app(recommendation_bytes: int, rank_bytes: int) -> FastAPI:
    """Build endpoints with the service's request models and ready answers of these sizes."""
    app = FastAPI(docs_url=None, redoc_url=None)
    recommendation, ranking = ready_answer(recommendation_bytes), ready_answer(rank_bytes)

    @app.get("/health/ready")
    async def ready() -> Response:
        return Response()

    @app.post("/v1/recommendations")
    async def recommendations(body: RecommendationBody) -> Response:  # noqa: ARG001 - validated
        return recommendation

    @app.post("/v1/rank")
    async def rank(body: RankBody) -> Response:  # noqa: ARG001 - validated
        return ranking

    return app


def ready_answer(size: int) -> Response:
    """Build a JSON answer of exactly `size` bytes, at least two."""
    return Response(f'"{"x" * (size - 2)}"'.encode(), media_type="application/json")


@click.command()
@click.option("--recommendation-bytes", type=click.IntRange(min=2), required=True)
@click.option("--rank-bytes", type=click.IntRange(min=2), required=True)
@click.option("--port", type=int, required=True)
def main(recommendation_bytes: int, rank_bytes: int, port: int) -> None:
    """Serve the yardstick with the service's own server settings."""
    uvicorn.run(
        create_app(recommendation_bytes, rank_bytes),
        port=port,
        access_log=False,
        server_header=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
