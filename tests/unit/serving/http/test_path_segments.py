"""Ids in paths: split while encoded, decoded once."""

from typing import Annotated
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from serving.http.path_segments import EncodedSegments, Segment

app = FastAPI(redirect_slashes=False)
app.add_middleware(EncodedSegments)


@app.get("/things/{thing}/part")
async def part(thing: Annotated[str, Segment]) -> dict[str, str]:
    return {"thing": thing}


async def answer(path: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        return await client.get(path)


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=40).filter(lambda text: text not in {".", ".."}))
async def test_any_text_is_one_segment(text: str) -> None:
    assert (await answer(f"/things/{quote(text, safe='')}/part")).json() == {"thing": text}


@pytest.mark.parametrize("path", ["/things/%FF/part", "/things/x/part?y=%FF"])
async def test_bytes_that_are_no_utf8_are_refused(path: str) -> None:
    refused = await answer(path)
    assert (refused.status_code, refused.json()["type"]) == (422, "/problems/invalid-request")


@pytest.mark.parametrize("path", ["/things/a/b/part", "/things/a/part/", "/things//part", "/things/part"])
async def test_no_path_of_another_shape_is_taken_for_it(path: str) -> None:
    assert (await answer(path)).status_code == 404
