"""Builds the package `unet_keras`: pip install .

In the repository the modules stand at the top (`unet`, `train`, `utils.files`), where the scripts
find them. Installed under such names they would be in the way of other people's `utils` and
`train`. So the package holds them all, `unet_keras.train` and `unet_keras.utils.files`, and is
built with the imports to match: plain modules, of which nothing is redirected when they run.
"""

import ast
import re
import runpy
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel
from setuptools.errors import SetupError

ROOT = Path(__file__).resolve().parent
PACKAGE = "unet_keras"
COMMANDS = {
    script: command
    for command, (script, _) in runpy.run_path(str(ROOT / PACKAGE / "commands.py"))[
        "COMMANDS"
    ].items()
}


class BuildPackage(build_py):
    """Copies all modules into the package, with imports and commands as they are there."""

    def run(self):
        target = Path(self.build_lib) / PACKAGE
        shutil.rmtree(target, ignore_errors=True)  # modules that are gone since an earlier build
        names = own_names()
        for source, inside in find_files():
            path = target / inside
            path.parent.mkdir(parents=True, exist_ok=True)
            if source.suffix != ".py":
                shutil.copyfile(source, path)
                continue
            text = rewrite_imports(source.read_text(encoding="utf-8"), names)
            path.write_text(rewrite_commands(text, names), encoding="utf-8")

    def get_source_files(self):
        """What a source distribution needs besides."""
        return [str(source.relative_to(ROOT)) for source, _ in find_files()]

    def get_outputs(self, include_bytecode=True):
        """The files that `run` writes."""
        return [str(Path(self.build_lib) / PACKAGE / inside) for _, inside in find_files()]


class NoEditableInstall(editable_wheel):
    """Refuses pip install -e: what it installs would be the modules as they stand here."""

    def run(self):
        raise SetupError(
            "unet-keras can't be installed with -e, since its modules are rewritten for the "
            "package. Run the scripts of the repository as they are (python train.py), or "
            "install it without -e: pip install ."
        )


def find_files():
    """Pairs of each file's Path and its place in the package."""
    modules = [path for path in ROOT.glob("*.py") if path.name != "setup.py"]
    parts = [path.parent for path in ROOT.glob("*/__init__.py")]
    files = modules + [file for part in parts for file in part.rglob("*") if file.is_file()]
    pairs = []
    for file in sorted(files):
        inside = file.relative_to(ROOT)
        if "__pycache__" not in inside.parts:
            is_own = inside.parts[0] == PACKAGE
            pairs.append((file, inside.relative_to(PACKAGE) if is_own else inside))
    return pairs


def own_names():
    """The names of the modules and folders that stand at the top of the repository."""
    tops = {file.relative_to(ROOT).parts[0] for file, _ in find_files()}
    return {top.removesuffix(".py") for top in tops} - {PACKAGE}


def rewrite_imports(source, names):
    """A module's text with the imports of own modules made those of the package.

    Args:
        source: str.
        names: set of str, as of `own_names`.

    Raises:
        SetupError: for an import that can't be written so.
    """
    lines = source.split("\n")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and not node.level:
            old, new = f"from {node.module}", f"from {PACKAGE}.{node.module}"
            imported = [node.module]
        elif isinstance(node, ast.Import):
            old, new = "import ", f"from {PACKAGE} import "
            imported = [alias.name for alias in node.names]
        else:
            continue
        if not any(name.split(".")[0] in names for name in imported):
            continue
        if isinstance(node, ast.Import) and (len(imported) > 1 or "." in imported[0]):
            raise SetupError(
                f"Write 'from {imported[0].rpartition('.')[0] or 'package'} import ...' instead of "
                f"'import {', '.join(imported)}': it can't be moved into the package."
            )
        line, column = lines[node.lineno - 1], node.col_offset
        lines[node.lineno - 1] = line[:column] + line[column:].replace(old, new, 1)
    return "\n".join(lines)


def rewrite_commands(text, names):
    """A module's text with what users are told to type as it is with the package."""
    scripts = "|".join(COMMANDS)

    def command_of(match):
        return f"unet-keras {COMMANDS[match[1]]}"

    # python train.py --num_classes 3; and named alone, where settings follow
    text = re.sub(rf"\bpython ({scripts})\.py\b", command_of, text)
    text = re.sub(rf"(?<![\w./])({scripts})\.py(?= --)", command_of, text)
    for script, command in COMMANDS.items():  # a command line as a list of its words
        text = text.replace(f"'python', '{script}.py'", f"'unet-keras', '{command}'")
        text = text.replace(f'"python", "{script}.py"', f'"unet-keras", "{command}"')
    # requirements-torch.txt is an extra; its file is not installed
    text = re.sub(r"(-r )?requirements-(\{.*?\}|\w+)\.txt", r"unet-keras[\2]", text)
    text = re.sub(r"-r (\{requirements_of\b)", r"\1", text)
    text = text.replace("-r requirements.txt", "unet-keras")
    return re.sub(rf'"-m", "({"|".join(sorted(names))})\.', rf'"-m", "{PACKAGE}.\1.', text)


def read_requirements(name):
    """The lines of a requirements file, and of those that it includes."""
    found = []
    for line in (ROOT / name).read_text(encoding="utf-8").split("\n"):
        line = line.partition("#")[0].strip()
        if line.startswith("-r "):
            found += read_requirements(line.removeprefix("-r ").strip())
        elif line:
            found.append(line)
    return found


def find_extras():
    """{what each file requirements-NAME.txt is for: what it adds to requirements.txt}."""
    usual = read_requirements("requirements.txt")
    extras = {}
    for path in sorted(ROOT.glob("requirements-*.txt")):
        name = path.stem.removeprefix("requirements-")
        if name not in ("common", "dev"):
            extras[name] = [line for line in read_requirements(path.name) if line not in usual]
    return extras


if __name__ == "__main__":
    setup(
        cmdclass={"build_py": BuildPackage, "editable_wheel": NoEditableInstall},
        install_requires=read_requirements("requirements.txt"),
        extras_require=find_extras(),
    )
