"""Runs notebooks under nbclient, and cells on kernels: a request in JSON on each line of stdin, its answer on stdout.

One process runs all requests of a test process: the imports take two seconds.
"""

import json
import os
import queue
import signal
import sys
import threading
import time
import traceback

import nbformat
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError


def run_notebook(request):
    notebook = nbformat.reads(json.dumps(request["notebook"]), as_version=4)
    client = NotebookClient(
        notebook,
        record_timing=False,
        kernel_name=request["kernel"],
        timeout=request["timeout"],
        startup_timeout=request["timeout"],
        iopub_timeout=request["timeout"],
        allow_errors=request["allowErrors"],
        resources={"metadata": {"path": request["cwd"]}},
    )
    error = None
    try:
        client.execute()
    except CellExecutionError as failure:
        error = str(failure)
    return {"notebook": json.loads(nbformat.writes(notebook)), "error": error}


def run_cells(request):
    manager = KernelManager(kernel_name=request["kernel"])
    manager.start_kernel(cwd=request["cwd"])
    client = manager.client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=request["timeout"])
        cells = {}
        for cell in request["cells"]:
            run_cell(manager, client, cell, request, cells)
            if not manager.is_alive():
                break
        return {"cells": list(cells.values()), "alive": manager.is_alive()}
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def run_frontends(request):
    """Each frontend sends its cells at once, and all frontends at the same time, to one kernel."""
    manager = KernelManager(kernel_name=request["kernel"])
    manager.start_kernel(cwd=request["cwd"])
    clients = [frontend_of(manager) for _ in request["frontends"]]
    try:
        for client in clients:
            client.start_channels()
            client.wait_for_ready(timeout=request["timeout"])
        run_cell(manager, clients[0], {"code": request["before"]}, request, {})
        sent = [[client.execute(code) for code in codes] for client, codes in zip(clients, request["frontends"])]
        deadline = time.monotonic() + request["timeout"]
        frontends = [answers(client, ids, deadline) for client, ids in zip(clients, sent)]
        return {"frontends": frontends, "alive": manager.is_alive()}
    finally:
        for client in clients:
            client.stop_channels()
        manager.shutdown_kernel(now=True)


def frontend_of(manager):
    """
    A client with a session of its own: those of `manager.client()` share an identity and number their messages alike. It asks
    its manager whether the kernel lives. Without one it would ask for a heartbeat, which a busy machine answers late.
    """
    client = BlockingKernelClient(parent=manager)
    client.load_connection_info(manager.get_connection_info())
    return client


def answers(client, request_ids, deadline):
    """What one frontend gets for each of its requests, until the kernel is idle after the last one."""
    cells = {request_id: {"messages": [], "idle": False, "reply": None} for request_id in request_ids}
    while not all(cell["idle"] for cell in cells.values()) and time.monotonic() < deadline:
        try:
            message = client.get_iopub_msg(timeout=0.1)
        except queue.Empty:
            continue
        cell = cells.get(message["parent_header"].get("msg_id"))
        if cell is None:
            continue
        content = message["content"]
        cell["messages"].append({"type": message["msg_type"], "content": content, "at": 0, "late": cell["idle"]})
        if message["msg_type"] == "status" and content["execution_state"] == "idle":
            cell["idle"] = True
    for request_id, cell in cells.items():
        cell["reply"] = reply_to(client, request_id, cell["idle"])
    return list(cells.values())


def run_cell(manager, client, cell, request, cells):
    """
    Adds to `cells`, by their request, every message that answers one cell, those included that arrive within `settle` seconds
    of its idle. The cells before it get theirs that arrive even later.
    """
    started = time.monotonic()
    deadline = started + request["timeout"]
    request_id = client.execute(cell["code"], allow_stdin=False)
    timer = threading.Timer(cell.get("interruptAfter") or 0, manager.interrupt_kernel)
    if cell.get("interruptAfter") is not None:
        timer.start()
    messages, idle_at, interrupt_at = [], None, cell.get("interruptAt")
    run = cells[request_id] = {"messages": messages, "idle": False, "reply": None}
    while time.monotonic() < deadline:
        alive = manager.is_alive()  # before reading: what a kernel has sent before its end arrives after it
        try:
            message = client.get_iopub_msg(timeout=0.1 if idle_at is None and alive else request["settle"])
        except queue.Empty:
            if idle_at is None and alive:
                continue
            break
        at = time.monotonic() - started
        content = message["content"]
        answered = message["parent_header"].get("msg_id")
        if answered != request_id:
            if answered in cells:
                earlier = {"type": message["msg_type"], "content": content, "at": at, "late": True}
                cells[answered]["messages"].append(earlier)
            continue
        messages.append({"type": message["msg_type"], "content": content, "at": at, "late": idle_at is not None})
        if interrupt_at and message["msg_type"] != "execute_input" and interrupt_at in json.dumps(content):
            interrupt_at = None
            manager.interrupt_kernel()
        if message["msg_type"] == "status" and content["execution_state"] == "idle":
            idle_at = at
    timer.cancel()
    if timer.ident is not None:
        timer.join()  # an interrupt that is being sent must not reach the next cell
    run["idle"] = idle_at is not None
    run["reply"] = reply_to(client, request_id, idle_at is not None)


def reply_to(client, request_id, expected):
    """The kernel's reply, without waiting long for one that isn't coming."""
    deadline = time.monotonic() + (60 if expected else 0.2)
    while time.monotonic() < deadline:
        try:
            message = client.get_shell_msg(timeout=0.1)
        except queue.Empty:
            continue
        if message["parent_header"].get("msg_id") == request_id:
            return message["content"]
    return None


def stop(*_):
    raise SystemExit("stopped")


def run(request):
    os.environ.clear()
    os.environ.update(request["env"])
    how = run_notebook if "notebook" in request else run_frontends if "frontends" in request else run_cells
    return how(request)


def main():
    # The kernel has a session of its own: only an orderly end of this process ends it too.
    signal.signal(signal.SIGTERM, stop)
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        try:
            answer = {"answer": run(json.loads(line))}
        except Exception:
            answer = {"failure": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


main()
