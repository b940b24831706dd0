// A JupyterLab extension that highlights cells that begin with %%sql in a TypeScript notebook. A kernel can't highlight them,
// because it names one language for all cells. The file is written by hand in the form that webpack gives a plugin:
// JupyterLab calls init with its own packages, then get for the module that package.json names.
(() => {
  const SQL = "text/x-pgsql";
  const BEGINS_SQL = /^(?:\s|\/\/[^\n]*\n|--[^\n]*\n|\/\*(?:[^*]|\*(?!\/))*\*\/)*%%sql(?![\w?])/;
  /** The number of characters to check. Every key press checks the cell. */
  const CHECKED_LENGTH = 2000;

  /** Sets a cell's language when its text or its language changes. */
  function watch(cell, notebook, watched) {
    if (cell.type !== "code" || watched.has(cell)) return;
    watched.add(cell);
    const setLanguage = () => {
      const codeLanguage = notebook.codeMimetype;
      if (cell.isDisposed || !codeLanguage.includes("typescript")) return;
      const isSql = BEGINS_SQL.test(cell.sharedModel.getSource().slice(0, CHECKED_LENGTH));
      const language = isSql ? SQL : codeLanguage;
      if (cell.mimeType !== language) cell.mimeType = language;
    };
    cell.contentChanged.connect(setLanguage);
    cell.mimeTypeChanged.connect(setLanguage);
    setLanguage();
  }

  /** Watches the cells of a notebook, and those that are added later. */
  function watchAll(panel) {
    const notebook = panel.content;
    const watched = new WeakSet();
    const watchCells = () => {
      for (const cell of notebook.model?.cells ?? []) {
        watch(cell, notebook, watched);
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
