"""How long to wait before a crashed part is started again."""


class Backoff:
    """Waits that double with each crash, and start over once a run was long enough to call it stable.

    Parameters
    ----------
    first, most
        Seconds of the first and of the longest wait.
    stable
        Seconds of running after which earlier crashes are forgotten.
    """

    def __init__(self, *, first: float = 0.5, most: float = 30.0, stable: float = 60.0) -> None:
        self.first = first
        self.most = most
        self.stable = stable
        self.crashes = 0

    def crashed(self, ran: float) -> float:
        """Return the seconds to wait after a run of `ran` seconds ended in a crash."""
        if ran >= self.stable:
            self.crashes = 0
        wait = min(self.most, self.first * 2.0 ** min(self.crashes, 60))
        self.crashes += 1
        return wait
