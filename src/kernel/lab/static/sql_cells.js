// A JupyterLab extension that highlights cells that begin with %%sql in a TypeScript notebook. A kernel can name only one
// language for all cells, so an extension must do it. The file is written by hand in the form that webpack gives a plugin:
// JupyterLab calls init with its own packages, then get for the module that package.json names.
(() => {
  const SQL = "text/x-pgsql";
  const BEGINS_SQL = /^(?:\s|\/\/[^\n]*\n|--[^\n]*\n|\/\*(?:[^*]|\*(?!\/))*\*\/)*%%sql(?![\w?])/;
  /** How many characters to check: every key press checks the cell. */
  const CHECKED_LENGTH = 2000;

  /** Sets a cell's language when its text or its language changes. */
  function watch(cell, notebook, seen) {
    if (cell.type !== "code" || seen.has(cell)) return;
    seen.add(cell);
    const setLanguage = () => {
      const usual = notebook.codeMimetype;
      if (cell.isDisposed || !usual.includes("typescript")) return;
      const wanted = BEGINS_SQL.test(cell.sharedModel.getSource().slice(0, CHECKED_LENGTH)) ? SQL : usual;
      if (cell.mimeType !== wanted) cell.mimeType = wanted;
    };
    cell.contentChanged.connect(setLanguage);
    cell.mimeTypeChanged.connect(setLanguage);
    setLanguage();
  }

  function watchAll(panel) {
    const notebook = panel.content;
    const seen = new WeakSet();
    const watchCells = () => {
      for (const cell of notebook.model?.cells ?? []) {
        watch(cell, notebook, seen);
      }
    };
    const connect = () => {
      notebook.model?.cells.changed.connect(watchCells);
      watchCells();
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
