"""What TAB offers in bash, zsh and fish: the protocol of each, every kind of argument, damage, other people's files."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crild_tui.cli import completion
from crild_tui.cli.completion import answer, candidates
from engine.record.annotations import set_tags
from tests.cli.samples import make_run
from tests.conftest import PATIENCE, REPOSITORY

HEAVY = {"torch", "numpy", "textual", "rich", "pydantic", "tomlkit", "matplotlib"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


def offered(*words: str) -> list[str]:
    """What is offered for the last of the words."""
    return [word for word, _ in candidates(words[:-1], words[-1])]


def bash(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """The answer to bash, which passes these words."""
    capsys.readouterr()
    line = {"COMP_WORDS": "\n".join(("crild", *words)), "COMP_CWORD": str(len(words))}
    assert answer("complete_bash", line) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


# -- what is offered


def test_commands_options_and_presets() -> None:
    assert offered("sho") == ["show"]
    assert {"show", "run", "presets"} <= set(offered(""))
    assert offered("presets", "val") == ["validate"]
    assert "--set" in offered("run", "--s")
    assert set(offered("run", "--help", "--js")) == {"--json"}
    assert offered("run", "crild", "--json", "--js") == []  # it was given
    assert offered("run", "crild", "--set", "a=1", "--set") == ["--set"]  # it may repeat
    assert {"crild", "crild-student"} <= set(offered("run", "cri"))
    assert offered("run", "crild", "rt") == ["rte"]
    assert offered("run", "--frob", "rt") == ["rte"]
    assert offered("frob", "") == offered("presets", "frob", "") == []
    assert offered("data", "a.csv", "--", "rt") == ["rte"]


def test_options_are_offered_after_the_last_argument() -> None:
    assert "--json" in offered("show", "x", "")


def test_files_of_presets_and_data(folder: Path) -> None:
    (folder / "more").mkdir()
    for name in ("mine.toml", "more/b.toml", "rows.csv", "rows.csv.gz", "notes.txt", ".hidden.toml", "-rf.toml"):
        (folder / name).touch()
    assert set(offered("run", "m")) >= {"mine.toml", "more/", "mnli", "minilm"}
    assert offered("run", "more/") == ["more/b.toml"]
    assert offered("run", "./ro") == ["./rows.csv", "./rows.csv.gz"]
    assert offered("sweep", "") == ["mine.toml", "more/"]
    assert offered("run", "nowhere/") == []


def test_home_is_expanded_and_kept(isolated: Path) -> None:
    (isolated / "my.toml").touch()
    assert offered("run", "~/m") == ["~/my.toml"]


def test_keys_level_by_level() -> None:
    assert "train." in offered("run", "crild", "--set", "")
    assert "train.epochs=" in offered("run", "crild", "--set", "tra")  # the only table: its keys at once
    assert set(offered("run", "crild", "--set", "stage.")) == {"stage.ild.", "stage.kd."}
    assert set(offered("run", "crild", "--set", "stage.ild.consist")) == {
        "stage.ild.consistency=", "stage.ild.consistency."}  # fmt: skip
    assert "stage.ild.consistency.weight=" in offered("run", "crild", "--set", "stage.ild.consistency.")
    assert "stage.ild.objectives.logits=" in offered("run", "crild", "--set", "stage.ild.objectives.")
    assert offered("run", "crild", "--set", "frob.") == offered("run", "--set", "stage.") == []
    assert offered("data", "rows.csv", "--set", "task.columns.pa") == ["task.columns.pair="]
    assert offered("presets", "new", "x", "--set", "")
    assert "train.epochs=" in offered("presets", "new", "x", "--set", "train.")


def test_values_are_words_of_the_key_and_what_it_is_now(folder: Path) -> None:
    assert offered("run", "crild", "--set", "stage.ild.consistency.target=") == [
        f"stage.ild.consistency.target={word}" for word in ("ema", "student")
    ]
    assert offered("run", "--set", "train.graphs=") == ["train.graphs=true", "train.graphs=false"]
    assert offered("run", "--set", "train.batch_size=") == ["train.batch_size=32"]
    (folder / "base.toml").write_text("train.batch_size = 8\n[[stage]]\nname = 'own'\nobjectives = { logits = 2.5 }\n")
    (folder / "mine.toml").write_text('extends = "./base.toml"\n')
    assert offered("run", "mine.toml", "--set", "train.batch_size=") == ["train.batch_size=8"]
    assert (
        offered("run", "mine.toml", "--set", "stage.")
        == [f"stage.own.{key}" for key in ("data=", "data.", "objectives.", "layer_map=")]
        + offered("run", "mine.toml", "--set", "stage.own.")[4:]
    )
    assert offered("run", "mine.toml", "--set", "stage.own.objectives.logits=") == ["stage.own.objectives.logits=2.5"]
    assert "train.device=cpu" in offered("run", "--set", "train.device=")


@pytest.mark.parametrize(
    ("words", "some"),
    [
        (("run", "--device", ""), {"auto", "cpu", "cuda"}),
        (("run", "--devices=c", ), {"--devices=cpu", "--devices=cuda"}),
        (("runs", "--state", "f"), {"finished", "failed"}),
        (("runs", "--filter", "ta"), {"task:", "tag:"}),
        (("runs", "--filter", "is:f"), {"is:finished", "is:failed"}),
        (("runs", "--filter", "task:mr"), {"task:mrpc"}),
        (("runs", "--sort", "-b"), {"-best"}),
        (("events", "x", "--to", ""), {"csv", "parquet"}),
        (("events", "x", "--kind", "step,eval"), {"step,evaluation"}),
        (("events", "x", "-o", "curves."), {"curves.csv", "curves.parquet"}),
        (("export", "x", "--to", ""), {"onnx"}),
        (("export", "x", "--quantize", "int8,"), {"int8,int8-static", "int8,fp16"}),
        (("report", "--format", "h"), {"html"}),
        (("report", "--metric", "f"), {"f1", "f1_macro", "f1_micro"}),
        (("report", "--columns", "params,la"), {"params,latency", "params,layers"}),
        (("report", "--against", "tiny"), {"tinybert"}),
        (("report", "-o", "study.h"), {"study.html"}),
        (("predict", "x", "--precision", ""), {"fp32", "bf16", "auto"}),
        (("evaluate", "x", "--preset", "rt"), {"rte"}),
        (("presets", "new", "mine", "--from", "tiny"), {"tinybert"}),
    ],
)  # fmt: skip
def test_values_of_options(words: tuple[str, ...], some: set[str]) -> None:
    assert set(offered(*words)) == some or (some < set(offered(*words)) and words[-1] == "")


def test_runs_sweeps_and_tags(runs_dir: Path, tmp_path: Path) -> None:
    run = make_run(runs_dir)
    make_run(tmp_path / "others", "elsewhere")
    set_tags(run, add=["good", "paper-2"])
    (runs_dir / "no-run").mkdir()
    (runs_dir / ".sweep").mkdir()
    (runs_dir / ".sweep" / "study.json").touch()
    assert offered("show", run.name[:4]) == [run.name]
    assert offered("show", "") == [run.name, "latest"]
    assert offered("compare", "x", run.name[:4]) == [run.name]
    assert offered("show", "--runs-dir", str(tmp_path / "others"), "e") == ["elsewhere-s1"]
    assert offered("stop", "st") == offered("report", "--sweep", "") == ["study"]
    assert {"good", "paper-2"} <= set(offered("tag", "other", ""))
    assert offered("tag", run.name, "--remove", "pap") == ["paper-2"]
    stages = [word for word in offered("resume", run.name, "--set", "") if word.startswith("stage.")]
    assert stages
    assert all(word.endswith("=") for word in stages)
    assert "train.batch_size=" not in offered("resume", run.name, "--set", "")


def test_columns_of_a_data_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "rows.csv").write_text('text,"second text",team\nx,y,z\n')
    (folder / "rows.jsonl").write_text('{"body": "x", "team": 1}\n')
    assert offered("predict", "x", "rows.csv", "--text", "") == ["text", "team"]  # a name with a space needs quotes
    assert offered("predict", "x", "rows.jsonl", "--pair", "") == ["body", "team"]
    assert bash(capsys, "predict", "x", "nowhere.csv", "--text", "") == []


# -- damage, and what others prepared


def test_broken_presets_complete_what_can_be_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "broken.toml").write_bytes(b"\xff\xfe [[[")
    (folder / "large.toml").write_text("# " + "x" * 500_000)
    (folder / "circle.toml").write_text('extends = ["./circle.toml", "./broken.toml", 3]\nstage = 3\ntrain = "x"\n')
    (folder / "folder.toml").mkdir()
    os.mkfifo(folder / "pipe.toml")
    (folder / "loop.toml").symlink_to("loop.toml")
    for name in ("broken", "large", "circle", "folder", "pipe", "loop", "missing", "\0"):
        for typed in (["stage."], ["train.ep"], ["train.epochs", "="], ["stage.x.objectives.logits", "="], [""]):
            bash(capsys, "run", f"{name}.toml", "--set", *typed)
        assert "stage.ild.epochs=" in bash(capsys, "run", f"{name}.toml", "crild", "--set", "stage.il")


def test_damaged_runs_are_offered_by_their_names(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(runs_dir)
    for name in ("annotations.json", "preset.toml"):
        (run / name).write_bytes(b"\x00\xff{{{")
        assert bash(capsys, "show", run.name[:4]) == [run.name]
        bash(capsys, "resume", run.name, "--set", "stage.")
        bash(capsys, "tag", run.name, "--remove", "")
        (run / name).unlink()
        (run / name).mkdir()
    runs_dir.joinpath("link").symlink_to("link")
    bash(capsys, "show", "")


@pytest.mark.parametrize("runs", ["/proc/self/mem", "\x01", "~nobody-of-this-name/x", "/dev/null/x"])
def test_an_impossible_runs_folder_offers_nothing(
    runs: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CRILD_RUNS_DIR", runs)
    assert bash(capsys, "show", "x") == []


def test_a_fault_of_crilds_own_is_silent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(*_: object) -> list[tuple[str, str]]:
        print("noise")
        raise ValueError("impossible")

    monkeypatch.setattr(completion, "candidates", fail)
    assert bash(capsys, "show", "") == []
    assert answer("complete_zsh", {}) == 0
    assert capsys.readouterr().out == "_files\n"
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", ["x);touch canary;(", "$(id)", "`id`", "a b", "a'b", 'a"b', "a\nb", "a;b", "a*", "é"])
def test_no_name_that_a_shell_would_run_is_offered(
    name: str, runs_dir: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (runs_dir / name).mkdir(parents=True)
    (runs_dir / name / "preset.toml").touch()
    (folder / f"{name}.toml").touch()
    (folder / "rows.csv").write_text(f"{name},label\n")
    assert offered("show", "") == ["latest"]
    assert f"{name}.toml" not in offered("run", "")
    assert name not in offered("predict", "x", "rows.csv", "--text", "")
    (folder / "mine.toml").write_text(f"[task]\ntitle = {name!r}\n")
    assert offered("run", "mine.toml", "--set", "task.title=") == []


def test_the_value_of_an_option_that_prints_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert bash(capsys, "--version", "sho") == ["show"]


# -- the protocols


def test_bash_breaks_words_at_equal_signs_and_colons(capsys: pytest.CaptureFixture[str]) -> None:
    target = "stage.ild.consistency.target"
    assert bash(capsys, "run", "crild", "--set", target, "=") == ["ema", "student"]
    assert bash(capsys, "run", "crild", "--set", target, "=", "e") == ["ema"]
    assert bash(capsys, "run", "crild", "--set", f"{target}=e") == [f"{target}=ema"]  # `=` breaks no words there
    assert bash(capsys, "run", "--device", "=", "cp") == ["cpu"]
    assert "crild" in bash(capsys, "run", "--set", target, "=", "")  # a new word: a preset
    assert bash(capsys, "runs", "--filter", "state", ":", "fin") == ["finished"]
    assert bash(capsys, "run", "crild", "--set", "train.epochs", "=", "5", "--set", target[:-3]) == [f"{target}="]


@pytest.mark.parametrize(
    "typed", ["run crild rt", "run 'crild' rt", 'run "crild" "rt', "run crild \\rt", "run crild 'rt"]
)
def test_zsh_and_fish_pass_the_line(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = {"_TYPER_COMPLETE_ARGS": f"crild {typed}"}
    assert answer("complete_zsh", line) == 0
    assert "'rte:" in capsys.readouterr().out
    assert answer("complete_fish", {**line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}) == 0
    assert [word.split("\t")[0] for word in capsys.readouterr().out.splitlines()] == ["rte"]
    assert answer("complete_fish", {**line, "_TYPER_COMPLETE_FISH_ACTION": "is-args"}) == 0
    assert capsys.readouterr().out == ""


def test_where_nothing_fits_the_shell_offers_files(capsys: pytest.CaptureFixture[str]) -> None:
    line = {"_TYPER_COMPLETE_ARGS": "crild run ./nothing"}
    answer("complete_zsh", line)
    assert capsys.readouterr().out == "_files\n"
    assert answer("complete_fish", {**line, "_TYPER_COMPLETE_FISH_ACTION": "is-args"}) == 1
    assert answer("complete_fish", line) == 0
    assert capsys.readouterr().out == ""
    assert bash(capsys, "run", "./nothing") == []


@pytest.mark.parametrize(
    "line", [{}, {"COMP_WORDS": "crild"}, {"COMP_WORDS": "crild\nrun", "COMP_CWORD": "x"}, {"COMP_CWORD": "9"}]
)
def test_incomplete_questions_are_answered(line: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert answer("complete_bash", line) == 0
    assert answer("complete_zsh", line) == 0


def test_other_instructions_are_typers() -> None:
    assert answer("source_bash", {}) is None
    assert answer("complete_powershell", {}) is None


def ask(shell: str, **line: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, as a shell starts it; prints what it imported on stderr."""
    code = (
        "import sys; from crild_tui.cli import main; code = main()\n"
        f"print(*sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "_CRILD_COMPLETE": f"complete_{shell}", **line},
    )  # fmt: skip


@pytest.mark.parametrize(
    "line",
    ["", "run ", "run crild rte --set stage.", "run crild --set train.precision=", "show ", "resume x --set ", "tag x ",
     "runs --filter ", "runs --sort ", "report --columns ", "report --metric ", "predict x a.csv --text ", "run --device ",
     "config set ", "events x --kind ", "cache clear ", "run crild --"],
)  # fmt: skip
def test_nothing_heavy_is_imported_and_nothing_written(line: str, tmp_path: Path, runs_dir: Path) -> None:
    make_run(runs_dir)
    before = sorted(tmp_path.rglob("*"))
    done = ask("zsh", _TYPER_COMPLETE_ARGS=f"crild {line}")
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert done.stdout
    assert sorted(tmp_path.rglob("*")) == before


def test_ten_thousand_runs_are_offered(runs_dir: Path) -> None:
    for number in range(10_000):
        (runs_dir / f"rte-{number}").mkdir(parents=True)
        (runs_dir / f"rte-{number}" / "preset.toml").touch()
    assert len(offered("show", "rte-")) == 10_000
    assert offered("show", "rte-9999") == ["rte-9999"]


# -- the shells themselves


START = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"], "fish": ["fish", "-N", "-i"]}


@pytest.mark.parametrize(
    ("shell", "ready", "name"),
    [
        ("bash", "PS1='> '; source {file}\n", "crild.bash"),
        ("zsh", "autoload -Uz compinit; compinit -u -D; source {file}\n", "crild.zsh"),
        ("zsh", "fpath+=({folder}); autoload -Uz compinit; compinit -u -D\n", "_crild"),  # as it is installed
        ("fish", "source {file}\n", "crild.fish"),
    ],
)
def test_a_tab_in_a_real_shell(shell: str, ready: str, name: str, tmp_path: Path, folder: Path, runs_dir: Path) -> None:
    """The line is run after the TAB, with a command of that name that prints its words."""
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} on this machine")
    home, programs = tmp_path / "home", tmp_path / "bin"
    programs.mkdir()
    program = programs / "crild"
    program.write_text(
        f'#!/bin/sh\nif [ -n "$_CRILD_COMPLETE" ]; then\nexec {sys.executable} -c '
        '"import sys; from crild_tui.cli import main; sys.exit(main())"\nfi\n'
        f'printf "[%s]" "$@" >> {tmp_path}/called; echo >> {tmp_path}/called\n'
    )
    program.chmod(0o755)
    (folder / "sub").mkdir()
    (folder / "sub" / "only.toml").touch()
    make_run(runs_dir, "tickets")
    completion.use_own_scripts()
    from typer._completion_shared import get_completion_script

    source = home / name
    source.write_text(get_completion_script(prog_name="crild", complete_var="_CRILD_COMPLETE", shell=shell))
    environment = {
        **os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY), "HOME": str(home),
        "TERM": "xterm" if shell == "fish" else "dumb", "LANG": "C.UTF-8",
    }  # fmt: skip
    typed = {
        "crild run crild-ref": "[run][crild-reference]",
        "crild run crild --set stage.ild.consistency.targ": "[run][crild][--set][stage.ild.consistency.target=]",
        "crild run crild --set stage.ild.consistency.target=e": "[run][crild][--set][stage.ild.consistency.target=ema]",
        "crild run --device=cp": "[run][--device=cpu]",
        "crild show tick": "[show][tickets-s1]",
        "crild run ./sub/on": "[run][./sub/only.toml]",
        "crild bench ./su": "[bench][./sub]",
    }
    called = tmp_path / "called"
    process, terminal = pty.fork()
    if process == 0:
        os.execvpe(START[shell][0], START[shell], environment)
    try:
        read(terminal)
        os.write(terminal, ready.format(file=source, folder=home).encode())
        read(terminal)
        for number, (line, expected) in enumerate(typed.items()):
            os.write(terminal, f"{line}\t".encode())
            read(terminal, 0.3)
            os.write(terminal, b"\r")  # a shell reads it once TAB is answered
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end and len(lines(called)) <= number:
                read(terminal, 0.1)
            assert lines(called)[number].replace("/]", "]") == expected  # zsh takes a slash at the end off
    finally:
        os.close(terminal)
        os.kill(process, 9)
        os.waitpid(process, 0)


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def read(terminal: int, quiet: float = 1.5) -> str:
    """What a shell prints until it is quiet; answers its question what terminal this is."""
    out = b""
    while select.select([terminal], [], [], quiet)[0]:
        try:
            part = os.read(terminal, 65_536)
        except OSError:  # it has ended
            break
        if re.search(rb"\x1b\[0?c", part):
            os.write(terminal, b"\x1b[?62c")
        out += part
    return out.decode(errors="replace")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts_ask_once_and_are_crilds_own(shell: str) -> None:
    completion.use_own_scripts()
    from typer._completion_shared import get_completion_script

    text = get_completion_script(prog_name="crild", complete_var="_CRILD_COMPLETE", shell=shell)
    assert text.count(f"_CRILD_COMPLETE=complete_{shell}") == 1
    assert "2>/dev/null" in text
