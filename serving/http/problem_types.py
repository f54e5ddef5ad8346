"""Every type of problem that the API returns: what it means and what to do. Each has a page, `/problems/<type>`."""

from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class ProblemKind:
    """A type of problem."""

    status: int
    """Of the answer, by HTTP."""
    title: str
    meaning: str
    remedy: str
    """What to do about it."""


KINDS: dict[str, ProblemKind] = {
    "unknown-customer": ProblemKind(
        404,
        "Customer not known",
        "No score is held for this customer id: no event was processed, and no customer of that id was erased.",
        "Ids are compared exactly; check case and leading zeros. A customer is known from their first event on.",
    ),
    "erased-customer": ProblemKind(
        404,
        "Customer erased",
        "The customer was known and has been erased on request.",
        "Nothing: they are known again, as a new customer, from their next event on.",
    ),
    "unknown-alert": ProblemKind(
        404,
        "Alert not known",
        "No alert has this id, or its customer was erased.",
        "GET /v1/alerts lists the newest with their ids.",
    ),
    "alert-closed": ProblemKind(
        409,
        "Alert closed",
        "The alert has an outcome already: it can be neither acknowledged nor put off.",
        "If the outcome is wrong, POST another to its /outcome.",
    ),
    "unknown-model": ProblemKind(
        404,
        "Model not known",
        "No model of this name has been published, or no such version of it.",
        "GET /v1/models lists the names, /v1/models/{name}/versions the versions. Before the first labels have matured "
        "there are none.",
    ),
    "unknown-erasure": ProblemKind(
        404, "Erasure not known", "No erasure has this id.", "DELETE /v1/customer gives an id."
    ),
    "not-found": ProblemKind(404, "No such resource", "The path names nothing.", "/openapi.json lists what there is."),
    "method-not-allowed": ProblemKind(
        405,
        "Method not allowed",
        "The path takes other methods than this one.",
        "The Allow header names the methods of this path.",
    ),
    "invalid-request": ProblemKind(
        422,
        "Request not valid",
        "A parameter or a field of the body is missing, unknown or out of range.",
        "`errors` names each and what it may hold; /openapi.json has the whole form.",
    ),
    "malformed-request": ProblemKind(
        400,
        "Request malformed",
        "The request is not one of HTTP/1.1: it has no `Host` or several, or one that is no name.",
        "Look at what sends it, or what forwards it: libraries and browsers send one `Host`.",
    ),
    "bad-page-token": ProblemKind(
        400,
        "Page token not valid",
        "A page token continues exactly the query that gave it.",
        "Start again without one, and keep filters and sorting from page to page.",
    ),
    "no-key": ProblemKind(
        401,
        "API key needed",
        "This API asks for a key, and the request has none.",
        "Send it as `Authorization: Bearer <key>` or `X-API-Key: <key>`, never in the URL.",
    ),
    "wrong-key": ProblemKind(
        401,
        "API key not known",
        "The key is none of those in EBB_API_KEYS and none made by `ebb keys create`.",
        "Check that it was copied whole; make another by `ebb keys create`.",
    ),
    "ended-key": ProblemKind(
        401,
        "API key ended",
        "The key was revoked or has expired; `ebb keys list` shows when.",
        "Make another by `ebb keys create`.",
    ),
    "wrong-scope": ProblemKind(
        403,
        "Not allowed with this key",
        "Keys are made for `read` (scores, alerts, streams), `act` (handling alerts, and `read`), `write` (the "
        "collector) or `admin` (everything).",
        "Use a key made with the scope that `detail` names.",
    ),
    "too-many-requests": ProblemKind(
        429,
        "Too many requests",
        "The quota of EBB_RATE_LIMIT_REQUESTS or EBB_RATE_LIMIT_EVENTS is used up, too many wrong keys came from this "
        "address, or as much is under way to Kafka as may be.",
        "Retry after Retry-After; RateLimit shows the remaining quota on every answer.",
    ),
    "too-large": ProblemKind(
        413,
        "Body too large",
        "The body has more than 1 MiB, more than may be once unpacked, or too many values.",
        "Send less at once: split a batch.",
    ),
    "too-slow": ProblemKind(
        408, "Body too slow", "The body of a request must arrive within 30 seconds.", "Send it again, or send less."
    ),
    "event-refused": ProblemKind(
        422,
        "Event refused",
        "The collector cannot accept the event; `errors` has the reason.",
        "docs/collector.md lists the reasons; change what sends it.",
    ),
    "host-refused": ProblemKind(
        421,
        "Host not served",
        "Without API keys only names of this machine's loopback are answered, so that a web page elsewhere cannot "
        "reach the API by a name of its own.",
        "Set EBB_API_KEYS, or name the page's origin in EBB_ALLOWED_ORIGINS.",
    ),
    "origin-refused": ProblemKind(
        403,
        "Origin not allowed",
        "Pages of this origin may not change anything here.",
        "Name the page's origin in EBB_ALLOWED_ORIGINS (scheme://host:port).",
    ),
    "unavailable": ProblemKind(
        503,
        "Not available now",
        "A part that the answer depends on does not answer.",
        "Retry after Retry-After; /readyz?verbose names what is away.",
    ),
    "internal": ProblemKind(
        500, "Internal error", "A defect in Ebb.", "The log of the API has the details; report it with them."
    ),
}


def page_of(name: str) -> str:
    """Return the page of a type of problem, as HTML that loads nothing."""
    kind = KINDS[name]
    body = f"<p>{escape(kind.meaning)}</p>\n<h2>What to do</h2>\n<p>{escape(kind.remedy)}</p>"
    return _page(kind.title, f"<p>HTTP {kind.status}, <code>/problems/{name}</code></p>\n{body}")


def list_page() -> str:
    """Return the page that lists all types, as HTML."""
    items = (
        f'<li><a href="/problems/{name}">{escape(kind.title)}</a> ({kind.status})</li>' for name, kind in KINDS.items()
    )
    return _page("Types of problems", "<ul>\n" + "\n".join(items) + "\n</ul>")


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(title)} - Ebb</title></head>\n'
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )
