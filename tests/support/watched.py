"""A page with the errors that the browser reported and the hosts that it requested."""

from typing import Any

from playwright.sync_api import Browser, Page


class Watched:
    """A page with the errors that the browser reported and the hosts that it requested."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        self.refused: list[str] = []
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type != "log" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        self.page.on("response", lambda answer: self.refused.append(answer.url) if answer.status >= 400 else None)
        self.page.on("websocket", lambda opened: self.hosts.add(opened.url.split("/")[2]))
        self.page.goto(url)
