"""An SQLAlchemy engine whose connections take a token each, as Databricks' own pages have it."""

import os

from databricks.sdk import WorkspaceClient
from sqlalchemy import Column, Integer, MetaData, String, Table, URL, create_engine, event, inspect, text

w = WorkspaceClient()
engine = create_engine(
    URL.create(
        "postgresql+psycopg",
        username=w.current_user.me().user_name,
        host=os.environ["PGHOST"],
        port=int(os.environ["PGPORT"]),
        database=os.environ["PGDATABASE"],
    ),
    connect_args={"sslmode": "require"},
    pool_size=2,
    pool_recycle=3600,
    pool_pre_ping=True,
)


@event.listens_for(engine, "do_connect")
def provide_token(dialect, connection_record, arguments, parameters):
    endpoint = os.environ["LAKEBASE_ENDPOINT"]
    parameters["password"] = w.postgres.generate_database_credential(endpoint=endpoint).token


metadata = MetaData()
zones = Table("zones", metadata, Column("id", Integer, primary_key=True), Column("name", String(20), index=True))
metadata.create_all(engine)
with engine.begin() as connection:
    connection.execute(zones.insert(), [{"id": 1, "name": "Harlem"}, {"id": 2, "name": "SoHo"}])
with engine.connect() as connection:
    assert connection.execute(zones.select().order_by(zones.c.id)).all() == [(1, "Harlem"), (2, "SoHo")]
    assert connection.execute(text("SELECT version()")).scalar().startswith("PostgreSQL")
assert [column["name"] for column in inspect(engine).get_columns("zones")] == ["id", "name"]
metadata.drop_all(engine)
engine.dispose()
print("done")
