import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from wit_builder.errors import user_message
from wit_builder.transforms import Finish, RunTasks, SumUp


class Square:
    def load(self):
        return 2

    def __call__(self, power, task):
        if task < 0:
            from wit_builder.errors import UserError

            raise UserError("negative", where=str(task))
        return {"sum": task**power, "tasks": 1}


@pytest.mark.parametrize("processes", [0, 1, 2])
@pytest.mark.parametrize("tasks", [[], [1, 2, 3]])
def test_tasks_run_here_and_on_processes(processes, tasks):
    with beam.Pipeline(FnApiRunner()) as pipeline:
        totals = pipeline | beam.Create(tasks) | RunTasks(Square(), processes=processes) | SumUp()
        wanted = {"sum": 14, "tasks": 3} if tasks else {}
        assert_that(totals | Finish(dict), equal_to([wanted]))


@pytest.mark.parametrize("processes", [0, 2])
def test_user_errors_of_workers_are_told_in_one_line(processes):
    with pytest.raises(Exception) as caught, beam.Pipeline(FnApiRunner()) as pipeline:
        _ = pipeline | beam.Create([1, -5]) | RunTasks(Square(), processes=processes)
    assert user_message(caught.value) == "-5: negative"
