"""Numbers that make no sense, given to every command: one line at once, before any file is looked at."""

from importlib import import_module

import pytest

DEDUP, TRAINER = "dedup.cli", "trainer.cli"
CASES = [
    ("pipelines.balance_pairs", "--queries q --output o", "--cap", "0", "must be at least 1, not 0"),
    ("pipelines.balance_pairs", "--queries q --output o", "--seed", "-1", "must be at least 0"),
    ("pipelines.balance_pairs", "--queries q --output o", "--english", "80", "must be at least 0, and at most 1, not 80"),
    ("pipelines.balance_pairs", "--queries q --output o", "--workers", "0", "must be at least 1, and at most 1,024, not 0"),
    ("pipelines.build_queries", "--output o", "--size", "0", "must be at least 1, not 0"),
    ("pipelines.build_queries", "--output o", "--min-pmi", "nan", "must be a finite number, not nan"),
    ("pipelines.build_queries", "--output o", "--min-views", "-5", "must be at least 1, not -5"),
    ("pipelines.clip_baseline", "--clip c --images i --output o", "--originals", "-1", "must be at least 1"),
    ("pipelines.demo", "--output o", "--workers", "0", "must be at least 1"),
    ("pipelines.demo", "--output o", "--seed", "-1", "must be at least 0"),
    ("pipelines.download_images", "--pairs p --output o", "--pairs-per-shard", "0", "must be at least 1, and at most 10,000, not 0"),
    ("pipelines.download_images", "--pairs p --output o", "--max-wait", "nan", "must be at least 0, not nan"),
    ("pipelines.estimate", "", "--pairs", "0", "must be at least 1, not 0"),
    ("pipelines.estimate", "", "--pairs", "nan", "must be at least 1, not nan"),
    ("pipelines.estimate", "", "--cores", "0", "must be at least 1, not 0"),
    ("pipelines.estimate", "", "--success", "1.5", "must be above 0, and at most 1, not 1.5"),
    ("pipelines.estimate", "", "--links-a-wat", "0", "must be above 0, not 0"),
    ("pipelines.estimate", "", "--price-core-hour", "-1", "must be at least 0, not -1"),
    ("pipelines.estimate", "", "--wat-bytes", "inf", "must be above 0"),
    ("pipelines.find_overlaps", "--shards s --eval a=b --detector d --output o", "--loose", "-1", "must be above -1, and at most 1"),
    ("pipelines.find_overlaps", "--shards s --eval a=b --detector d --output o", "--max-hits", "0", "must be at least 1"),
    ("pipelines.local_engine", "job-service", "--port", "-1", "must be at least 0, and at most 65,535"),
    ("sample_world.__main__", "--output o", "--workers", "-2", "must be at least 1"),
    (DEDUP, "train --images i --output o", "--minutes", "nan", "must be above 0"),
    (DEDUP, "train --images i --output o", "--learning-rate", "inf", "must be above 0"),
    (DEDUP, "train --images i --output o", "--pool", "0", "must be at least 1"),
    (DEDUP, "train --images i --output o", "--seed", "-1", "must be at least 0"),
    (DEDUP, "whiten --checkpoint c --images i --output o", "--dimension", "-1", "must be at least 0"),
    (DEDUP, "evaluate --checkpoint c --images i --output o", "--others", "-1", "must be at least 0"),
    (DEDUP, "review --overlaps v --labels l", "--port", "70000", "must be at least 0, and at most 65,535"),
    (DEDUP, "report --overlaps v --output o", "--gallery", "-1", "must be at least 0"),
    (TRAINER, "train --shards s --output o", "--epochs", "nan", "must be above 0"),
    (TRAINER, "train --shards s --output o", "--learning-rate", "nan", "must be at least 0"),
    (TRAINER, "train --shards s --output o", "--beta2", "1", "must be at least 0, and below 1"),
    (TRAINER, "train --shards s --output o", "--workers", "-2", "must be at least -1, and at most 1,024"),
    (TRAINER, "train --shards s --output o", "--seed", "18446744073709551616", "at most 9,223,372,036,854,775,807"),
    (TRAINER, "compare-objectives --shards s --output o --eval a=b", "--points", "0", "must be at least 1"),
    (TRAINER, "tokenizer --shards s --output o", "--vocabulary", "5", "must be at least 515"),
    (TRAINER, "tokenizer --shards s --output o", "--texts", "-1", "must be at least 1"),
    (TRAINER, "export --model tiny --format openai --output o", "--seed", "-1", "must be at least 0"),
    (TRAINER, "bias-probe --checkpoint c --images i --labels l --group g --output o", "--threshold", "1.5", "above 0, and at most 1"),
    (TRAINER, "few-shot --checkpoint c --eval a=b --output o", "--seeds", "0", "must be at least 1"),
    (TRAINER, "geolocation --checkpoint c --reference r --images i --output o", "--bandwidth", "nan", "must be above 0, and below 100,000"),
    (TRAINER, "search --checkpoint c --images i --output o", "--fps", "0", "must be above 0, and below 10,000"),
    (TRAINER, "typographic --checkpoint c --eval a=b --output o", "--sizes", "nan", "must be above 0, and at most 1, not nan"),
    (TRAINER, "typographic --checkpoint c --eval a=b --output o", "--images", "-1", "must be at least 0"),
    (TRAINER, "visualize --checkpoint c --output o", "--rotate", "nan", "must be at least 0, and at most 180, not nan"),
    (TRAINER, "visualize --checkpoint c --output o", "--size", "5000", "must be at least 8, and at most 4,096, not 5000"),
    (TRAINER, "zero-shot --checkpoint c --eval a=b --output o", "--batch-size", "0", "must be at least 1"),
    (TRAINER, "zero-shot --checkpoint c --eval a=b --output o", "--threads", "1000000", "must be at least 1, and at most 1,024"),
]


@pytest.mark.parametrize("module, given, flag, value, said", CASES)
def test_a_number_that_makes_no_sense_is_refused_at_once(module, given, flag, value, said, monkeypatch, tmp_path, capfd):
    monkeypatch.chdir(tmp_path)
    loaded = import_module(module)
    run = loaded.run if module == TRAINER else loaded.main
    with pytest.raises(SystemExit) as ended:
        run([*given.split(), flag, value])
    assert ended.value.code == 2
    last = capfd.readouterr().err.splitlines()[-1]
    assert f"error: argument {flag}: " in last and said in last, last
    assert not any(tmp_path.iterdir())
