/**
 * How a result looks, as the CSS that goes with it.
 *
 * @module
 */

/** The class of the outermost element; every rule is under it. */
export const RESULT_CLASS = "lakebase";

// Three times, because JupyterLab's own table rules have the weight of two classes and would win otherwise.
const SCOPE = `.${RESULT_CLASS}`.repeat(3);

// Each colour is a page's own with that of the next kind of page as fallback: JupyterLab and nbconvert, VS Code,
// any other. Text and ground come from the same kind of page, so that they always contrast.
const RULES: readonly (readonly [selector: string, declarations: string])[] = [
  [
    "",
    "--lb-fg:var(--jp-content-font-color1,var(--vscode-editor-foreground,CanvasText));" +
    "--lb-bg:var(--jp-layout-color0,var(--vscode-editor-background,Canvas));" +
    "--lb-soft:color-mix(in srgb,var(--lb-fg) 64%,var(--lb-bg));" +
    "--lb-line:color-mix(in srgb,var(--lb-fg) 13%,var(--lb-bg));" +
    "--lb-focus:var(--jp-brand-color1,var(--vscode-focusBorder,Highlight));" +
    "font:13px/1.45 var(--jp-ui-font-family,var(--vscode-font-family,system-ui,sans-serif));color:var(--lb-fg)",
  ],
  [
    " .lb-scroll",
    "width:fit-content;max-width:100%;box-sizing:border-box;border:1px solid var(--lb-line);border-radius:4px;" +
    "background:var(--lb-bg)",
  ],
  [" .lb-scroll:focus-visible", "outline:2px solid var(--lb-focus);outline-offset:1px"],
  [
    " table",
    "table-layout:auto;border-collapse:separate;border-spacing:0;border:0;margin:0;width:max-content;font:inherit;" +
    "color:inherit;font-variant-numeric:tabular-nums",
  ],
  [" caption", "caption-side:top;text-align:left;padding:6px 12px;font-weight:600;color:inherit"],
  [" :is(thead,tr)", "background:none;border:0"],
  [
    " :is(th,td)",
    "max-width:64ch;padding:3px 12px;border:0;border-bottom:1px solid var(--lb-line);vertical-align:top;" +
    "white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.45",
  ],
  [
    " th",
    "position:sticky;top:0;z-index:1;padding:5px 12px;font-weight:600;line-height:1.25;" +
    "background:color-mix(in srgb,var(--lb-fg) 4%,var(--lb-bg));" +
    "border-bottom-color:color-mix(in srgb,var(--lb-fg) 26%,var(--lb-bg))",
  ],
  [" th small", "font-size:11px;font-weight:400;color:var(--lb-soft)"],
  // A version or a query plan: nothing beside it needs the room.
  [" td:only-child", "max-width:128ch"],
  [" tbody tr:hover td", "background:color-mix(in srgb,var(--lb-fg) 5%,var(--lb-bg))"],
  [" tbody tr:last-child td", "border-bottom:0"],
  [" em", "font-style:italic;color:var(--lb-soft)"],
  [" i", "font-style:normal;color:var(--lb-soft)"],
  [" b", "font-weight:400;color:var(--lb-soft)"],
  [" summary", "cursor:pointer;list-style:none"],
  [" summary::-webkit-details-marker", "display:none"],
  [" summary:hover b", "text-decoration:underline"],
  [" [open]>summary", "font-size:0"],
  [" [open]>summary::after", "content:'Show less';font-size:11px;color:var(--lb-soft)"],
  [" .lb-full", "max-height:18em;overflow:auto"],
  [" .lb-command", "padding:2px 1px"],
  [" .lb-foot", "padding:5px 1px 2px;font-size:12px;color:var(--lb-soft)"],
  [
    " .lb-notice",
    "margin:4px 0;padding:1px 10px;border-left:3px solid var(--lb-line);font-size:12px;white-space:pre-wrap;" +
    "overflow-wrap:anywhere",
  ],
  [" .lb-warning", "border-color:var(--jp-warn-color1,var(--vscode-editorWarning-foreground,#c98500))"],
];

/** The style sheet, without its `<style>` element. */
export const CSS: string = RULES.map(([selector, declarations]) => `${SCOPE}${selector}{${declarations}}`).join("") +
  // A dark page that does not say so itself still gets dark scroll bars.
  `[data-jp-theme-light="false"] ${SCOPE},.vscode-dark ${SCOPE}{color-scheme:dark}` +
  `@media print{${SCOPE} .lb-scroll{max-height:none!important}}`;
