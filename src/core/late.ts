/**
 * Imports a module when it is first used, and fetches it only then, with the packages that it needs. Deno fetches what an
 * `import()` of a literal name leads to before a program starts. `offline.ts` lists the modules that are imported so.
 *
 * @param url The module's address, as `import.meta.resolve` gives it.
 */
export async function late<Module>(url: string): Promise<Module> {
  return await import(url);
}
