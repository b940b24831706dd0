import { type Command, Option } from "npm:commander@15.1.0";
import { LakebaseError } from "../core/errors.ts";
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

/** Sets up `lakebase kernel`. */
export function configure(command: Command): void {
  command.helpCommand(false).addHelpText("after", EXAMPLES);
  addLocation(command.command("install").description("Install the kernel, or replace an installed one"))
    .option("--name <name>", "give the kernel this name in Jupyter (default: lakebase)")
    .option("--display-name <name>", "let Jupyter show this name (default: Deno + SQL)")
    .action(async (values: KernelValues) => {
      await checkName(values);
      const { install } = await import("../kernel/install.ts");
      const { name, displayName, folder, extension } = await install(values);
      await print(
        Deno.stdout,
        `Installed the kernel "${displayName}" (${name}) in ${folder}\n` +
          `and the JupyterLab extension that highlights its %%sql cells in ${extension}\n`,
      );
    });
  addLocation(command.command("uninstall").description("Uninstall the kernel"))
    .option("--name <name>", "uninstall the kernel with this name (default: lakebase)")
    .action(async (values: KernelValues) => {
      await checkName(values);
      const { uninstall } = await import("../kernel/install.ts");
      const { name, folder } = await uninstall(values);
      await print(Deno.stdout, `Removed the kernel ${name} from ${folder}\n`);
    });
  addLocation(command.command("list").description("List the installed kernels"), "list only your own Jupyter folder")
    .action(async ({ prefix, user }: KernelValues) => {
      const { activeLocations, kernelsFolder, list } = await import("../kernel/install.ts");
      const locations = prefix === undefined && !user ? activeLocations() : [{ prefix }];
      const kernels = (await Promise.all(locations.map(list))).flat();
      const lines = kernels.map(({ name, displayName, folder }) => `${name}\t${displayName}\t${folder}\n`);
      await print(Deno.stdout, lines.join(""));
      if (lines.length > 0) return;
      const folders = locations.map(kernelsFolder).join(" and ");
      await print(Deno.stderr, `No kernel is installed in ${folders}; to install one, run: lakebase kernel install\n`);
    });
}

function addLocation(command: Command, userDescription = "use your own Jupyter folder, which is the default"): Command {
  return command.helpOption("-h, --help", "show this help")
    .addHelpText("after", EXAMPLES)
    .option("--prefix <folder>", "use this environment, such as a venv")
    .addOption(new Option("--user", userDescription).conflicts("prefix"));
}

/** Checks the name before the kernel does, so that a wrong one counts as wrong usage. */
async function checkName({ name }: KernelValues): Promise<void> {
  const { checkedName } = await import("../kernel/install.ts");
  try {
    if (name !== undefined) checkedName(name);
  } catch (cause) {
    throw new LakebaseError("BAD_PARAMETER", (cause as Error).message, { cause });
  }
}
