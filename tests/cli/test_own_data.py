"""A data file beside a method: a custom task, recognised, split and named."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.preset.load import load_run_preset
from engine.preset.schema import UnlabelledFiles
from engine.record.run import read_status
from tests.cli.conftest import Call

SMALL = ("--set", "teacher.model=./teacher", "--set", "train.device=cpu")


@pytest.fixture
def tickets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of tickets in the current folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tickets.csv"
    path.write_text("message,team\n" + "".join(f"ticket {n},{'abc'[n % 3]}\n" for n in range(30)))
    return path


def run_of(runs_dir: Path) -> Path:
    (run_dir,) = [path for path in runs_dir.iterdir() if not path.name.startswith(".")]
    return run_dir


def test_a_csv_beside_a_method_runs_and_the_runs_preset_is_complete(
    crild: Call, fake_engine: Callable[..., None], tickets: Path, runs_dir: Path
) -> None:
    said = crild("run", "quickstart", "tickets.csv", "--runs-dir", str(runs_dir))
    assert said.code == 0, said.err
    assert "message" in said.err
    assert "3 classes" in said.err
    run_dir = run_of(runs_dir)
    status = read_status(run_dir)
    assert (status.task, status.method, status.preset) == ("tickets", "quickstart", "quickstart+tickets.csv")
    assert run_dir.name.startswith("tickets-quickstart-")
    task = load_run_preset(run_dir).preset.task
    assert task.files is not None
    assert task.columns is not None
    assert (task.title, task.kind, task.dev_share) == ("tickets", "classification", 0.2)
    assert (task.files.train, task.files.dev) == (str(tickets), None)
    assert (task.columns.text, task.columns.label) == ("message", "team")
    shown = crild("presets", "show", str(run_dir / "preset.toml"))
    assert shown.out == (run_dir / "preset.toml").read_text(), "nothing is open in it"


def test_quiet_says_nothing_of_it(crild: Call, fake_engine: Callable[..., None], tickets: Path, runs_dir: Path) -> None:
    assert crild("run", "quickstart", "tickets.csv", "--runs-dir", str(runs_dir), "--quiet").err == ""


def test_train_and_dev_by_their_names(crild: Call, tickets: Path, tmp_path: Path) -> None:
    for name in ("tickets-train.csv", "tickets-dev.csv"):
        (tmp_path / name).write_text(tickets.read_text())
    said = crild("presets", "show", "quickstart", "tickets-train.csv", "tickets-dev.csv", "--json")
    task = said.json["task"]
    assert task["title"] == "tickets"
    assert [Path(task["files"][split]).name for split in ("train", "dev")] == ["tickets-train.csv", "tickets-dev.csv"]
    assert "dev_share" not in task
    (tmp_path / "test.csv").write_text(tickets.read_text())
    said = crild("presets", "show", "quickstart", "tickets-train.csv", "test.csv", "--json")
    assert set(said.json["task"]["files"]) == {"train", "test"}
    assert said.json["task"]["dev_share"] == 0.2
    said = crild("presets", "show", "quickstart", "tickets.csv", "tickets-dev.csv")
    assert said.code == 2
    assert "task.files.dev" in said.err


@pytest.mark.parametrize(
    ("words", "code", "facts"),
    [
        (["run", "tickets.csv"], 2, ["crild run crild tickets.csv"]),
        (["run", "quickstart", "ticket.csv"], 3, ["ticket.csv", "tickets.csv"]),
        (["run", "kd", "rte", "tickets.csv"], 2, ["rte"]),
        (["run", "quickstart", "tickets.csv", "--set", "task.columns.label=taem"], 3, ["taem", '"team"']),
        (["run", "quickstart", "tickets.csv", "--set", "task.dev_share=0.9"], 2, ["task.dev_share", "0.5"]),
        (
            ["run", "quickstart", "tickets.csv", "--set", "task.dev_share=0.1", "--set", "task.files.dev=tickets.csv"],
            2,
            ["dev_share"],
        ),
    ],
)
def test_mistakes_end_before_there_is_a_run(
    crild: Call, tickets: Path, runs_dir: Path, words: list[str], code: int, facts: list[str]
) -> None:
    said = crild(*words, "--runs-dir", str(runs_dir))
    assert said.code == code, said.err
    assert all(fact in said.err for fact in facts)
    assert not runs_dir.exists()


def test_a_preset_of_ones_own_is_replaced_as_a_whole(crild: Call, tickets: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'extends = "quickstart"\n[task]\nname = "custom"\nkind = "regression"\nmax_length = 40\n'
        'files = { train = "a.csv", dev = "b.csv" }\ncolumns = { text = "x" }\n'
    )
    task = crild("presets", "show", "mine.toml", "tickets.csv", "--json").json["task"]
    assert (task["kind"], task["columns"]["text"], task["max_length"]) == ("classification", "message", 40)
    assert "dev" not in task["files"]


# -- a preset for data


def test_a_preset_for_data_means_what_the_file_beside_the_method_means(
    crild: Call, tickets: Path, tmp_path: Path
) -> None:
    said = crild("presets", "new", "mine", "--from-data", "tickets.csv", "--from", "kd")
    assert (said.code, said.out) == (0, "mine.toml\n")
    assert "message" in said.err
    text = (tmp_path / "mine.toml").read_text()
    assert text.count("#") > 10
    assert str(tmp_path) not in text
    assert max(map(len, text.splitlines())) <= 120
    mine, beside = (crild("presets", "show", *refs, "--json").json for refs in (["mine.toml"], ["kd", "tickets.csv"]))
    assert mine.pop("description") != beside.pop("description")
    assert mine == beside
    assert crild("presets", "validate", "mine.toml").code == 0


def test_a_preset_for_data_has_every_setting(crild: Call, tickets: Path, tmp_path: Path) -> None:
    settings = [
        "seed=7", "tags=[mine]", "teacher.model=models/big", "teacher.finetune.epochs=2", "student.layers=3",
        "student.init=./small", "train.class_weights=balanced", "stage.ild.mixup=false", "stage.kd.steps=9",
        "stage.ild.objectives.hidden.weight=0.5", "stage.kd.objectives.labels=1", "task.max_length=64",
        "teacher.others={other={model='./models/other',weight=2.0}}",
    ]  # fmt: skip
    (tmp_path / "models").mkdir()
    words = [word for setting in settings for word in ("--set", setting)]
    assert crild("presets", "new", "mine", "--from-data", "tickets.csv", *words).code == 0
    text = (tmp_path / "mine.toml").read_text()
    assert str(tmp_path) not in text
    assert '"./models/big"' in text
    mine = crild("presets", "show", "mine.toml", "--json").json
    beside = crild("presets", "show", "crild", "tickets.csv", *words, "--json").json
    assert mine.pop("description") != beside.pop("description")
    assert mine == beside


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("teacher.finetune.epochs=2", "train.learning_rate=0.0001", "baseline.enabled=true"),
        (
            "teacher.model=./teacher",
            "student.layers=3",
            "train.epochs=2",
            "train.batch_size=8",
            "baseline.enabled=false",
        ),
        ("stage.kd.epochs=2", "student.init=scratch"),
    ],
    ids=["none", "keys of offered tables", "all that is offered", "others"],
)
def test_what_a_preset_for_data_offers_is_not_in_it_yet(
    crild: Call, tickets: Path, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    words = [word for setting in settings for word in ("--set", setting)]
    assert crild("presets", "new", "mine", "--from-data", "tickets.csv", *words).code == 0
    path = tmp_path / "mine.toml"
    before = crild("presets", "show", "mine.toml", "--json").json
    lines = [
        re.sub(r"^# (\[?(teacher|student|train|baseline|model|layers|epochs|batch_size|enabled)\b)", r"\1", line)
        for line in path.read_text().splitlines()
    ]
    path.write_text("\n".join(lines) + "\n")
    shown = crild("presets", "show", "mine.toml", "--json")
    assert shown.code == 0, f"without the comment signs it is a preset: {shown.err}"
    document = shown.json
    assert (document["train"]["epochs"], document["baseline"]["enabled"]) == (
        (2.0, False) if "train.epochs=2" in settings else (before["train"]["epochs"], True)
    ), "what is set stays, what is offered is what applies"
    assert document["train"]["batch_size"] == before["train"]["batch_size"]


def test_a_preset_for_answers_to_rows_without_labels_offers_neither_teacher_nor_baseline(
    crild: Call, tickets: Path, tmp_path: Path
) -> None:
    (tmp_path / "texts.csv").write_text("message\n" + "".join(f"text {n}\n" for n in range(9)))
    (tmp_path / "answers.csv").write_text("message,label\n" + "".join(f"text {n},{'abc'[n % 3]}\n" for n in range(9)))
    words = [
        "--set",
        "task.files.dev=tickets.csv",
        "--set",
        "teacher.answers=answers.csv",
        "--set",
        "student.init=scratch",
    ]
    assert crild("presets", "new", "mine", "--from-data", "texts.csv", *words).code == 0
    text = (tmp_path / "mine.toml").read_text()
    assert 'extends = "answers"' in text, "which such a file goes with"
    assert "data_seed" not in text, "nothing is drawn"
    assert not re.search(r"^# (\[(teacher|student|baseline)\]|model|layers|enabled)", text, re.MULTILINE)
    assert "# batch_size" in text


def test_a_preset_for_data_takes_stages_and_what_is_taken_back(crild: Call, tickets: Path) -> None:
    words = ["--set", "stages=[kd]", "--set", "teacher.finetune=false", "--set", "description=my tickets"]
    assert crild("presets", "new", "mine", "--from-data", "tickets.csv", *words).code == 0
    shown = [
        crild("presets", "show", *refs, "--json").json for refs in (["mine.toml"], ["crild", "tickets.csv", *words])
    ]
    assert shown[0] == shown[1]


def test_a_preset_for_data_elsewhere_names_the_whole_path(crild: Call, tickets: Path, tmp_path: Path) -> None:
    (tmp_path / "presets").mkdir()
    assert crild("presets", "new", "presets/mine", "--from-data", "tickets.csv").code == 0
    assert crild("presets", "validate", "presets/mine.toml").code == 0


@pytest.mark.parametrize(
    ("words", "code", "facts"),
    [
        ([], 2, ["--from", "--from-data"]),
        (["--from-data", "tickets.toml"], 2, ["tickets.toml"]),
        (["--from-data", "gone.csv"], 3, ["gone.csv"]),
        (["--from-data", "tickets.csv", "--set", "task.name=rte"], 2, ["task.name", '"rte"', "leave one of both out"]),
        (["--from-data", "odd.csv"], 3, ["task.columns.label", '"one"', '"two"']),
        (["--from-data", "tickets.csv", "--set", "sede=3"], 2, ["sede", "seed"]),
        (["--from-data", "tickets.csv", "--set", "stage.nowhere.epochs=3"], 2, ["nowhere"]),
        (["--from", "crild", "--set", "task.kind=regression"], 2, ["--from-data"]),
    ],
)
def test_presets_for_data_that_cannot_be_written(
    crild: Call, tickets: Path, tmp_path: Path, words: list[str], code: int, facts: list[str]
) -> None:
    (tmp_path / "odd.csv").write_text("text,one,two\na,x,y\n")
    said = crild("presets", "new", "mine", *words)
    assert said.code == code, said.err
    assert all(fact in said.err for fact in facts)
    assert not (tmp_path / "mine.toml").exists()


def test_the_schema_is_written_once(crild: Call, tickets: Path, tmp_path: Path) -> None:
    assert crild("presets", "new", "mine", "--from-data", "tickets.csv", "--set", "schema=1").code == 0
    assert crild("presets", "validate", "mine.toml").code == 0


def test_a_setting_decides_for_the_new_preset(crild: Call, tickets: Path, tmp_path: Path) -> None:
    (tmp_path / "odd.csv").write_text("text,one,two\n" + "".join(f"text {n},{n % 2},{n % 3}\n" for n in range(12)))
    assert crild("presets", "new", "mine", "--from-data", "odd.csv", "--set", "task.columns.label=two").code == 0
    assert 'label = "two"' in (tmp_path / "mine.toml").read_text()


def test_unlabelled_files_go_to_every_stage_that_needs_no_labels(
    crild: Call, fake_engine: Callable[..., None], tickets: Path, runs_dir: Path
) -> None:
    (tickets.parent / "more.csv").write_text("id,message\n1,another ticket\n2,one more\n")
    words = ("tickets.csv", "--unlabelled", "more.csv", "--runs-dir", str(runs_dir))
    said = crild("run", "quickstart", *words, "--set", "stage.kd.objectives={labels=1.0}")
    assert said.code == 0, said.err
    stages = load_run_preset(run_of(runs_dir)).preset.stage
    data = {stage.name: stage.data for stage in stages}
    assert data["ild"] == UnlabelledFiles(files=[str(tickets.parent / "more.csv")], with_task=True)
    assert data["kd"] == "task"
    said = crild("run", "kd", *words, "--set", "stage.kd.objectives={labels=1.0}")
    assert (said.code, said.out) == (2, "")
    assert "--unlabelled" in said.err


def test_data_shows_unlabelled_files_too(crild: Call, tickets: Path) -> None:
    (tickets.parent / "more.csv").write_text("id,message\n1,another ticket\n2,one more\n3,ticket 1\n")
    said = crild("data", "tickets.csv", "--unlabelled", "more.csv", "--json", *SMALL)
    (entry,) = said.json["unlabelled"]
    assert (entry["split"], entry["rows"], entry["lengths"]["longest"]) == ("inputs of kd", 2 + 24, 2)
    assert entry["examples"][0]["text"] == "another ticket"
    shown = crild("data", "tickets.csv", "--unlabelled", "more.csv", *SMALL).out
    assert "without label: another ticket" in shown
    assert "of 3 rows" in shown


UNLABELLED = ("answers", "texts.csv", "--set", "teacher.answers=answers.csv", "--set", "task.files.dev=tickets.csv")


@pytest.fixture
def texts(tickets: Path) -> Path:
    """The tickets without their teams, and answers to them."""
    rows = [line.split(",")[0] for line in tickets.read_text().splitlines()[1:]]
    path = tickets.parent / "texts.csv"
    path.write_text("\n".join(["message", *rows]) + "\n")
    answers = [f"{row},{'abc'[number % 3]}" for number, row in enumerate(rows)]
    (tickets.parent / "answers.csv").write_text("\n".join(["message,label", *answers]) + "\n")
    return path


def test_rows_without_labels_run_beside_answers(
    crild: Call, fake_engine: Callable[..., None], texts: Path, runs_dir: Path
) -> None:
    said = crild("run", *UNLABELLED, "--set", "student.init=scratch", "--runs-dir", str(runs_dir))
    assert said.code == 0, said.err
    assert "read without labels" in said.err
    task = load_run_preset(run_of(runs_dir)).preset.task
    assert (task.class_names, task.dev_share) == (["a", "b", "c"], None)


def test_data_shows_rows_without_labels_and_a_new_preset_names_their_classes(
    crild: Call, texts: Path, tmp_path: Path
) -> None:
    shown = crild("data", *UNLABELLED)
    assert shown.code == 0, shown.err
    assert "the training rows have no labels" in shown.out
    assert "share of dev" in shown.out
    assert "without label: ticket 0" in shown.out
    own = ("--set", "task.files.dev=tickets.csv", "--set", "task.class_names=['a', 'b', 'c']")
    made = crild("presets", "new", "mine", "--from-data", "texts.csv", "--from", "answers", *own)
    assert made.code == 0, made.err
    assert 'class_names = ["a", "b", "c"]' in (tmp_path / "mine.toml").read_text()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["texts.csv"], ["crild run kd texts.csv", "crild run answers texts.csv"]),
        (
            ["texts.csv", "--set", "teacher.answers=answers.csv"],
            ["crild run answers texts.csv --set teacher.answers=answers.csv"],
        ),
        (
            ["texts.csv", "--set", "teacher.model=./my model"],
            ["crild run kd texts.csv --set 'teacher.model=./my model'"],
        ),
        (["kd", "texts.csv"], ["crild run kd texts.csv"]),
    ],
    ids=["nothing", "answers", "a model", "a method"],
)
def test_what_lacks_is_said_with_the_command_to_which_to_add_it(
    crild: Call, texts: Path, words: list[str], expected: list[str]
) -> None:
    (texts.parent / "my model").mkdir()
    assert crild("data", *words, "--json").json["commands"] == expected
    if len(words) == 1:
        assert crild("data", *words).out.splitlines()[-1].endswith(" or ".join(expected))


@pytest.mark.parametrize("task", ["texts.csv", "rte"])
def test_the_preset_answers_without_a_file_asks_for_one(crild: Call, texts: Path, runs_dir: Path, task: str) -> None:
    words = ("--set", "task.files.dev=tickets.csv") if task == "texts.csv" else ()
    said = crild("run", "answers", task, *words, "--set", "student.init=scratch", "--runs-dir", str(runs_dir))
    assert said.code == 3
    assert "--set teacher.answers=FILE" in said.err
    assert "presets" not in said.err.partition("(teacher.answers, set in")[0]


def test_answers_in_no_column_that_is_known_stop_data_and_run_with_the_same_sentence(
    crild: Call, texts: Path, runs_dir: Path
) -> None:
    answers = texts.parent / "answers.csv"
    answers.write_text(answers.read_text().replace("message,label", "message,it says").replace(",", ",x,"))
    own = (*UNLABELLED, "--set", "task.class_names=['a', 'b', 'c']", "--set", "student.init=scratch")
    (missing,) = crild("data", *own, "--json").json["missing"]
    assert "--set 'teacher.columns.classes={ a = " in missing
    assert missing in crild("data", *own).out
    refused = crild("run", *own, "--runs-dir", str(runs_dir))
    assert (refused.code, missing in refused.err) == (3, True)
    assert not list(runs_dir.glob("*"))
    named = ("--set", "teacher.columns.label=it says")
    assert crild("data", *own, *named, "--json").json["missing"] == []


def test_data_shows_rounded_shares_of_rows_and_for_labels_of_words_of_words(
    crild: Call, tickets: Path, tmp_path: Path
) -> None:
    settings = ("--set", "task.kind=multilabel", "--set", "task.files.dev=tags.csv", *SMALL)
    (tmp_path / "tags.csv").write_text("text,a,b\n" + "".join(f"t{n},1,{int(n < 2)}\n" for n in range(3)))
    shown = crild("data", "tags.csv", *settings).out
    assert "100.0 %" in shown
    assert "66.7 %" in shown, "2 of 3 rows, though 2 of 5 labels, and not 66.6"
    rows = '{"tokens": ["to", "Oslo", "now"], "ner_tags": ["O", "B-LOC", "O"]}\n'
    (tmp_path / "words.jsonl").write_text(rows)
    shown = crild("data", "words.jsonl", "--set", "task.files.dev=words.jsonl", *SMALL).out
    assert "share of words" in shown
    assert "66.7 %" in shown
    assert "33.3 %" in shown


def test_a_preset_for_several_labels_and_one_for_rankings(crild: Call, tickets: Path, tmp_path: Path) -> None:
    (tmp_path / "tags.csv").write_text("text,toxic,rude\n" + "".join(f"t{n},{n % 2},{n % 3 % 2}\n" for n in range(20)))
    assert crild("presets", "new", "tags", "--from-data", "tags.csv", "--set", "task.kind=multilabel").code == 0
    text = (tmp_path / "tags.toml").read_text()
    assert 'columns = { text = "text", labels = ["toxic", "rude"] }' in text
    assert "f1_micro" in text
    assert crild("presets", "validate", "tags.toml").code == 0
    (tmp_path / "pairs.csv").write_text(
        "query,passage,label\n" + "".join(f"q{n // 4},p{n},{n % 2}\n" for n in range(40))
    )
    settings = ("--set", "task.columns.group=query")
    assert crild("presets", "new", "pairs", "--from-data", "pairs.csv", *settings).code == 0
    text = (tmp_path / "pairs.toml").read_text()
    assert 'group = "query"' in text
    assert '"mrr", "ndcg"' in text
