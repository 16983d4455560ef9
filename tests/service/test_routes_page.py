"""The pages for people: served from memory under a strict policy, small, and whole."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from service.routes.page import HEADERS, POLICY, assets
from tests.problem_shape import check_problem
from tests.service.web import served

pytestmark = pytest.mark.anyio
FILES = {name: asset.body.decode() for name, asset in assets().items()}
MARKUP = sorted(name for name in FILES if name.endswith((".html", ".svg")))
HTML = sorted(name for name in FILES if name.endswith(".html"))
SCRIPTS = sorted(name for name in FILES if name.endswith(".js"))
PAGES = {"/": "index.html", "/status": "status.html"}
PATHS = [*PAGES, *(f"/page/{name}" for name in sorted(FILES) if name not in HTML)]
# Of all that a page is made of; what the service answers comes on top (tests/browser).
MOST_BYTES = 80_000


@pytest.fixture
async def client(bundle_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of a service with its pages."""
    async with served(bundle_path) as client:
        yield client


def references(name: str) -> set[str]:
    """Return the files that a file of the pages names: in its tags, or by import."""
    if name.endswith(".html"):
        return set(re.findall(r'(?:href|src)="/page/([^"]+)"', FILES[name]))
    return set(re.findall(r'from "\./([^"]+)"', FILES[name]))


def needed(name: str) -> set[str]:
    """Return all files that a page needs, those that its scripts import included."""
    found, open_ends = set[str](), {name}
    while open_ends:
        one = open_ends.pop()
        found.add(one)
        open_ends |= references(one) - found
    return found


def flaws(name: str, text: str) -> Iterator[str]:
    """Yield what no file of the pages may have."""
    urls = re.findall(r"https?:[^\s\"'<]+|[\"'(=]//[\w.-]+\.\w+", text)
    yield from (one for one in urls if one != "http://www.w3.org/2000/svg")
    if name.endswith((".html", ".svg")):
        yield from re.findall(r"<style|<script(?![^>]*\ssrc=)|\son\w+=|\sstyle=|javascript:", text)
    if name.endswith(".js"):
        unsafe = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|"
        yield from re.findall(unsafe + r"srcdoc|createContextualFragment|DOMParser|\.style\b", text)
    if name.endswith(".css"):
        yield from re.findall(r"@import|url\(|expression\(", text)


@pytest.mark.parametrize("path", PATHS)
async def test_a_file_is_served_under_the_policy(client: httpx.AsyncClient, path: str) -> None:
    """With its media type, never sniffed, telling nobody where the reader was."""
    answer = await client.get(path)
    assert answer.status_code == 200
    name = PAGES.get(path, path.rpartition("/")[2])
    assert answer.text == FILES[name]
    assert answer.headers["content-type"] == assets()[name].media_type
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS


def test_the_policy_allows_nothing_inline_and_nothing_foreign() -> None:
    """Every directive is told; none has more than the service itself."""
    told = dict(one.split(" ", 1) for one in POLICY.split("; "))
    assert told == {
        "default-src": "'none'", "script-src": "'self'", "style-src": "'self'",
        "connect-src": "'self'", "img-src": "'self'", "base-uri": "'none'",
        "form-action": "'none'", "frame-ancestors": "'none'",
    }  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
async def test_what_a_browser_has_already_is_not_sent_again(
    client: httpx.AsyncClient, path: str
) -> None:
    """It asks by the tag that it was given, alone or among others; another tag is of no use."""
    etag = (await client.get(path)).headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = await client.get(path, headers={"if-none-match": known})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == etag
        assert answer.headers["content-security-policy"] == POLICY
    assert (await client.get(path, headers={"if-none-match": '"other"'})).status_code == 200


async def test_a_page_answers_head(client: httpx.AsyncClient) -> None:
    """As those ask who only want to know whether it is there."""
    answer = await client.head("/")
    assert answer.status_code == 200
    assert answer.headers["content-length"] == str(len(FILES["index.html"].encode()))


@pytest.mark.parametrize(
    "path",
    ["/page", "/page/", "/page/gone.js", "/page/index.html", "/page/../app.py", "/index.html"],
)
async def test_what_is_no_page_is_an_unknown_path(client: httpx.AsyncClient, path: str) -> None:
    """In the shape that every error has, for people too."""
    answer = await client.get(path)
    check_problem(answer, 404)
    assert "content-security-policy" not in answer.headers


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_takes_no_writes(client: httpx.AsyncClient, path: str) -> None:
    """Other methods are refused."""
    check_problem(await client.post(path), 405)


async def test_pages_can_be_switched_off(bundle_path: Path) -> None:
    """Then none of their paths is known, and the interface is as it was."""
    async with served(bundle_path, pages=False) as client:
        for path in PATHS:
            check_problem(await client.get(path), 404)
        assert (await client.get("/v1/latest")).status_code == 200


async def test_pages_are_no_part_of_the_interfaces_description(client: httpx.AsyncClient) -> None:
    """Programs find their routes there, and only those."""
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert not {"/", "/status", "/page/{name}"} & set(paths)


@pytest.mark.parametrize("page", HTML)
def test_everything_that_a_page_names_exists(page: str) -> None:
    """And each script that will be needed is asked for at once, not one after the other."""
    assert needed(page) <= set(FILES)
    assert {name for name in needed(page) if name.endswith(".js")} == {
        name for name in references(page) if name.endswith(".js")
    }


def test_no_file_is_left_over() -> None:
    """Whatever is served, some page needs."""
    assert set().union(*map(needed, HTML)) == set(FILES)


@pytest.mark.parametrize("page", HTML)
def test_a_page_is_small(page: str) -> None:
    """All of its files together."""
    assert sum(len(FILES[name].encode()) for name in needed(page)) <= MOST_BYTES


@pytest.mark.parametrize("page", HTML)
def test_a_page_has_all_elements_that_its_scripts_ask_for(page: str) -> None:
    """By their ids, each of which is there once."""
    ids = re.findall(r'\sid="([^"]+)"', FILES[page])
    assert len(ids) == len(set(ids))
    scripts = [FILES[name] for name in needed(page) if name.endswith(".js")]
    asked = {one for text in scripts for one in re.findall(r'(?:byId|cards)\("([^"]+)"', text)}
    assert asked <= set(ids)
    told = re.findall(r'(?:for|aria-labelledby|aria-describedby)="([^"]+)"', FILES[page])
    assert set(told) <= set(ids)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_names_no_foreign_host_and_makes_no_markup_of_text(name: str) -> None:
    """No address, no inline script or style, no handler in an attribute, no parsing of HTML."""
    assert list(flaws(name, FILES[name])) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.html", '<link href="https://fonts.example.com/a.css">'),
        ("a.html", '<script src="//cdn.example.com/a.js"></script>'),
        ("a.html", "<script>alert(1)</script>"),
        ("a.html", "<style>p { color: red }</style>"),
        ("a.html", '<p style="color: red">'),
        ("a.html", '<button onclick="go()">'),
        ("a.html", '<a href="javascript:go()">'),
        ("a.svg", '<svg onload="go()">'),
        ("a.js", "node.innerHTML = title"),
        ("a.js", "node.insertAdjacentHTML('beforeend', title)"),
        ("a.js", "eval(text)"),
        ("a.js", "node.style.color = 'red'"),
        ("a.css", "p { background: url(/page/a.png) }"),
        ("a.css", '@import "other.css"'),
    ],
)
def test_a_violation_is_found(name: str, text: str) -> None:
    """The check above can fail."""
    assert list(flaws(name, text))


@pytest.mark.parametrize("name", MARKUP)
def test_markup_is_english_where_it_is_a_page(name: str) -> None:
    """A screen reader must know how to read it out; an icon says nothing."""
    assert name.endswith(".svg") or '<html lang="en">' in FILES[name]
