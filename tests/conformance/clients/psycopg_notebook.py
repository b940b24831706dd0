"""The ordinary notebook snippet: databricks-sdk for the login, psycopg for the queries."""

import os

import psycopg
from databricks.sdk import WorkspaceClient

name = os.environ["LAKEBASE_ENDPOINT"]
w = WorkspaceClient()
endpoint = w.postgres.get_endpoint(name=name)
credential = w.postgres.generate_database_credential(endpoint=name)
me = w.current_user.me()
assert me.user_name == "you@example.com"
assert [project.name for project in w.postgres.list_projects()] == ["projects/local"]
assert [branch.name for branch in w.postgres.list_branches(parent="projects/local")] == ["projects/local/branches/production"]

with psycopg.connect(
    host=endpoint.status.hosts.host,
    dbname="databricks_postgres",
    user=me.user_name,
    password=credential.token,
    sslmode="require",
) as connection:
    (version,) = connection.execute("SELECT version()").fetchone()
    assert version.startswith("PostgreSQL"), version
    connection.execute("CREATE TABLE trips (id int PRIMARY KEY, zone text, fare numeric(8, 2))")
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO trips VALUES (%s, %s, %s)", [(1, "Harlem", 12.5), (2, None, 8)])
        with cursor.copy("COPY trips FROM STDIN") as copy:
            copy.write_row((3, "SoHo", "3.25"))
        with cursor.copy("COPY (SELECT * FROM trips ORDER BY id) TO STDOUT (FORMAT binary)") as copy:
            copy.set_types(["int4", "text", "numeric"])
            rows = list(copy.rows())
    assert [row[1] for row in rows] == ["Harlem", None, "SoHo"], rows
    with connection.cursor(name="portal") as cursor:  # a cursor of the server's
        cursor.itersize = 2
        assert [row[0] for row in cursor.execute("SELECT id FROM trips ORDER BY id")] == [1, 2, 3]
    with connection.pipeline():
        sums = [connection.execute("SELECT %s::int + 1", [n], prepare=True) for n in range(5)]
    assert [cursor.fetchone()[0] for cursor in sums] == [1, 2, 3, 4, 5]
    try:
        with connection.transaction():
            connection.execute("SELECT 1 / 0")
    except psycopg.errors.DivisionByZero:
        pass
    connection.execute("DROP TABLE trips")

# What libpq 18 can do besides: a newer protocol, TLS without asking for it.
for options in [{"max_protocol_version": "latest"}, {"sslnegotiation": "direct"}]:
    with psycopg.connect(
        host=endpoint.status.hosts.host,
        dbname="databricks_postgres",
        user=me.user_name,
        password=credential.token,
        sslmode="require",
        **options,
    ) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
print("done")
