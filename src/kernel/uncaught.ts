/**
 * Code for the prelude: shows what was thrown where no cell could catch it, such as in a timer's callback, without the
 * frames of Deno's own code. To Deno's kernel it would be the end of whatever cell waits, with no word and for good. An
 * event that a listener of the person's own prevents is theirs; `endings` are Stop's own errors, of which the cell tells.
 */
export const UNCAUGHT = `
  for (const type of ["error", "unhandledrejection"]) {
    addEventListener(type, (event) => {
      let theirs = false;
      event.preventDefault();
      event.preventDefault = () => theirs = true;
      queueMicrotask(() => {
        const thrown = type === "error" ? event.error : event.reason;
        if (theirs || endings.has(thrown)) return;
        const shown = Deno.inspect(thrown, { colors: !Deno.noColor });
        const lines = shown.split("\\n").filter((line) => !/^\\s+at .*\\bext:/.test(line));
        console.error("%s", "Uncaught (in the background) " + lines.join("\\n"));
      });
    });
  }
`;
