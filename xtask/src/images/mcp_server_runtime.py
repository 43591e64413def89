"""Runs the npm or PyPI package named in MCP_PACKAGE as an MCP server on standard input and output.

Only packages that were baked into the image can run: its containers have no network. What is wrong is said in one line
on standard error, with what would be right.
"""

import json
import os
import re
import shlex
import sys
from importlib import metadata

USAGE = 64
PACKAGES = "/opt/packages.json"


def fail(problem):
    print(f"mcp-server-runtime: {problem}", file=sys.stderr)
    sys.exit(USAGE)


def wanted(text, packages):
    """The package's full name and the version asked for, if any: npm:NAME[@VERSION], pypi:NAME[==VERSION], NAME."""
    available = "; available are " + ", ".join(sorted(packages))
    if not text:
        fail("MCP_PACKAGE is not set, say which package to run" + available)
    match = re.fullmatch(r"(?:(npm|pypi):)?(@?[^@=:]+)(?:@|==)?(.*)", text)
    if match is None:
        fail(f"MCP_PACKAGE={text} is neither npm:NAME nor pypi:NAME" + available)
    kind, name, version = match.groups()
    found = [full for full in packages if full == f"{kind}:{name}" or kind is None and full.split(":", 1)[1] == name]
    if len(found) != 1:
        fail(f"the package {text} is not in this image" + available)
    return found[0], version


def arguments(text, usual):
    """MCP_PACKAGE_ARGS, a JSON array or words as a shell reads them, and then those of the command line."""
    given = []
    if text.lstrip().startswith("["):
        try:
            given = json.loads(text)
        except ValueError as error:
            fail(f"MCP_PACKAGE_ARGS begins like a JSON array and is none: {error}")
        if not all(isinstance(word, str) for word in given):
            fail("MCP_PACKAGE_ARGS must be an array of strings")
    elif text:
        try:
            given = shlex.split(text)
        except ValueError as error:
            fail(f"MCP_PACKAGE_ARGS cannot be split into words: {error}")
    return given + sys.argv[1:] or usual


def check(name, asked, baked):
    if asked and asked != baked:
        fail(f"{name} is baked in at version {baked}, not {asked}")


def run_npm(root, name, version, args):
    home = f"{root}/node_modules/{name}"
    with open(f"{home}/package.json", encoding="utf-8") as file:
        package = json.load(file)
    check(name, version, package["version"])
    programs = package["bin"]
    if isinstance(programs, dict):
        programs = programs.get(name.rsplit("/", 1)[-1]) or next(iter(programs.values()))
    os.execv("/usr/bin/node", ["node", os.path.join(home, programs), *args])


def run_pypi(root, name, version, args):
    # Other packages' libraries must not be found first.
    sys.path[:] = [path for path in sys.path if path not in ("/app", "/opt")]
    sys.path.insert(0, root)
    package = next(iter(metadata.distributions(name=name, path=[root])))
    check(name, version, package.version)
    scripts = {script.name: script for script in package.entry_points if script.group == "console_scripts"}
    script = scripts.get(name) or next(iter(scripts.values()))
    sys.argv = [name, *args]
    sys.exit(script.load()())


def main():
    with open(PACKAGES, encoding="utf-8") as file:
        packages = json.load(file)
    full, version = wanted(os.environ.get("MCP_PACKAGE", "").strip(), packages)
    package = packages[full]
    for variable, value in package.get("environment", {}).items():
        os.environ.setdefault(variable, value)
    args = arguments(os.environ.get("MCP_PACKAGE_ARGS", ""), package.get("args", []))
    kind, name = full.split(":", 1)
    run = run_npm if kind == "npm" else run_pypi
    run(package["root"], name, version, args)


main()
