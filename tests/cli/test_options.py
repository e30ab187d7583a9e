"""Options of the command line: each field of a job has one, and files and options together give the job."""

import dataclasses
import json

import click
import pytest

import secateurs as sc
from secateurs.cli.fields import SECTIONS, parameters
from secateurs.cli.job import CELL, JobOptions, with_job
from secateurs.errors import PersistError, UsageError
from secateurs.experiments import Job
from secateurs.pruning import PruningConfig


def job_of(*arguments, cell=CELL, **defaults):
    """The job that a command with these options would run."""
    jobs = []

    @click.command()
    @with_job(cell=cell, **defaults)
    def command(job):
        jobs.append(job.job())

    command.main(list(arguments), standalone_mode=False)
    return jobs[0]


def test_every_plain_field_is_an_option():
    paths = {path for path, _ in parameters()}
    for section, cls in SECTIONS.items():
        names = [f.name for f in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else list(cls.model_fields)
        missing = {(*section, name) for name in names} - paths - set(SECTIONS)
        assert not missing


def test_names_of_options_are_unique():
    names = [name for _, parameter in parameters() for name in (*parameter.opts, *parameter.secondary_opts)]
    assert len(names) == len(set(names))


def test_every_option_has_a_help_text():
    without = [p.opts[0] for _, p in parameters() if isinstance(p, click.Option) and not p.help]
    assert without == []


def test_omitted_options_keep_the_defaults():
    assert job_of("model", "--data", "data") == Job("model", "data")


def test_options_become_the_configuration():
    job = job_of(
        *"m --data d --criterion l2 --budget params:0.3 --scope local --floor 4 --cap 0.9 --multiple 8".split(),
        *"--uniform --rounds 3 --ramp cubic --epochs 2 --epochs-between 1 --lr 0.1 --milestones 0.5,0.75".split(),
        *"--keep a --keep b".split(),
        *"--no-compensate --input 3,8,8 --image-size 32 --mean 0.5 --tracker tensorboard --seed 7".split(),
    )
    recovery = sc.Recovery(epochs=2, lr=0.1, milestones=(0.5, 0.75), trackers=("tensorboard",))
    assert job.config == PruningConfig(
        criterion="l2", budget="params:0.3", scope="local", limits=sc.Limits(4, 0.9, 8, True), keep=("a", "b"),
        compensate=False, schedule=sc.Schedule(3, "cubic"), between=dataclasses.replace(recovery, epochs=1),
        recovery=recovery, seed=7,
    )  # fmt: skip
    assert (job.shape, job.images.size, job.images.mean) == ((3, 8, 8), 32, (0.5,))


def test_options_override_a_saved_configuration(tmp_path):
    config = PruningConfig(criterion="nexp", budget="macs:0.4", recovery=sc.Recovery(epochs=3, lr=0.2))
    config.save(tmp_path / "config.json")
    job = job_of("m", "--data", "d", "--config", str(tmp_path / "config.json"), "--budget", "macs:0.7", "--lr", "0.1")
    assert job.config == config.replace(budget="macs:0.7", recovery=sc.Recovery(epochs=3, lr=0.1))
    assert (
        job_of("m", "--data", "d", "--config", str(tmp_path / "config.json"), "--epochs", "0").config.recovery is None
    )


def test_the_record_of_a_run_gives_the_same_job(tmp_path):
    job = Job("digits", "digits", PruningConfig(criterion="l2", seed=3), test="digits:test", samples=32)
    record = {"format": 2, "settings": {}, "versions": {}, "job": job.plain()}
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert job_of("--config", str(tmp_path / "run.json")) == job
    assert job_of("--config", str(tmp_path / "run.json"), "--seed", "4") == job.with_config(seed=4)


def test_the_record_of_a_call_gives_the_configuration(tmp_path, net, batches):
    sc.prune(net, batches, criterion="l1", budget="keep:0.5", directory=tmp_path / "run")
    job = job_of("m", "--data", "d", "--config", str(tmp_path / "run" / "run.json"))
    assert (job.config.criterion.name, str(job.config.budget)) == ("l1", "keep:0.5")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", UsageError),
        ("[]", UsageError),
        ('{"speed": 3}', UsageError),
        ('{"settings": {}, "job": {"model": "m"}}', PersistError),
    ],
)
def test_a_file_without_a_configuration_is_refused(tmp_path, text, error):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(error):
        job_of("m", "--data", "d", "--config", str(tmp_path / "config.json"))


def test_training_options_without_epochs_are_refused():
    with pytest.raises(UsageError, match=r"lr.*--epochs"):
        job_of("m", "--data", "d", "--lr", "0.1")


def test_a_job_needs_a_model_and_data():
    with pytest.raises(click.BadParameter, match="--data"):
        job_of("m")


def test_defaults_of_a_command_are_used():
    assert job_of("m", "--data", "d", epochs=5, lr=0.02).config.recovery == sc.Recovery(epochs=5, lr=0.02)
    assert JobOptions({}).file is None
