"""History: tables, migrations, named queries, and the store that other rooms use."""
