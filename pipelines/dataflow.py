"""What a Dataflow job of each pipeline asks for where the command line doesn't say.

Rows never pass through the runner, and spill files go to the output's folder, so disks are small and no shuffle is large.
A worker has one Python process a core; each does one task at a time, since tasks are bound by the CPU and by memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from apache_beam.options.pipeline_options import DebugOptions, GoogleCloudOptions, PipelineOptions, WorkerOptions


@dataclass(frozen=True)
class Workers:
    """Defaults of one pipeline, as Beam's flags of the same names take them.

    Attributes:
      machine_type: of the workers.
      max_num_workers: to which the job may grow.
      disk_size_gb: of each, for the system and the staged code.
      experiments: beside the shuffle service.
    """

    machine_type: str
    max_num_workers: int
    disk_size_gb: int = 30
    experiments: Sequence[str] = ()


WORKERS = {
    "build_queries": Workers("n2-standard-4", 20),
    "extract_pairs": Workers("n2-standard-4", 250),
    "balance_pairs": Workers("n2-standard-4", 50),
    # Limits of politeness hold in each process, so that more workers also mean more requests to one host.
    "download_images": Workers("n2-standard-4", 50),
    # One process a machine, and torch's threads on its cores: index and detector are held once.
    "find_overlaps": Workers("n2-standard-8", 200, 50, ("no_use_multiple_sdk_containers",)),
}
AUTOSCALING = "THROUGHPUT_BASED"
SHUFFLE = "shuffle_mode=service"


def is_dataflow(runner: str | None) -> bool:
    """Whether `--runner` names Dataflow, in any of the ways that Beam takes."""
    return (runner or "").rsplit(".", 1)[-1].lower() in ("dataflow", "dataflowrunner")


def set_defaults(options: PipelineOptions, stage: str) -> None:
    """Fill in what the command line left open; what it gave stays."""
    chosen = WORKERS.get(stage)
    workers, cloud, debug = (options.view_as(view) for view in (WorkerOptions, GoogleCloudOptions, DebugOptions))
    if chosen is not None:
        for name in ("machine_type", "max_num_workers", "disk_size_gb"):
            if getattr(workers, name) is None:
                setattr(workers, name, getattr(chosen, name))
        for experiment in chosen.experiments:
            debug.add_experiment(experiment)
    if workers.autoscaling_algorithm is None:
        workers.autoscaling_algorithm = AUTOSCALING
    if debug.lookup_experiment("shuffle_mode") is None:
        debug.add_experiment(SHUFFLE)
    if debug.number_of_worker_harness_threads is None:
        debug.number_of_worker_harness_threads = 1
    # Otherwise Beam makes a bucket of its own.
    if cloud.staging_location is None and cloud.temp_location is not None:
        cloud.staging_location = cloud.temp_location.rstrip("/") + "/staging"
