"""A whole run: data, teacher, student, the stages in order, the results."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from engine.data.tokens import TokenSet
from engine.distill.objectives import OBJECTIVES
from engine.errors import PresetError, UsageError
from engine.launch.resume_check import RunProgress, incompatible_changes
from engine.models.export import save_model
from engine.preset.schema import Preset
from engine.record.checkpoints import Checkpoint, Checkpoints
from engine.record.environment import add_environment
from engine.record.files import write_atomic
from engine.record.inventory import checkpoints_of, refuse_links, remove_cache_leftovers
from engine.record.paths import PRESET, RESULTS, STUDENT, cache_dir
from engine.record.rebuild import identity_of
from engine.record.session import RunSession
from engine.record.student import student_hash
from engine.record.teacher_folder import link_teacher
from engine.train import checkpoint, hardware, hub_revisions, results
from engine.train.card import model_card
from engine.train.dev_evaluation import LogitsBySplit
from engine.train.graphs import own_stream
from engine.train.inputs import check_inputs, inputs_changed, inputs_of
from engine.train.label_thresholds import chosen_thresholds
from engine.train.loop import RunContext, StagePosition, StageRun
from engine.train.materials import (
    Materials,
    inputs_of_stages,
    load_materials,
    models_of,
    new_student,
    plan_stages,
    rows_of_stages,
)
from engine.train.messages import say, say_finding
from engine.train.ranks import ALONE, Ranks, leading
from engine.train.resumption import resumption, written_checkpoints
from engine.train.run_findings import guessed_order, has, refuse, stage_findings
from engine.train.settings import StageSettings
from engine.train.stage_job import StageJob
from engine.train.step import Models, bound_terms
from engine.train.teacher import cache_key, data_hash, open_teacher, settle_order, store_teacher
from engine.train.teachers import Teachers
from engine.user.consent import NONE, Consent


def refuse_unfit(saved: Checkpoint, preset: Preset, run_dir: Path) -> None:
    """Raise PresetError when the preset has changed since the checkpoint in a way that resuming cannot honour."""
    progress = RunProgress.of(saved.stage, saved.step, saved.state)
    if progress is not None and (problems := incompatible_changes(progress, preset.document())):
        file = str(run_dir / PRESET)
        raise PresetError(
            [UsageError(sentence, kind="incompatible-change", file=file, key=key) for key, sentence in problems]
        )


def run(
    run_dir: Path, preset: Preset, session: RunSession, consent: Consent = NONE, warnings: Sequence[str] = ()
) -> dict[str, Any]:
    """Do the rest of a run, from its newest checkpoint; returns the results document.

    Models run code of their own only with `consent`. `warnings` are sentences about the preset to report first.

    Raises Stopped when asked to stop, and CrildError for what the user can fix.
    """
    refuse_links(run_dir)
    remove_cache_leftovers(cache_dir())
    with session.reading("verifying checkpoints"):
        checkpoints = Checkpoints(run_dir)
        saved = checkpoints.newest()
        if saved is not None:
            refuse_unfit(saved, preset, run_dir)
    try:
        return _run(run_dir, preset, session, checkpoints, saved, consent, warnings)
    except BaseException:
        if saved is not None and session.outcome("failed") == "finished":
            _undo_extension(session.run_dir, saved)
        raise


def _run(
    run_dir: Path,
    preset: Preset,
    session: RunSession,
    checkpoints: Checkpoints,
    saved: Checkpoint | None,
    consent: Consent,
    warnings: Sequence[str],
) -> dict[str, Any]:
    with contextlib.ExitStack() as until_the_end:
        with session.reading("preparing the device") as report:
            processes = hardware.processes_of(preset.train)
            threads = preset.train.threads or (saved.state["threads"] if saved else None)
            ranks = until_the_end.enter_context(leading(processes))
            threads = hardware.set_threads(threads, ranks.local_world)
            ranks.send((preset.train, threads))
            accelerator = hardware.make_accelerator(preset.train, ranks.local)
            report("looking for hub models and data")
            pinned = hub_revisions.pinned(preset)
            add_environment(run_dir, **hardware.environment(accelerator, threads, ranks.world))
            session.update(device=str(accelerator.device))
            materials = load_materials(pinned, accelerator, consent, report=report)
            experiment = Experiment(session, materials, checkpoints, ranks)
            changed = experiment.check_inputs()
        if pinned is not preset:
            hub_revisions.record(session.run_dir, pinned)  # only now: a refused run stays as it was
        return experiment.go(*warnings, *([changed] if changed else []))


def _undo_extension(run_dir: Path, saved: Checkpoint) -> None:
    """Make a run's preset that of its results again, unless an earlier version wrote it in another form."""
    with contextlib.suppress(ValueError):
        hub_revisions.record(run_dir, Preset.model_validate(saved.state.get("preset")))


class Experiment:
    """Runs the stages of one run in order."""

    def __init__(self, session: RunSession, materials: Materials, checkpoints: Checkpoints, ranks: Ranks = ALONE):
        """`checkpoints` are those that earlier attempts left; `ranks` the processes that share the steps."""
        self.session, self.materials, self.ranks = session, materials, ranks
        self.finished: dict[str, dict[str, Any]] = {}
        """Results of finished stages by name; part of every checkpoint."""
        self.logits: dict[str, LogitsBySplit] = {}
        """On dev, of the weights that a stage passed on, by its name, where this attempt has computed them."""
        own = rows_of_stages(materials, report=session.phases)
        self._warnings = list(materials.warnings)
        self.inputs = inputs_of_stages(materials, own, report=session.phases, warn=self._warnings.append)
        self.teachers = Teachers(session, materials, own, self.inputs, self._warnings.append)
        self.findings = (
            *materials.findings,
            *own.findings,
            *stage_findings(materials.reader, own.rows, self.inputs),
        )
        session.phases("hashing data and models")
        self.content = inputs_of(materials, own.rows)
        self.stages = plan_stages(materials.preset, materials.data, self.inputs)
        self.totals = [stage.total_steps(self._tokens_of(stage).per_epoch) for stage in self.stages]
        session.phases("verifying checkpoints")
        self.resumption = resumption(checkpoints, self.stages, self.totals)
        self.saved = dict(self.resumption.newest)
        self.finished.update(self.resumption.finished)
        self.whole = set(self.resumption.whole)
        newest = self.resumption.newest.values()
        self.compares_losses = all(saved.state["progress"].get("compares_losses", False) for saved in newest)

    @property
    def run_dir(self) -> Path:
        """The run directory. Raises RunError when it is gone."""
        return self.session.run_dir

    def go(self, *warnings: str) -> dict[str, Any]:
        """Train, evaluate, save; returns the results document. `warnings` are repeated to the user first."""
        self._announce()
        for warning in warnings:
            say(self.session, warning, level="warning")
        refuse(self.findings)
        teacher = self._teacher()
        self.teachers.prepare_others(self._guessed)
        answers = self.teachers.measure(self.logits.get("teacher"), self._advice())
        with self.session.reading("building the student"):
            student = new_student(self.materials, teacher, partial(say, self.session))
        for index, settings in enumerate(self.stages):
            if settings.role == "student":
                self._train_student(index, settings, student, teacher)
        baseline = self._baseline(teacher)
        return self._results(teacher, answers, student, baseline)

    def _announce(self) -> None:
        """Write the attempt's first event (where it resumes), then messages about the data."""
        data, loaded = self.materials.data, self.materials.loaded
        names = [stage.name for stage in self.stages]
        newest, written = self.resumption.start, written_checkpoints(self.run_dir)
        self.session.events.write(
            "run_started",
            attempt=self.session.attempt,
            stages=names,
            stage=newest.stage if newest else names[0],
            step=newest.step if newest else 0,
            total=sum(self.totals),
            resumed=newest is not None,
            repeated=self.resumption.repeated(written),
            run=identity_of(self.session.before),
        )
        if stale := self.resumption.warning(written):
            say(self.session, stale, level="warning")
        for warning in self._warnings:
            say(self.session, warning, level="warning")
        if self.resumption.extended:
            say(self.session, "the baseline starts again, because the student is trained for longer")
        answers = self.materials.answers
        others = (note for other in self.materials.others for note in other.loaded.notes)
        for note in (*data.notes, *(() if answers is None else answers.notes), *loaded.notes, *others):
            say(self.session, note)
        for finding in self.findings:
            if finding.severity != "refusal":
                say_finding(self.session, finding)

    def _results(
        self,
        teacher: PreTrainedModel | None,
        answers: LogitsBySplit,
        student: PreTrainedModel,
        baseline: PreTrainedModel | None,
    ) -> dict[str, Any]:
        materials, dev = self.materials, self.materials.measured
        folder = self.run_dir / "student"
        thresholds = {"teacher": self.teachers.thresholds()}
        for name, model in (("student", student), ("baseline", baseline)):
            if model is not None:
                thresholds[name] = chosen_thresholds(self.session, materials, name, [(model, materials)])
        with self.session.phases.writing("saving the student"):
            spec = replace(materials.data.spec, thresholds=thresholds["student"])
            save_model(student, materials.tokenizer, spec, folder)
        with self.session.phases.open("measuring the models") as report:
            last = materials.preset.stage[-1].name
            logits = {
                "student": dev.all_logits(student, known=self.logits.get(last), report=report, name="student"),
                "teacher": answers
                if teacher is None
                else self.teachers.answers(None if materials.others else answers, test=True, report=report),
            }
            if baseline is not None:
                known = self.logits.get(self.stages[-1].name)
                logits["baseline"] = dev.all_logits(baseline, known=known, report=report, name="baseline")
            measured = {
                "student": results.measure_model(student, dev, logits["student"], folder, thresholds["student"])
            }
            if answers:
                one = None if materials.others else teacher  # several have no size, and no latency
                measured["teacher"] = results.measure_model(one, dev, logits["teacher"], None, thresholds["teacher"])
            fresh = materials.preset.student.init == "scratch" or (
                materials.preset.student.init == "pretrained" and materials.loaded.fresh_head
            )
            measured["student"]["head_trained"] = results.head_trained(self.finished, fresh=fresh)
            if baseline is not None:
                measured["baseline"] = results.measure_model(
                    baseline, dev, logits["baseline"], None, thresholds["baseline"]
                )
            timed = (
                {"student": student}
                if teacher is None or materials.others
                else {"teacher": teacher, "student": student}
            )
            latency = results.measure_latency(timed, dev, report=report)
            report("hashing the models")
            if answers:
                measured["teacher"]["content"] = self.teachers.content
                if materials.others:
                    measured["teacher"]["models"] = 1 + len(materials.others)
            measured["student"]["content"] = student_hash(self.run_dir)
            results.save_predictions(self.run_dir, dev, measured, report=report)
            results.save_texts(self.run_dir, dev, materials.data)
        document = results.closing(dev, materials.train, measured, self.finished, latency)
        document |= {"seconds": round(sum(stage["seconds"] for stage in self.finished.values()), 1)}
        document |= {"command": f"crild run {shlex.quote(str(self.run_dir / PRESET))}"}
        document |= {"checkpoints_deleted": self.checkpoints_to_delete()}
        document |= {"findings": [finding.to_dict() for finding in self.findings]}
        names = [name for name in self.session.before.preset.split("+") if name]
        run_dir, card = self.run_dir, model_card(materials.preset, document, materials.data.spec, names)
        write_atomic(run_dir / STUDENT / "README.md", card, root=run_dir)
        results.write(self.run_dir, document)
        return document

    def checkpoints_to_delete(self) -> int | None:
        """Bytes of the checkpoints that go when the run has finished; None where they stay, because the preset asks for it
        or the run had finished before with its checkpoints."""
        if self.materials.preset.train.keep_for_extending or self.session.before.state == "finished":
            return None
        return sum(saved.bytes for saved in checkpoints_of(self.run_dir))

    # -- data

    def _tokens_of(self, settings: StageSettings) -> TokenSet:
        if settings.role == "teacher":
            return self.materials.teacher_texts.train
        return self.inputs.get(settings.name, self.materials.train)

    # -- the teacher

    def _teacher(self) -> PreTrainedModel | None:
        """The fine-tuned teacher; None where it is a file of answers."""
        materials = self.materials
        if materials.answers is not None:
            return None
        loaded, spec = materials.loaded, materials.data.spec
        model = loaded.model.to(materials.device)
        settings = self.stages[0] if self.stages[0].role == "teacher" else None
        tune = materials.preset.teacher.finetune
        sets = materials.teacher_texts.dev
        dev = sets.tokens[sets.primary]
        if settings is None or tune is None:
            with self.session.phases.open("finding the order of the teacher's classes") as report:
                note = settle_order(loaded, spec, dev, device=materials.device, pad_id=sets.pad_id, report=report)
            if note:
                self._guessed(note)
            return model.eval()
        key = cache_key(
            materials.teacher_hash, tune, materials.teacher_texts.train, dev, spec, materials.precision, settings.class_weights,
            materials.preset.train.evaluate_precision,
        )  # fmt: skip
        warn = partial(say, self.session, level="warning")
        with open_teacher(
            key,
            self.run_dir,
            loaded,
            shared=materials.preset.train.save_teacher_cache,
            waiting=self._wait_for_teacher,
            loading=lambda: self.session.reading("loading the stored teacher"),
            warn=warn,
        ) as (entry, stored):
            folder = entry.folder
            if stored is None:
                self._check_objectives(model)
                self._run(0, settings, Models(student=model), materials.teacher_texts.train)
                trained = self.finished["teacher"]
                with self.session.phases.writing("saving the teacher"):
                    folder = store_teacher(entry, self.run_dir, loaded, spec, trained, warn).folder
            elif not self._trained_the_teacher():
                say(self.session, "using the fine-tuned teacher from the cache")
                self.finished["teacher"] = {**stored, "cached": True}
                self.totals[0] = 0  # no step of this run
            else:
                self.finished["teacher"] = stored
        link_teacher(self.run_dir, folder)
        return model.eval()

    def _guessed(self, note: str) -> None:
        guessed = guessed_order(note)
        self.findings = (*self.findings, guessed)
        say_finding(self.session, guessed)

    def _trained_the_teacher(self) -> bool:
        """Whether this run itself completed the teacher's stage, in this attempt or an earlier one."""
        if "teacher" in self.finished:
            return not self.finished["teacher"].get("cached")
        saved = self.saved.get("teacher")
        return saved is not None and (saved.step == self.totals[0] or saved.state["progress"]["ended_early"])

    def _check_objectives(self, teacher: PreTrainedModel) -> None:
        """Make a student and bind every stage's objectives once, so that a mismatch shows before the teacher is trained."""
        with self.session.reading("building the student"):
            student = new_student(self.materials, teacher)
        for settings in self.stages:
            if settings.role == "student":
                bound_terms(settings, student, teacher)

    def _wait_for_teacher(self, first: bool) -> None:
        if first:
            say(self.session, "another run is training the same teacher; waiting for it")
        self.session.phases("waiting for the teacher of another run")

    def _advice(self) -> str:
        """What to do where the teacher knows nothing."""
        if self.materials.answers is not None:
            return "check that its answers belong to these rows"
        if has(self.findings, "unknown-tokens"):
            return "its tokenizer doesn't know many of the words (see above)"
        if self.stages[0].role != "teacher":
            labelled = self.materials.preset.task.class_names is None
            other = "fine-tune it (add [teacher.finetune])" if labelled else "name another teacher"
            return f"check that its label names match the task's, or {other}"
        return "fine-tune it for longer or at another learning rate ([teacher.finetune]), or on more examples"

    # -- the student

    def _train_student(
        self, index: int, settings: StageSettings, student: PreTrainedModel, teacher: PreTrainedModel | None
    ) -> None:
        later = [stage.name for stage in self.stages[index + 1 :] if stage.role == "student"]
        if any(name in self.saved for name in later):
            if self.finished[settings.name]["total"] != self.totals[index]:
                # the preset gives the same length, see `refuse_unfit`
                raise inputs_changed([f"the inputs of stage {settings.name}"], self.run_dir)
            return
        if settings.name not in self.saved:
            self._report_untrained_parts(settings)
        models = models_of(settings, student, teacher, self.materials.device)
        self._run(index, settings, models, self.inputs[settings.name])

    def _report_untrained_parts(self, settings: StageSettings) -> None:
        """Explain what users otherwise take for a bug: a metric that does not move, a classifier that is not trained."""
        students = [stage for stage in self.stages if stage.role == "student"]
        if settings.trains_head:
            return
        text = f"stage {settings.name} doesn't train the classifier: watch its loss on dev, not the metric"
        if not any("hidden" in OBJECTIVES[name].reads for name in settings.stage.terms()):
            text += "; the output and feed-forward parts of the last layer it reads aren't trained either"
        say(self.session, text)
        if settings is students[-1]:
            say(
                self.session,
                "no later stage trains the classifier, so the student keeps its current one; add a stage with labels or logits",
                level="warning",
            )

    def _baseline(self, teacher: PreTrainedModel | None) -> PreTrainedModel | None:
        settings = self.stages[-1]
        if settings.role != "baseline":
            return None
        with self.session.reading("building the baseline"):
            model = new_student(self.materials, teacher)
        self._run(len(self.stages) - 1, settings, Models(student=model), self.materials.train)
        return model

    # -- stages

    def _run(self, index: int, settings: StageSettings, models: Models, tokens: TokenSet) -> None:
        """Train the student of `models` in one stage, load the weights that the stage passes on, and record its results."""
        materials = self.materials
        models.student.requires_grad_(True)
        sets = materials.teacher_texts.dev if settings.role == "teacher" else materials.dev
        with self.session.reading("preparing the stage") as report:
            cached_logits = self.teachers.logits_for(settings, models.teacher, tokens, report)
        models.student.train()
        words = materials.words_for(settings)
        job = StageJob(settings, models, tokens, cached_logits, words, sets.pad_id, replace(sets))
        self.ranks.send(job)
        losses = job.losses(materials.accelerator, self.ranks)
        context = RunContext(
            session=self.session,
            accelerator=materials.accelerator,
            train=materials.preset.train,
            pad_id=sets.pad_id,
            finished=self.finished,
            document=materials.preset.document(),
            protect=frozenset({self.stages[-1].name, materials.preset.stage[-1].name}),
            whole=self.whole,
            unreadable=self.resumption.unreadable,
            ranks=self.ranks,
            compares_losses=self.compares_losses,
        )
        try:
            with own_stream(materials.device):
                position = StagePosition(index, len(self.stages), sum(self.totals[:index]), sum(self.totals))
                dev = sets.shared(self.ranks, materials.device) if self.ranks.several else sets
                evaluate = partial(dev.evaluate, role=settings.role)
                stage = StageRun(context, settings, position, models, tokens, losses, evaluate)
                saved = self.saved.get(settings.name)
                progress = stage.train(None if saved is None else saved.in_run(self.run_dir))
        finally:
            losses.remove()
            models.student.eval()
        best, passed_on = progress.best, progress.step
        if settings.keep_best and progress.best_weights and best and best.step != progress.step:
            passed_on = best.step
            with self.session.reading("loading the best weights"):
                models.student.load_state_dict(checkpoint.load_best(self.run_dir, progress.best_weights))
        self.logits[settings.name] = stage.logits.get(passed_on, {})
        self.finished[settings.name] = {
            "role": settings.role,
            "steps": progress.step,
            "total": self.totals[index],
            "seconds": progress.seconds,
            "examples_per_second": progress.examples / max(progress.seconds, 1e-9),
            "ended_early": progress.ended_early,
            "trains_head": settings.trains_head,
            "keep_best": settings.keep_best,
            "last": asdict(progress.last) if progress.last else None,
            "best": asdict(progress.best) if progress.best else None,
            "best_weights": progress.best_weights,
            "self_teacher": progress.self_teacher,
        }

    # -- resuming

    def check_inputs(self) -> str | None:
        """Record the run's inputs, or compare them with its record; returns a warning, if there is one.

        Raises DataError when one has changed since the run started.
        """
        now = {stage.name: data_hash(self._tokens_of(stage)) for stage in self.stages}
        trained_on = {name: saved.state.get("data") for name, saved in self.saved.items()}
        return check_inputs(
            self.run_dir,
            self.content,
            resumed=bool(self.saved) or (self.run_dir / RESULTS).is_file(),
            changed_stages=[name for name, data in trained_on.items() if data not in (None, now.get(name))],
        )
