"""The overlap search on Beam. Only paths and counts pass through it; vectors are files (`dedup.tasks`, `dedup.search`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import ModelHandler, PredictionResult, RunInference

from dedup import search, within
from dedup.tasks import EmbedEvaluation, EmbedShard, EvaluationPart, Search
from wit_builder.parallel import run_tasks
from wit_builder.shards import ShardPaths
from wit_builder.transforms import Finish, RunTasks, SumUp, flatten


class DetectorHandler(ModelHandler[Any, PredictionResult, Any]):
    """Lets RunInference embed shards: an example is a shard's paths, an inference the path of its embeddings and counts.

    The detector is loaded once a worker process. With `processes` the shards of a batch go to that many local processes,
    each with a detector of its own.
    """

    def __init__(self, work: EmbedShard, processes: int) -> None:
        super().__init__(min_batch_size=1 if processes < 1 else 10_000, max_batch_size=1 if processes < 1 else 10_000)
        self.work, self.processes = work, processes

    def load_model(self) -> Any:
        return _Loaded(self.work.load() if self.processes <= 1 else None)

    def run_inference(self, batch: Sequence[ShardPaths], model: Any, inference_args=None) -> Iterable[PredictionResult]:
        if self.processes <= 1:
            results = [self.work(model.embedder, shard) for shard in batch]
        else:
            results = list(run_tasks(self.work, batch, min(self.processes, len(batch))))
        return [PredictionResult(result["shard"], result) for result in results]

    def get_num_bytes(self, batch: Sequence[ShardPaths]) -> int:
        return sum(len(shard.tar) for shard in batch)  # what passes through Beam

    def get_metrics_namespace(self) -> str:
        return "overlaps"


class _Loaded:
    """RunInference keeps the model by weak reference, which None does not allow."""

    def __init__(self, embedder: Any) -> None:
        self.embedder = embedder


class FindOverlaps(beam.PTransform):
    """From shards (ShardPaths) to the finished output folder; the one element out is the manifest.

    Args:
      settings: see `dedup.tasks.Search`.
      parts: the evaluation sets, divided.
      others: all splits of the sets, divided; each image of `parts` is also compared with these. None: it is not.
      folder: for the index, removed at the end.
      output: the output folder's path.
      files: number of output files.
      processes: local processes; 0 leaves the spreading to the runner.
      finish: called with all counts; writes the manifest.
    """

    def __init__(
        self,
        settings: Search,
        parts: Sequence[EvaluationPart],
        *,
        folder: str,
        output: str,
        files: int,
        processes: int,
        finish: Callable[[dict[str, int]], Any],
        others: Sequence[EvaluationPart] | None = None,
    ) -> None:
        super().__init__()
        self.others = others
        self.settings, self.parts, self.folder, self.output = settings, list(parts), folder, output
        self.files, self.processes, self.finish = files, processes, finish

    def expand(self, shards):
        pipeline = shards.pipeline
        evaluation = (
            pipeline
            | "Parts of evaluation sets" >> beam.Create(self.parts)
            | "Embed evaluation views" >> RunTasks(EmbedEvaluation(self.settings), processes=self.processes, label="evaluation sets")
        )
        index = evaluation | "Gather parts" >> beam.combiners.ToList() | "Build the index" >> beam.Map(self._build)
        embedded = (
            shards
            | "Embed training images" >> RunInference(DetectorHandler(EmbedShard(self.settings), self.processes))
            | "Take inferences" >> beam.Map(lambda result: result.inference)
        )
        hits = (
            embedded
            | "Meet the index" >> beam.Map(lambda result, name: (result, name), beam.pvalue.AsSingleton(index))
            | "Search" >> RunTasks(search.SearchShard(self.settings, self.folder), processes=self.processes, label="searching")
        )
        gathered = (
            hits
            | "Paths of hits" >> beam.Map(lambda result: result["hits"])
            | "All paths" >> beam.combiners.ToList()
            | "A task for each file" >> beam.FlatMap(lambda paths: [(number, sorted(paths)) for number in range(self.files)])
            | "Gather hits"
            >> RunTasks(search.GatherHits(self.settings, self.folder, self.output, self.files), processes=self.processes, label="gathering")
        )
        inside = [] if self.others is None else self._within(pipeline, index)
        return (
            flatten([evaluation, embedded, hits, gathered, *inside])
            | "Counts" >> beam.Map(named_counts)
            | SumUp()
            | Finish(self.finish)
        )

    def _within(self, pipeline, index) -> list:
        """What has counts of the comparison of evaluation images with the other images of their own sets."""
        plain = replace(self.settings, views=())
        others = (
            pipeline
            | "Parts of all splits" >> beam.Create(self.others)
            | "Embed all splits"
            >> RunTasks(EmbedEvaluation(plain, indexed=False), processes=self.processes, label="all splits")
        )
        hits = (
            others
            | "Meet their own index" >> beam.Map(lambda result, name: (result, name), beam.pvalue.AsSingleton(index))
            | "Search within"
            >> RunTasks(within.SearchWithin(self.settings, self.folder), processes=self.processes, label="within the sets")
        )
        gathered = (
            hits
            | "Paths within" >> beam.Map(lambda result: result["hits"])
            | "All paths within" >> beam.combiners.ToList()
            | "A task for each file within" >> beam.FlatMap(lambda paths: [(number, sorted(paths)) for number in range(self.files)])
            | "Gather within"
            >> RunTasks(within.GatherWithin(self.settings, self.output, self.files), processes=self.processes, label="within the sets")
        )
        return [others, gathered]

    def _build(self, parts: list[dict[str, Any]]) -> str:
        return search.build(self.settings, self.folder, parts)


def named_counts(result: dict[str, Any]) -> dict[str, int]:
    """Counts, and drops with a mark before their names, of one task."""
    return {**result["counts"], **{f"drop {reason}": number for reason, number in result["drops"].items()}}
