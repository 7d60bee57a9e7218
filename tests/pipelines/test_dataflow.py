"""Dataflow jobs as they would be submitted: the template is written, and the job graph in it and what was staged are looked at."""

import importlib
import json
import re
import zipfile

import pytest

pytest.importorskip("google.cloud.dataflow", reason="needs google-cloud-dataflow-client")

from apache_beam.options.pipeline_options import DebugOptions, PipelineOptions, WorkerOptions
from apache_beam.portability.api import beam_runner_api_pb2
from gcs import cloud
from pools import write_pairs, write_queries

from pipelines import balance_pairs, build_queries, dataflow, download_images, extract_pairs
from pipelines.running import beam_flags
from wit_builder import remote

PIPELINES = {
    "build_queries": (build_queries, {"Read articles", "Merge bigrams", "Write the list"}),
    "extract_pairs": (extract_pairs, {"Extract", "Merge", "Finish"}),
    "balance_pairs": (balance_pairs, {"Match", "Search near the cap", "Select", "Finish"}),
    "download_images": (download_images, {"Plan shards", "Download", "Finish"}),
}


@pytest.fixture
def service(tmp_path, monkeypatch):
    with cloud(tmp_path) as (environment, objects):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield objects
    remote.set_options([])


@pytest.fixture
def inputs(tmp_path):
    """Flags of each pipeline, on the smallest inputs."""
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "a.html").write_text('<img src="a.jpg" alt="a dog">')
    page = "<page><title>A</title><ns>0</ns><revision><text>a</text></revision></page>"
    (tmp_path / "wiki.xml").write_text(f"<mediawiki>\n{page}\n</mediawiki>\n")
    write_pairs(tmp_path / "pairs", [("0" * 31 + "1", "http://host/1.jpg", "a dog", "http://page/", "a.warc")], number=1)
    write_queries(tmp_path / "queries.parquet", ["dog"])
    return {
        "build_queries": ["--wikipedia", f"{tmp_path}/wiki.xml", "--wordnet", "none"],
        "extract_pairs": ["--input", str(pages), "--base-url", "http://host/"],
        "balance_pairs": ["--pairs", f"{tmp_path}/pairs", "--queries", f"{tmp_path}/queries.parquet"],
        "download_images": ["--pairs", f"{tmp_path}/pairs", "--contact", "me@example.org"],
    }


def submit(name, inputs, tmp_path, *more):
    """Write the job's template; returns it. Ends as the command does, with exit code 0."""
    wheel = tmp_path / "webimagetext-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("wit_builder/__init__.py", "")
    template = tmp_path / "template.json"
    flags = [
        *("--output", f"{tmp_path}/output", "--runner=DataflowRunner", "--project=a-project", "--region=us-central1", "--job_name=job"),
        *("--temp_location=gs://bucket/tmp", f"--template_location={template}", f"--extra_package={wheel}"),
    ]
    with pytest.raises(SystemExit) as ended:
        PIPELINES[name][0].main([*inputs[name], *flags, *more])
    assert ended.value.code == 0
    return json.loads(template.read_text())


@pytest.mark.parametrize("name", PIPELINES)
def test_the_job_that_would_be_submitted(name, inputs, service, tmp_path, capsys):
    job = submit(name, inputs, tmp_path)
    assert "nothing has run yet" in capsys.readouterr().err
    assert not (tmp_path / "output" / "manifest.json").exists()
    (pool,) = job["environment"]["workerPools"]
    wanted = dataflow.WORKERS[name]
    assert (pool["machineType"], pool["diskSizeGb"], pool["numThreadsPerWorker"]) == (wanted.machine_type, wanted.disk_size_gb, 1)
    assert pool["autoscalingSettings"] == {"algorithm": "AUTOSCALING_ALGORITHM_BASIC", "maxNumWorkers": wanted.max_num_workers}
    assert dataflow.SHUFFLE in job["environment"]["experiments"]
    # What workers install is staged under the folder that was named, the wheel byte for byte.
    staged = {package["name"]: package["location"].removeprefix("storage.googleapis.com/") for package in pool["packages"]}
    wheel = "webimagetext-0.1.0-py3-none-any.whl"
    assert service[staged[wheel]] == (tmp_path / wheel).read_bytes()
    assert service[staged["extra_packages.txt"]].decode().split() == [wheel]
    assert all(path.startswith("bucket/tmp/staging/") for path in service)
    # The graph: every step of the pipeline, and tasks spread before they run.
    (graph,) = [content for path, content in service.items() if path.endswith("/pipeline.pb")]
    components = beam_runner_api_pb2.Pipeline.FromString(graph).components
    steps = {part for transform in components.transforms.values() for part in transform.unique_name.split("/")}
    assert PIPELINES[name][1] <= steps
    urns = {transform.spec.urn for transform in components.transforms.values()}
    assert "beam:transform:reshuffle:v1" in urns
    (environment,) = components.environments.values()
    assert environment.urn == "beam:env:docker:v1"


def test_the_command_line_wins(inputs, service, tmp_path):
    job = submit(
        "extract_pairs", inputs, tmp_path, "--machine_type=e2-small", "--max_num_workers=3", "--disk_size_gb=99",
        "--experiments=shuffle_mode=x",
        "--autoscaling_algorithm=NONE", "--num_workers=2", "--number_of_worker_harness_threads=5", "--sdk_container_image=host/image:1",
        "--staging_location=gs://other-bucket/here",
    )  # fmt: skip
    (pool,) = job["environment"]["workerPools"]
    assert (pool["machineType"], pool["diskSizeGb"], pool["numWorkers"], pool["numThreadsPerWorker"]) == ("e2-small", 99, 2, 5)
    assert pool["autoscalingSettings"] == {"algorithm": "AUTOSCALING_ALGORITHM_NONE", "maxNumWorkers": 3}
    assert "shuffle_mode=x" in job["environment"]["experiments"] and dataflow.SHUFFLE not in job["environment"]["experiments"]
    assert [image["containerImage"] for image in pool["sdkHarnessContainerImages"]] == ["host/image:1"]
    assert all(path.startswith("other-bucket/here/") for path in service)


def test_a_detector_is_held_once_a_machine():
    options = PipelineOptions(["--runner=DataflowRunner"])
    dataflow.set_defaults(options, "find_overlaps")
    assert "no_use_multiple_sdk_containers" in options.view_as(DebugOptions).experiments
    assert options.view_as(WorkerOptions).machine_type == dataflow.WORKERS["find_overlaps"].machine_type


@pytest.mark.parametrize("name", dataflow.WORKERS)
def test_no_flag_of_ours_hides_one_of_beams(name, capsys):
    """`--project` of build_queries once kept Dataflow's from it."""
    with pytest.raises(SystemExit):
        importlib.import_module(f"pipelines.{name}").main(["--help"])
    ours = set(re.findall(r"^ +(--[a-z-]+)", capsys.readouterr().out, re.MULTILINE))
    assert {"--output", "--workers"} <= ours
    assert not ours & beam_flags()


@pytest.mark.parametrize(
    "runner, expected",
    [("DataflowRunner", True), ("dataflow", True), ("apache_beam.runners.DataflowRunner", True), ("SparkRunner", False), (None, False)],
)
def test_names_of_dataflow(runner, expected):
    assert dataflow.is_dataflow(runner) == expected
