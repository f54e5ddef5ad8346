"""The one tree of errors. Each says what happened, to what, and what to do."""


class EbbError(Exception):
    """Base of every error that Ebb raises on purpose.

    Parameters
    ----------
    what
        What happened, and to what, in one sentence.
    hint
        What the reader can do about it, in one sentence.
    """

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(f"{what} {hint}".strip())
        self.what = what
        self.hint = hint


class SettingsError(EbbError):
    """A setting is missing, malformed or contradicts another."""


class SetupError(EbbError):
    """The machine lacks something that Ebb needs: memory, disk, a port, the network, a Python."""


class InvalidEventError(EbbError):
    """An activity record cannot be accepted.

    Parameters
    ----------
    reason
        Label under which it is counted and dead-lettered.
    customer_id
        Customer that its body names, where that is known and differs from its key.
    field
        The field that is wrong, where it is one.
    """

    def __init__(self, *, reason: str, what: str, customer_id: str | None = None, field: str | None = None) -> None:
        super().__init__(what)
        self.reason = reason
        self.customer_id = customer_id
        self.field = field


class IllegalTransitionError(EbbError):
    """A state machine was asked for a step that its present state does not allow."""


class SchemaMismatchError(EbbError):
    """A stored thing (model snapshot, checkpoint, block) was made for another feature schema or format version."""


class CorruptError(EbbError):
    """A stored thing fails its checksum or cannot be decoded."""


class SourceError(EbbError):
    """A recorded log cannot be read or mapped to activity events."""


class UnavailableError(EbbError):
    """A service that Ebb depends on (Kafka, ClickHouse) does not answer; a retry may help."""


class StreamRefusedError(EbbError):
    """An API has closed a stream for good; `code` is its close code (`ebb.contracts.stream`), or the HTTP status."""

    def __init__(self, what: str, hint: str = "", *, code: int) -> None:
        super().__init__(what, hint)
        self.code = code


class KeyRefusedError(StreamRefusedError):
    """An API refused the key: it is missing, unknown, revoked, expired or may not read."""
