"""Branches with databricks-sdk: create, list, get, update, delete and undelete, each waited for."""

import psycopg
from databricks.sdk import WorkspaceClient
from databricks.sdk.common.types.fieldmask import FieldMask
from databricks.sdk.errors import BadRequest, NotFound
from databricks.sdk.service.postgres import Branch, BranchSpec, BranchStatusState
from google.protobuf.duration_pb2 import Duration

w = WorkspaceClient()
project = "projects/local"
user = w.current_user.me().user_name


def connect(branch):
    (endpoint,) = w.postgres.list_endpoints(parent=branch)
    token = w.postgres.generate_database_credential(endpoint=endpoint.name).token
    return psycopg.connect(
        host=endpoint.status.hosts.host,
        hostaddr="127.0.0.1",
        dbname="databricks_postgres",
        user=user,
        password=token,
        sslmode="require",
    )


production = f"{project}/branches/production"
with connect(production) as source:
    source.execute("CREATE TABLE fares (id int PRIMARY KEY, fare numeric)")
    source.execute("INSERT INTO fares VALUES (1, -5), (2, 12.5)")
    source.commit()
    branch = w.postgres.create_branch(
        parent=project,
        branch_id="try-it",
        branch=Branch(spec=BranchSpec(source_branch=production, ttl=Duration(seconds=7200))),
    ).wait()
    assert branch.name == f"{project}/branches/try-it", branch
    assert branch.status.current_state == BranchStatusState.READY, branch
    assert branch.status.source_branch == production
    with connect(branch.name) as copy:
        copy.execute("DELETE FROM fares WHERE fare < 0")
        assert copy.execute("SELECT count(*) FROM fares").fetchone() == (1,)
    assert source.execute("SELECT count(*) FROM fares").fetchone() == (2,)
    source.execute("DROP TABLE fares")

names = [found.branch_id for found in w.postgres.list_branches(parent=project, page_size=1)]
assert names == ["production", "try-it"], names
got = w.postgres.get_branch(name=branch.name)
assert got.uid == branch.uid and got.status.expire_time is not None

updated = w.postgres.update_branch(
    name=branch.name,
    branch=Branch(spec=BranchSpec(no_expiry=True, is_protected=True)),
    update_mask=FieldMask(["spec.expiration", "spec.is_protected"]),
).wait()
assert updated.status.is_protected and updated.status.expire_time is None, updated
try:
    w.postgres.delete_branch(name=branch.name)
    raise AssertionError("a protected branch was deleted")
except BadRequest as error:
    assert "protected" in str(error)
w.postgres.update_branch(
    name=branch.name,
    branch=Branch(spec=BranchSpec(is_protected=False)),
    update_mask=FieldMask(["spec.is_protected"]),
).wait()

w.postgres.delete_branch(name=branch.name).wait()
assert [found.branch_id for found in w.postgres.list_branches(parent=project)] == ["production"]
deleted = list(w.postgres.list_branches(parent=project, show_deleted=True))[-1]
assert deleted.status.current_state == BranchStatusState.DELETED and deleted.status.purge_time is not None, deleted
w.postgres.undelete_branch(name=branch.name).wait()
with connect(branch.name) as copy:
    assert copy.execute("SELECT count(*) FROM fares").fetchone() == (1,)
w.postgres.delete_branch(name=branch.name, purge=True).wait()
try:
    w.postgres.get_branch(name=branch.name)
    raise AssertionError("a purged branch was found")
except NotFound:
    pass
print("done")
