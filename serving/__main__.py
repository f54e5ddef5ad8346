"""`python -m serving`: the API process."""

import sys

from ebb.absent import keep_out
from ebb.errors import EbbError
from ebb.liveness import Liveness
from ebb.log import configure_logging, get_logger
from ebb.settings import settings
from serving.app import create_app
from serving.server import DrainingServer, listen


def main() -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    keep_out("pandas")
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
        app, liveness = create_app(configured), Liveness(ends=True)
        liveness.watch("the API:", app.state.context.failure)
        DrainingServer(app, configured.drain_seconds, liveness).run([opened])
    log.info("stopped")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
