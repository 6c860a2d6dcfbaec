"""`pip install .`: one package with commands, in nobody's way."""

import ast
import importlib.util
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from test_rooms import MODULES, SCRIPTS, imported_modules

import unet_keras
from errors import UserError
from unet_keras import __main__ as command_line
from unet_keras.commands import COMMANDS
from utils.config import run_script

ROOT = Path(unet_keras.__file__).parent.parent
TRAINING = (
    "--num_classes 3 --model_path= --input_shape 32,32 --width 8 --precision float32 "
    "--unfreeze_epoch 1 --unfreeze_batch_size 2 --save_period 0 --eval_period 1"
)


@pytest.fixture(scope="module")
def build():
    """What setup.py defines."""
    pytest.importorskip("setuptools")
    return runpy.run_path(str(ROOT / "setup.py"))


# Modules as they are in the package


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from errors import UserError\n", "from unet_keras.errors import UserError\n"),
        ("from nets import unet as net\n", "from unet_keras.nets import unet as net\n"),
        ("from utils.x.y import (\n    z,\n)\n", "from unet_keras.utils.x.y import (\n    z,\n)\n"),
        ("import train\n", "from unet_keras import train\n"),
        ("import train as t\n", "from unet_keras import train as t\n"),
        ("def f():\n    from unet import A\n", "def f():\n    from unet_keras.unet import A\n"),
        ("if 1: import train\n", "if 1: from unet_keras import train\n"),
        ("import os, sys\n", "import os, sys\n"),
        ("from os import path\n", "from os import path\n"),
        ("from trainer import train\n", "from trainer import train\n"),
        ("from . import train\n", "from . import train\n"),
        ('s = "from utils.x import y"\n', 's = "from utils.x import y"\n'),
        (
            '"\x0c from unet import"\nimport train\n',
            '"\x0c from unet import"\nfrom unet_keras import train\n',
        ),
    ],
)  # fmt: skip
def test_imports_of_own_modules_are_those_of_the_package(build, source, expected):
    names = {"errors", "nets", "train", "unet", "utils"}
    assert build["rewrite_imports"](source, names) == expected


@pytest.mark.parametrize("source", ["import utils.x\n", "import train, os\n", "import os, train\n"])
def test_imports_that_cannot_be_moved_are_refused(build, source):
    with pytest.raises(Exception, match=r"^Write 'from .* import \.\.\.' instead of 'import .*'"):
        build["rewrite_imports"](source, {"train", "utils"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("python train.py --width 8", "unet-keras train --width 8"),
        ("`python get_miou.py`", "`unet-keras evaluate`"),
        ("voc_annotation.py --fix writes", "unet-keras check --fix writes"),
        ("at the top of train.py", "at the top of train.py"),
        ("./train.py --width", "./train.py --width"),
        ("['python', 'predict.py', '--x']", "['unet-keras', 'predict', '--x']"),
        ("pip install -r requirements-torch.txt", "pip install unet-keras[torch]"),
        ("pip install -r requirements.txt", "pip install unet-keras"),
        ("f\"requirements-{'a' if b else 'c'}.txt\"", "f\"unet-keras[{'a' if b else 'c'}]\""),
        ('f"-r {requirements_of(x)}"', 'f"{requirements_of(x)}"'),
        ('"-m", "training.steps"', '"-m", "unet_keras.training.steps"'),
        ('"-m", "pip"', '"-m", "pip"'),
    ],
)
def test_what_users_are_told_to_type_is_the_package_s(build, text, expected):
    assert build["rewrite_commands"](text, {"training"}) == expected


def test_no_module_reaches_beyond_the_package(build):
    names = build["own_names"]()
    assert {module.split(".")[0] for module in MODULES} - {"unet_keras"} == names
    for source, _ in build["find_files"]():
        if source.suffix == ".py":
            text = build["rewrite_imports"](source.read_text(encoding="utf-8"), names)
            text = build["rewrite_commands"](text, names)
            assert not {name.split(".")[0] for name in imported_modules(text)} & names
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    assert "requirements-" not in node.value, source
                    is_module = re.fullmatch(r"(\w+)(\.\w+)+", node.value)
                    outside = is_module and is_module[1] != "unet_keras"
                    assert not (outside and (ROOT / is_module[1]).is_dir()), source
                    assert not any(f"python {one}.py" in node.value for one in SCRIPTS), source


def test_the_requirements_files_are_the_package_s(build):
    base = build["read_requirements"]("requirements.txt")
    assert {"keras", "tensorflow"} <= {line.split(">")[0] for line in base}
    extras = build["find_extras"]()
    assert extras["jax"] == ["jax>=0.10"]
    assert {"export", "jax", "openvino", "torch"} <= set(extras)
    assert all(lines and not set(lines) & set(base) for lines in extras.values())


# Commands


def test_every_script_has_a_command():
    assert {script for script, _ in COMMANDS.values()} == SCRIPTS


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_its_script(command, monkeypatch):
    script, _ = COMMANDS[command]
    seen = []
    monkeypatch.setattr(f"{script}.main", lambda: seen.append(sys.argv) or 7)
    monkeypatch.setattr(sys, "argv", ["before"])
    assert command_line.run_command([command, "--a", "1"]) == 7
    assert seen == [[f"unet-keras {command}", "--a", "1"]]


def test_help_lists_all_commands(capsys):
    for argv in ([], ["--help"], ["-h"], ["help"]):
        assert command_line.run_command(argv) is None
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines[2:-2]] == list(COMMANDS)


def test_the_help_of_a_command_names_it(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["before"])
    with pytest.raises(SystemExit) as ended:
        command_line.main(["evaluate", "--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert shown.startswith("usage: unet-keras evaluate ")
    assert "--miou_mode" in shown


def test_the_version(capsys):
    command_line.run_command(["--version"])
    assert capsys.readouterr().out.startswith("unet-keras ")


def test_an_unknown_command(capsys):
    with pytest.raises(UserError) as caught:
        command_line.run_command(["predcit"])
    assert str(caught.value) == (
        f"There is no command predcit. Did you mean predict? There are {', '.join(COMMANDS)}; "
        "unet-keras --help says what they do."
    )
    with pytest.raises(SystemExit) as ended:
        run_script(lambda: command_line.run_command(["--model_path"]))
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: There is no command --model_path. There")


# Installed


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder of an environment of its own, with this project installed.

    It sees the packages of this one, and has modules `utils` and `train` of its own.
    """
    for needed in ("pip", "setuptools"):
        if not importlib.util.find_spec(needed):
            pytest.skip(f"{needed} is not installed")
    folder = tmp_path_factory.mktemp("installed")
    tree = folder / "tree"
    ignored = shutil.ignore_patterns(
        ".*", "__pycache__", "build", "*.egg-info", "logs", "VOCdevkit", "model_data", "datasets"
    )
    shutil.copytree(ROOT, tree, ignore=ignored)
    stale = tree / "build" / "lib" / "unet_keras" / "gone.py"
    stale.parent.mkdir(parents=True)
    stale.touch()
    call(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(call(python, "-c", code).strip())
    # By another way than --system-site-packages, which would give those of the base Python.
    lines = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (site / "shared.pth").write_text(lines, encoding="utf-8")
    (site / "utils").mkdir()
    (site / "utils" / "__init__.py").write_text("OWNER = 'somebody else'\n", encoding="utf-8")
    (site / "train.py").write_text("OWNER = 'somebody else'\n", encoding="utf-8")
    options = ("--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    call(sys.executable, "-m", "pip", "--python", python, "install", *options, tree)
    return folder


def call(*words, folder=None):
    """What a program prints; the test fails with all that it said if it does not end well."""
    done = subprocess.run(
        list(map(str, words)), cwd=folder, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="the environment has other folders there")
@pytest.mark.system
def test_the_package_is_in_nobody_s_way(installed, tmp_path):
    python = installed / "venv" / "bin" / "python"
    code = (
        "import sys, utils, train; from unet_keras import Unet, Prediction\n"
        "import unet_keras.train, unet_keras.utils.files as files\n"
        "print(utils.OWNER, train.OWNER, files.__name__, unet_keras.train.TrainConfig().width)\n"
        "print({'keras', 'tensorflow', 'errors', 'nets', 'unet'} & set(sys.modules))"
    )
    shown = call(python, "-c", code, folder=tmp_path).splitlines()
    assert shown == ["somebody else somebody else unet_keras.utils.files 64", "set()"]
    site = Path(
        call(python, "-c", "import unet_keras as u; print(u.__path__[0])", folder=tmp_path).strip()
    )
    site = site.parent
    tops = {path.name for path in site.iterdir() if not path.name.endswith(".dist-info")}
    assert tops - {"__pycache__"} == {"unet_keras", "utils", "train.py", "shared.pth"}
    assert (site / "unet_keras" / "py.typed").exists()
    assert not (site / "unet_keras" / "gone.py").exists()
    assert not list((site / "unet_keras").glob("setup*"))


@pytest.mark.skipif(sys.platform == "win32", reason="the environment has other folders there")
@pytest.mark.system
def test_commands_work_from_any_folder(installed, tmp_path, make_voc):
    make_voc(tmp_path / "VOCdevkit")
    program = installed / "venv" / "bin" / "unet-keras"

    def run(*words):
        return call(program, *words, folder=tmp_path)

    assert "usage: unet-keras COMMAND" in run()
    assert run("train", "--help").startswith("usage: unet-keras train")
    run("check")
    shown = run("train", *TRAINING.split())
    assert "unet-keras evaluate --model_path logs/" in shown
    assert "python " not in shown
    image = "VOCdevkit/VOC2007/JPEGImages/val_a.jpg"
    run("predict", "--image", image)
    run("evaluate")
    for path in ("img_out/val_a.png", "miou_out/report.html", "logs/best_epoch_weights.weights.h5"):
        assert (tmp_path / path).is_file()
    assert not list(tmp_path.glob("unet_keras*"))
    code = (
        "from unet_keras import Unet\n"
        f"found = Unet().predict({image!r})\n"
        "found.save_mask('mask.png'); print(found.source, found.mask.shape)"
    )
    python = installed / "venv" / "bin" / "python"
    assert call(python, "-c", code, folder=tmp_path).strip() == f"{image} (48, 64)"


@pytest.mark.system
def test_an_editable_install_says_why_not(installed, tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps"),
            *("--no-build-isolation", "--target", tmp_path, "-e", installed / "tree"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode
    assert "can't be installed with -e" in done.stdout + done.stderr
