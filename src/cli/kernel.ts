import { type Command, InvalidArgumentError, Option } from "npm:commander@^15.1.0";
import { checkedName } from "../kernel/kernelspec.ts";
import { print } from "./output.ts";

interface KernelValues {
  name?: string;
  displayName?: string;
  prefix?: string;
  user?: boolean;
}

const EXAMPLES = `
Examples:
  lakebase kernel install
  lakebase kernel install --prefix .venv
  lakebase kernel list
  lakebase kernel uninstall`;

/** Makes `lakebase kernel` of a command. */
export function configure(command: Command): void {
  command.helpCommand(false).addHelpText("after", EXAMPLES);
  addPlace(command.command("install").description("installs it, in place of an earlier one"))
    .option("--name <name>", "what Jupyter calls it; lakebase where nothing is said", kernelName)
    .option("--display-name <name>", "what people see; Deno + SQL where nothing is said")
    .action(async (values: KernelValues) => {
      const { install } = await import("../kernel/install.ts");
      const { name, displayName, folder, extension } = await install(values);
      await print(
        Deno.stdout,
        `Installed the kernel "${displayName}" (${name}) in ${folder}\n` +
          `and what colours its %%sql cells in JupyterLab in ${extension}\n`,
      );
    });
  addPlace(command.command("uninstall").description("takes it away"))
    .option("--name <name>", "what Jupyter calls it; lakebase where nothing is said", kernelName)
    .action(async (values: KernelValues) => {
      const { uninstall } = await import("../kernel/install.ts");
      const { name, folder } = await uninstall(values);
      await print(Deno.stdout, `Took the kernel ${name} away from ${folder}\n`);
    });
  addPlace(command.command("list").description("lists those that are installed"), "and not in an active venv too")
    .action(async ({ prefix, user }: KernelValues) => {
      const { activeLocations, kernelsFolder, list } = await import("../kernel/install.ts");
      const places = prefix === undefined && !user ? activeLocations() : [{ prefix }];
      const kernels = (await Promise.all(places.map(list))).flat();
      const lines = kernels.map(({ name, displayName, folder }) => `${name}\t${displayName}\t${folder}\n`);
      await print(Deno.stdout, lines.join(""));
      if (lines.length > 0) return;
      const folders = places.map(kernelsFolder).join(" and ");
      await print(Deno.stderr, `There is none in ${folders}; lakebase kernel install installs one\n`);
    });
}

function addPlace(command: Command, more = "as where nothing is said"): Command {
  return command.helpOption("-h, --help", "shows this")
    .addHelpText("after", EXAMPLES)
    .option("--prefix <folder>", "in this environment, such as a venv")
    .addOption(new Option("--user", `in your own Jupyter folder, ${more}`).conflicts("prefix"));
}

function kernelName(text: string): string {
  try {
    return checkedName(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}
