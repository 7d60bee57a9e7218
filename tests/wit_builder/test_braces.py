import subprocess

import pytest

from wit_builder import files
from wit_builder.braces import expand_braces
from wit_builder.errors import UserError


@pytest.mark.parametrize("pattern", ["a/{00000..00012}.tar", "{x,y}/*.gz", "s{1..3}-{a,b}", "plain*.tar", "{one}.tar"])
def test_braces_stand_for_what_they_do_in_a_shell(pattern):
    shell = subprocess.run(["bash", "-c", f"set -f; printf '%s\\n' {pattern}"], check=True, capture_output=True, text=True)
    assert expand_braces(pattern) == shell.stdout.split()


def test_a_name_with_half_a_brace_stands_for_itself(tmp_path):
    assert expand_braces("odd{name.tar") == ["odd{name.tar"]


def test_every_file_of_a_range_must_be_there(tmp_path):
    for name in ("00.gz", "01.gz"):
        (tmp_path / name).touch()
    assert files.match_all([f"{tmp_path}/{{00..01}}.gz"], what="file") == [f"{tmp_path}/00.gz", f"{tmp_path}/01.gz"]
    with pytest.raises(UserError, match="02.gz"):
        files.match_all([f"{tmp_path}/{{00..02}}.gz"], what="file")
