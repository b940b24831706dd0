// An extension of JupyterLab that colours the cells of a TypeScript notebook that begin with %%sql. A kernel can name one
// language for all of its cells, so JupyterLab has to be told from inside. By hand what webpack would make of a plugin:
// JupyterLab calls init with its own packages, then get for the module that package.json names.
(() => {
  const SQL = "text/x-pgsql";
  const BEGINS_SQL = /^(?:\s|\/\/[^\n]*\n|--[^\n]*\n|\/\*(?:[^*]|\*(?!\/))*\*\/)*%%sql(?![\w?])/;
  /** Comments before the magic may be long, but a cell is looked at with every key. */
  const LOOKED_AT = 2000;

  /** Keeps a cell's language true to its text, whoever changes either. */
  function watch(cell, notebook, seen) {
    if (cell.type !== "code" || seen.has(cell)) return;
    seen.add(cell);
    const paint = () => {
      const usual = notebook.codeMimetype;
      if (cell.isDisposed || !usual.includes("typescript")) return;
      const wanted = BEGINS_SQL.test(cell.sharedModel.getSource().slice(0, LOOKED_AT)) ? SQL : usual;
      if (cell.mimeType !== wanted) cell.mimeType = wanted;
    };
    cell.contentChanged.connect(paint);
    cell.mimeTypeChanged.connect(paint);
    paint();
  }

  function watchAll(panel) {
    const notebook = panel.content;
    const seen = new WeakSet();
    const heed = () => {
      for (const cell of notebook.model?.cells ?? []) {
        watch(cell, notebook, seen);
      }
    };
    const connect = () => {
      notebook.model?.cells.changed.connect(heed);
      heed();
    };
    notebook.modelChanged.connect(connect);
    panel.context.ready.then(connect);
  }

  let packages;
  const container = {
    init: (shared) => packages = shared,
    get: async () => {
      const [notebooks] = Object.values(packages["@jupyterlab/notebook"]);
      const { INotebookTracker } = (await notebooks.get())();
      const plugin = {
        id: "lakebase-sql-cells:colours",
        autoStart: true,
        optional: [INotebookTracker],
        activate: (_app, tracker) => {
          tracker?.forEach(watchAll);
          tracker?.widgetAdded.connect((_tracker, panel) => watchAll(panel));
        },
      };
      return () => ({ __esModule: true, default: plugin });
    },
  };
  globalThis._JUPYTERLAB = {
    ...globalThis._JUPYTERLAB,
    "lakebase-sql-cells": container,
  };
})();
