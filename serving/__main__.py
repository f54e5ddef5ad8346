"""`python -m serving`: the API process."""

import asyncio
import sys

from ebb.errors import EbbError
from ebb.log import configure_logging, get_logger
from ebb.settings import settings
from serving.app import create_app
from serving.server import DrainingServer, listen


def main() -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    try:
        configured = settings()
        configure_logging(configured, "api")
        opened = listen(configured)
    except EbbError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    log = get_logger("serving")
    with opened:
        log.info("listening", url=f"http://{configured.api_host}:{configured.api_port}")
        asyncio.run(DrainingServer(create_app(configured)).serve([opened]))
    log.info("stopped")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
