import assert from "node:assert/strict";
import { JupyterLab, jupyterLabMissing } from "../support/jupyterlab.ts";
import { notebookOf, textOf } from "../support/notebook.ts";
import { requires } from "../support/requirements.ts";

const untilStopped = `await new Promise((resolve) => {
  const alive = setInterval(() => {}, 1000);
  Deno.addSignalListener("SIGINT", () => {
    clearInterval(alive);
    resolve("stopped");
  });
  console.log("waiting");
})`;

Deno.test({
  ...requires("JupyterLab shows what Deno's kernel draws, and its Stop button reaches a cell", jupyterLabMissing),
  fn: async () => {
    await using lab = await JupyterLab.start({ env: { NO_COLOR: "1" } });
    const table = "Deno.jupyter.html`<table><tr><td>drawn</td></tr></table>`";
    await using notebook = await lab.open(notebookOf(["1 + 1", table, untilStopped]));

    await notebook.run(0);
    await notebook.run(1);
    await notebook.showsMatch(0, /^2$/);
    await notebook.showsMatch(1, /^drawn$/);
    assert.match(await notebook.outputHtml(1), /<td>drawn<\/td>/);
    assert.equal(await notebook.emptyOutputs(), 0);

    await notebook.start(2);
    await notebook.shows(2, "waiting");
    await notebook.stop();
    await notebook.idle();
    await notebook.shows(2, "stopped");

    const saved = await notebook.save();
    assert.match(textOf(saved.cells[1]?.outputs?.[0], "text/html") ?? "", /drawn/);
  },
});
