"""Files of a Volume with databricks-sdk: w.files and w.dbfs, unchanged."""

import io
import os
import tempfile

from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import AlreadyExists, BadRequest, NotFound

w = WorkspaceClient()
volume = "/Volumes/main/raw/landing"


def fails(error, work, *args, **options):
    try:
        work(*args, **options)
    except error:
        return
    raise AssertionError(f"{work} did not fail with {error}")


assert w.volumes.read("main.raw.landing").full_name == "main.raw.landing"
fails(NotFound, w.volumes.read, "main.raw.nope")
fails(NotFound, w.files.upload, "/Volumes/main/raw/nope/a.csv", io.BytesIO(b"1"), overwrite=True)

names = ["a.csv", "b c #1 100% why? é😀.csv"]
for name in names:
    path = f"{volume}/sub/{name}"
    w.files.upload(path, io.BytesIO(b"id\n1\n"), overwrite=False)
    assert w.files.download(path).contents.read() == b"id\n1\n"
    fails(AlreadyExists, w.files.upload, path, io.BytesIO(b"2"), overwrite=False)
    w.files.upload(path, io.BytesIO(b"id\n1\n2\n"), overwrite=True)
    meta = w.files.get_metadata(path)
    assert (meta.content_length, meta.content_type) == (7, "application/octet-stream"), meta
    assert meta.last_modified.endswith("GMT"), meta
fails(NotFound, w.files.download, f"{volume}/sub/missing.csv")
fails(NotFound, w.files.get_metadata, f"{volume}/sub/missing.csv")
fails(NotFound, w.files.delete, f"{volume}/sub/missing.csv")

big = os.urandom(3_000_000)
w.files.upload(f"{volume}/big.bin", io.BytesIO(big), overwrite=True)
assert w.files.download(f"{volume}/big.bin").contents.read() == big
with tempfile.TemporaryDirectory() as folder:
    with open(f"{folder}/up.bin", "wb") as file:
        file.write(big)
    w.files.upload_from(f"{volume}/from.bin", f"{folder}/up.bin", overwrite=True)
    w.files.download_to(f"{volume}/from.bin", f"{folder}/down.bin")
    with open(f"{folder}/down.bin", "rb") as file:
        assert file.read() == big

w.files.create_directory(f"{volume}/many/deep")
w.files.create_directory(f"{volume}/many/deep")
w.files.get_directory_metadata(f"{volume}/many")
fails(NotFound, w.files.get_directory_metadata, f"{volume}/none")
for n in range(7):
    w.files.upload(f"{volume}/many/{n}.csv", io.BytesIO(str(n).encode()), overwrite=True)
listed = list(w.files.list_directory_contents(f"{volume}/many", page_size=3))
assert [entry.name for entry in listed] == [*(f"{n}.csv" for n in range(7)), "deep"], listed
assert [entry.is_directory for entry in listed] == [False] * 7 + [True]
assert all(entry.path == f"{volume}/many/{entry.name}" for entry in listed)
assert [entry.file_size for entry in listed[:7]] == [1] * 7
assert all(entry.last_modified > 1_500_000_000_000 for entry in listed)
fails(NotFound, lambda: list(w.files.list_directory_contents(f"{volume}/none")))
fails(BadRequest, w.files.delete_directory, f"{volume}/many")
w.files.delete_directory(f"{volume}/many/deep")

assert w.dbfs.exists(f"{volume}/many/3.csv") and w.dbfs.exists(f"dbfs:{volume}/many")
assert not w.dbfs.exists(f"{volume}/many/8.csv")
w.dbfs.mkdirs(f"{volume}/copies")
w.dbfs.upload(f"{volume}/copies/x.csv", io.BytesIO(b"x"))
with w.dbfs.download(f"{volume}/copies/x.csv") as file:
    assert file.read(-1) == b"x"  # the SDK's own default does not work
w.dbfs.copy(f"{volume}/many", f"{volume}/copied", recursive=True)
assert len(list(w.dbfs.list(f"{volume}/copied"))) == 7
w.dbfs.move_(f"{volume}/copied/0.csv", f"{volume}/moved.csv")
assert w.files.download(f"{volume}/moved.csv").contents.read() == b"0"
w.dbfs.delete(f"{volume}/copied", recursive=True)
assert not w.dbfs.exists(f"{volume}/copied")
for name in names:
    w.files.delete(f"{volume}/sub/{name}")
print("done")
