"""Every SQL query of the dashboards is answered, with rows and in the shape its panel wants, by the live engine."""

import re
import secrets
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from clickhouse.client import connect
from clickhouse.migrations import migrate
from ebb.settings import Settings

TODAY = datetime(2026, 3, 1, tzinfo=UTC)
FROM, TO = TODAY - timedelta(days=60), TODAY + timedelta(days=1)

SEED = (
    """INSERT INTO scores SELECT 'c' || toString(number), toDateTime64('{today}', 3, 'UTC') - INTERVAL number % 40 DAY,
        (number % 100) / 100, 0.2, ['low', 'medium', 'high', 'critical'][number % 4 + 1], NULL, (number % 7 - 3) / 10,
        '[]', number % 90, number % 30 - 10, if(number % 3 = 0, NULL, 'DE'), if(number % 5 = 0, NULL, 'web'),
        'churn.logistic', 3, now64(3) FROM numbers(400)""",
    """INSERT INTO alerts SELECT toString(number), 'band', 'c' || toString(number), 'high', 'medium', 0.7, 0.5,
        'No activity for 12 days', 40, 'DE', 'web', toDateTime64('{today}', 3, 'UTC') - INTERVAL number HOUR, now64(3)
        FROM numbers(60)""",
    """INSERT INTO outcomes (target, customer_id, snapshot_day, matured_day, label, country, channel, candidate,
        probability) SELECT 'churn', 'c' || toString(number), toDate('{today}') - 15 - number % 20,
        toDate('{today}') - 1 - number % 20, (cityHash64(number) % 10 < 4)::UInt8, 'DE', 'web',
        ['served', 'logistic', 'recency'][number % 3 + 1], (cityHash64(number, 1) % 10) / 10 FROM numbers(3000)""",
    """INSERT INTO models SELECT 'churn.logistic', 'churn', 'logistic', number + 1, 'champion', 'h',
        toDate('{today}'), 100 * number, '{{}}', 'x', now64(3), '{{}}', '' FROM numbers(4)""",
    """INSERT INTO segment_metrics SELECT 'churn', 'logistic', toDate('{today}'), 'country', 'DE',
        ['roc_auc', 'ece', 'base_rate'][number + 1], 0.5, 900, now64(3) FROM numbers(3)""",
    """INSERT INTO expected_metrics SELECT 'churn', 'logistic', toDate('{today}') - 14 - number,
        toDate('{today}') - number, 'roc_auc', 0.8, 900, now64(3) FROM numbers(9)""",
    """INSERT INTO promotions SELECT 'churn', toDate('{today}'), 'rule', '', '', 'logistic', 3, 'done',
        'first', now64(3)""",
    """INSERT INTO events SELECT toString(number), 'c' || toString(number % 50), 'purchase',
        ['view', 'purchase'][number % 2 + 1], toDateTime64('{today}', 3, 'UTC') - INTERVAL number HOUR, 10.5, 'EUR',
        'web', 'DE', NULL, NULL, NULL, NULL, NULL, NULL, '{{}}', '', 0, number, 0, now64(3) FROM numbers(300)""",
    """INSERT INTO dead_letters SELECT 'ebb.activity', 0, number, 'validate', 'bad_json', 'not JSON', 12, now64(3), ''
        FROM numbers(5)""",
)


def _expanded(text: str, database: str) -> str:
    """Resolve the macros of the ClickHouse data source as its back end does."""
    since, until = int(FROM.timestamp()), int(TO.timestamp())
    text = text.replace("${database}", database)
    text = re.sub(r"\$__timeFilter\(([^)]+)\)", rf"\1 >= toDateTime({since}) AND \1 <= toDateTime({until})", text)
    return re.sub(
        r"\$__dateFilter\(([^)]+)\)", rf"\1 >= toDate('{FROM:%Y-%m-%d}') AND \1 <= toDate('{TO:%Y-%m-%d}')", text
    )


@pytest.fixture(scope="module")
def database(stack: Settings) -> Iterator[tuple[Client, str]]:
    settings = stack.model_copy(update={"namespace": f"t{secrets.token_hex(4)}"})
    migrate(settings)
    client = connect(settings)
    for statement in SEED:
        client.command(statement.format(today=f"{TODAY:%Y-%m-%d}"))
    yield client, settings.database
    client.command(f"DROP DATABASE {settings.database}")
    client.close()


def test_grafana_sql_is_answered_with_rows_by_the_live_engine(
    database: tuple[Client, str], sql_queries: list[Any]
) -> None:
    client, name = database
    assert len(sql_queries) > 20
    for query in sql_queries:
        text = _expanded(query.text, name)
        assert "$" not in text, f"{query}: a macro or variable is left unresolved"
        assert client.query(text).result_rows, f"{query}: no rows"


def test_grafana_time_series_have_a_rising_time_and_figures(
    database: tuple[Client, str], sql_queries: list[Any]
) -> None:
    client, name = database
    time_series = [query for query in sql_queries if query.time_series]
    assert len(time_series) >= 9
    for query in time_series:
        answer = client.query(_expanded(query.text, name))
        assert answer.column_names[0] == "time", str(query)
        times = [row[0] for row in answer.result_rows]
        assert all(isinstance(moment, datetime) for moment in times), str(query)
        assert times == sorted(times), f"{query}: Grafana turns long rows to series only in rising time"
        figures = [position for position, cell in enumerate(answer.result_rows[0]) if isinstance(cell, float)]
        assert figures, f"{query}: no column of floats"


def test_grafana_bar_charts_have_their_category_and_figures(
    database: tuple[Client, str], boards: dict[str, Any]
) -> None:
    client, name = database
    for board in boards.values():
        for panel in board["panels"]:
            if panel["type"] != "barchart":
                continue
            answer = client.query(_expanded(panel["targets"][0]["rawSql"], name))
            assert panel["options"]["xField"] in answer.column_names, panel["title"]
            assert len(answer.column_names) == 2, panel["title"]


def test_grafana_sql_of_an_empty_database_is_answered_too(stack: Settings, sql_queries: list[Any]) -> None:
    settings = stack.model_copy(update={"namespace": f"t{secrets.token_hex(4)}"})
    migrate(settings)
    client = connect(settings)
    try:
        for query in sql_queries:
            client.query(_expanded(query.text, settings.database))
    finally:
        client.command(f"DROP DATABASE {settings.database}")
        client.close()


def test_grafana_shares_and_sums_are_those_of_the_data(database: tuple[Client, str], sql_queries: list[Any]) -> None:
    client, name = database
    by_panel = {query.panel: query for query in sql_queries}

    def single_value(panel: str) -> Any:
        return client.query(_expanded(by_panel[panel].text, name)).result_rows[0][0]

    assert single_value("Customers") == 400
    assert single_value("At high or critical risk") == pytest.approx(0.5)
    assert single_value("Value at risk") == sum(number % 90 for number in range(400))
    # Alerts are an hour apart, the newest at the newest score: those within a day of it.
    assert single_value("Alerts, last day") == 24
    rows = client.query(_expanded(by_panel["Reliability"].text, name)).result_rows
    assert sum(row[1] for row in rows) == 1000
    dates = {row[0].date() for row in client.query(_expanded(by_panel["ROC-AUC by label date"].text, name)).result_rows}
    assert max(dates) == date(2026, 2, 28)
