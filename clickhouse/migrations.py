"""Migrations that bring a database to the schema that this code expects."""

from importlib.resources import files

from clickhouse_connect.driver.exceptions import Error as ClickHouseError
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from clickhouse.client import connect
from clickhouse.errors import reraise
from ebb.errors import UnavailableError
from ebb.settings import PlaceSettings

_MIGRATIONS_TABLE = """
CREATE TABLE IF NOT EXISTS migrations (name String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3))
ENGINE = ReplacingMergeTree(applied_at) ORDER BY name
"""


def scripts() -> dict[str, list[str]]:
    """Return the statements of each migration, in order of application."""
    folder = files("clickhouse") / "migrations"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return {name.removesuffix(".sql"): _statements((folder / name).read_text("utf-8")) for name in names}


def _statements(text: str) -> list[str]:
    plain = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return [part.strip() for part in plain.split(";") if part.strip()]


@retry(
    retry=retry_if_exception_type(UnavailableError),
    stop=stop_after_delay(60),
    wait=wait_exponential_jitter(multiplier=0.1, max=3),
    reraise=True,
)
def migrate(settings: PlaceSettings) -> list[str]:
    """Create the database of the settings and apply the migrations that it lacks.

    Each statement has `IF NOT EXISTS`, so concurrent calls, or one after a crash, do no harm.

    Returns
    -------
    list of str
        Names of the migrations applied now.

    Raises
    ------
    UnavailableError
        If ClickHouse does not answer within a minute.
    RefusedError
        If it refuses a statement.
    """
    client = connect(settings, database="default")
    try:
        client.command(f"CREATE DATABASE IF NOT EXISTS `{settings.database}`")
        client.database = settings.database
        client.command(_MIGRATIONS_TABLE)
        known = {row[0] for row in client.query("SELECT DISTINCT name FROM migrations").result_rows}
        missing = {name: statements for name, statements in scripts().items() if name not in known}
        for name, statements in missing.items():
            for statement in statements:
                client.command(statement)
            client.insert("migrations", [[name]], column_names=["name"])
    except ClickHouseError as error:
        reraise(error, settings)
    finally:
        client.close_connections()
    return list(missing)
