import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics.pairwise import haversine_distances
from sklearn.neighbors import NearestNeighbors

from trainer.evaluate import geolocation
from trainer.evaluate.coordinates import RADIUS_KM, bounds, densest, distance_km, read_places, reasons
from trainer.evaluate.geolocation import main
from trainer.evaluate.report_flags import included, included_sections
from wit_builder.errors import UserError
from wit_builder.evalset_tars import write_tar


def somewhere(random, count):
    return np.stack([random.uniform(-90, 90, count), random.uniform(-180, 180, count)], axis=1)


def test_distances_are_those_of_scikit_learn():
    first, second = somewhere(np.random.default_rng(0), 30), somewhere(np.random.default_rng(1), 20)
    second[0] = -first[0][0], first[0][1] - 180 * np.sign(first[0][1])  # the other side of the Earth
    expected = haversine_distances(np.radians(first), np.radians(second)) * RADIUS_KM
    np.testing.assert_allclose(distance_km(first[:, None], second), expected, rtol=1e-12)
    assert distance_km(np.array([0.0, 179.5]), np.array([0.0, -179.5])) == pytest.approx(111.195, abs=1e-3)  # a degree at the equator


def test_bounds_equal_a_count_over_all_pairs():
    references, queries, radii = somewhere(np.random.default_rng(2), 40), somewhere(np.random.default_rng(3), 25), [25, 750, 2500, 9000]
    references[:3] = queries[:3]
    distances = haversine_distances(np.radians(queries), np.radians(references)) * RADIUS_KM
    chance, reachable = bounds(references, queries, radii)
    np.testing.assert_allclose(chance, [(distances <= radius).mean() for radius in radii])
    assert reachable.tolist() == [(distances.min(axis=1) <= radius).sum() for radius in radii]


def test_of_several_neighbours_the_place_where_they_crowd_is_taken():
    places = np.array([[[10, 10], [50, 8], [50.01, 8], [50, 8.01], [-3, 100]], [[1, 1], [2, 2], [3, 3], [4, 4], [5, 5]]], float)
    assert densest(places, 10.0).tolist() == [1, 0]  # far from each other, the nearest stays


def test_what_is_no_place():
    latitude = np.array([48.85, 91, -90, 0, np.nan, 10, 0])
    longitude = np.array([2.35, 0, 180, 0, 5, np.inf, 0.001])
    missing = "no coordinates"
    assert reasons(latitude, longitude).tolist() == ["", "coordinates out of range", "", "at 0°, 0°", missing, missing, ""]


def test_guesses_equal_scikit_learns_neighbours(run, tmp_path):
    random = np.random.default_rng(4)
    truth = {}
    for name, count in (("reference", 60), ("query", 15)):
        vectors = random.normal(size=(count, 8)).astype(np.float16).astype(np.float32)
        keys = [f"{name}{number:03d}" for number in range(count)]
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 8)
        pq.write_table(pa.table({"key": keys, "embedding": column}), tmp_path / f"{name}.parquet")
        places = somewhere(random, count)
        order = random.permutation(count)
        lines = [f"{keys[at]},{float(places[at][0])!r},{float(places[at][1])!r}\n" for at in order]
        (tmp_path / f"{name}.csv").write_text("key,latitude,longitude\n" + "".join(lines))
        truth[name] = vectors, places
    flags = [f"--{flag}={tmp_path / name}" for flag, name in (("reference-table", "reference.csv"), ("table", "query.csv"))]
    output, printed = run(main, "--reference", tmp_path / "reference.parquet", "--images", tmp_path / "query.parquet", *flags)
    (vectors, places), (queries, true) = truth["reference"], truth["query"]
    nearest = NearestNeighbors(n_neighbors=1, metric="cosine", algorithm="brute").fit(vectors).kneighbors(queries)[1][:, 0]
    rows = pq.read_table(output / "guesses-00000-of-00001.parquet").to_pylist()
    assert [row["reference"] for row in rows] == [f"reference{number:03d}" for number in nearest]
    distances = np.diag(haversine_distances(np.radians(true), np.radians(places[nearest]))) * RADIUS_KM
    np.testing.assert_allclose([row["distance_km"] for row in rows], distances)
    found = json.loads((output / "metrics.json").read_text())
    assert {radius: one["hits"] for radius, one in found["within_km"].items()} == {
        str(radius): int((distances <= radius).sum()) for radius in (1, 25, 200, 750, 2500)
    }
    assert found["median_km"] == pytest.approx(np.median(distances)) and "15 pictures, 60 references" in printed


def test_pictures_with_places_of_their_own_or_of_a_table_join_the_report(vit, squares, run, tmp_path):
    def sample(seed, colour, **columns):
        return f"k{seed}", {"png": squares.picture(squares.colours[colour], seed), "json": json.dumps(columns).encode()}

    write_tar(
        str(tmp_path / "reference.tar"),
        [
            sample(1, "red", latitude=48.85, longitude=2.35),
            sample(2, "blue", latitude=-33.9, longitude=151.2),
            sample(3, "blue", latitude=999, longitude=0),
            sample(4, "green"),
        ],
    )
    (tmp_path / "queries" / "deep").mkdir(parents=True)
    (tmp_path / "queries" / "deep" / "one.png").write_bytes(squares.picture(squares.colours["blue"], 2))
    (tmp_path / "queries" / "two.png").write_bytes(squares.picture(squares.colours["red"], 9))
    (tmp_path / "places.csv").write_text("eval_key,lat,lon\ndeep/one.png,-33.8,151.3\ntwo.png,north,1\nnowhere.png,1,1\n")
    flags = ["--reference", tmp_path / "reference.tar", "--images", tmp_path / "queries", "--table", tmp_path / "places.csv"]
    output, _ = run(main, "--checkpoint", vit, *flags)
    manifest, found = (json.loads((output / name).read_text()) for name in ("manifest.json", "metrics.json"))
    assert manifest["drops"] == {
        "reference: coordinates out of range": 1, "reference: no coordinates": 1, "query: no coordinates": 1,
    }  # fmt: skip
    assert manifest["counts"]["rows of the query table without a picture"] == 1 and found["near_copies"] == 1
    assert [found["within_km"][radius]["hits"] for radius in ("1", "25")] == [0, 1]
    joined = included([str(output)], manifest["inputs"]["checkpoint"])
    assert [section.heading for section in included_sections(joined, [str(output)])] == ["Geolocation"]
    assert "best possible" in (output / "report.html").read_text()
    assert geolocation.sections(found)[0].tables[0]["rows"][1][2] == "100"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a CSV file"),
        ("key,latitude\na,1\n", "no column longitude"),
        ("key,latitude,longitude\na,1,1\na,2,2\n", "'a' stands there twice"),
        ("key,latitude,longitude\na,1\n", "not a CSV file.*Expected 3 columns"),
        ("key,key,latitude,longitude\na,b,1,1\n", "the column key stands there twice"),
        ("Größe,latitude,longitude\na,1,1\n", "not a CSV file: 'utf-8' codec"),
        ("a\rb,latitude\n", "not a CSV file"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_clear_error(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=message):
        read_places(str(tmp_path / "t.csv"))


def test_keys_keep_their_zeros_and_numbers_that_are_none_are_missing(tmp_path):
    (tmp_path / "t.csv").write_text('\ufeffkey,latitude,longitude,note\n00012,1e400,5,"a,b"\n1,,2,\n2,-3.5,4,\n')
    keys, places = read_places(str(tmp_path / "t.csv"))
    assert keys.to_pylist() == ["00012", "1", "2"] and places[2].tolist() == [-3.5, 4]
    assert reasons(*places.T).tolist() == ["no coordinates", "no coordinates", ""]


def test_a_key_of_several_tars_must_be_named_with_its_tar(vit, squares, run, tmp_path):
    for number in range(2):
        write_tar(str(tmp_path / "set" / f"{number}.tar"), [("k", {"png": squares.picture((200, 40, 40), number)})])
    flags = ["--checkpoint", vit, "--reference", tmp_path / "set", "--images", tmp_path / "set"]
    tables = [f"--{name}={tmp_path / 't.csv'}" for name in ("reference-table", "table")]
    (tmp_path / "t.csv").write_text("key,latitude,longitude\nk,1,1\n")
    with pytest.raises(UserError, match="'k' is that of several pictures"):
        run(main, *flags, *tables)
    (tmp_path / "t.csv").write_text("key,latitude,longitude\n0.tar/k,1,1\n1.tar/k,50,1\n")
    output, _ = run(main, *flags, *tables, output="second")
    assert [row["distance_km"] for row in pq.read_table(output / "guesses-00000-of-00001.parquet").to_pylist()] == [0, 0]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--reference", "F", "--images", "F"], "pictures need a model"),
        (["--checkpoint", "VIT", "--reference", "F", "--images", "F"], "no picture with coordinates .no coordinates: 1; a key is 'a.png'"),
        (["--reference", "V.parquet", "--images", "V.parquet"], "has no coordinates"),
        (["--reference", "V.parquet", "F", "--images", "F"], "stands alone"),
        (["--checkpoint", "VIT", "--reference", "V.parquet", "--images", "V.parquet"], "nothing is left to embed"),
        (
            ["--checkpoint", "VIT", "--reference", "V.parquet", "--reference-table", "T", "--images", "F", "--table", "T"],
            "vectors of 3 numbers",
        ),
    ],
)
def test_what_the_user_can_mend_is_one_clear_error(vit, squares, run, tmp_path, flags, message):
    (tmp_path / "F").mkdir()
    (tmp_path / "F" / "a.png").write_bytes(squares.picture((200, 40, 40), 1))
    (tmp_path / "T").write_text("key,latitude,longitude\na.png,1,1\n")
    column = pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2.0, 3.0], pa.float32()), 3)
    pq.write_table(pa.table({"key": ["a.png"], "embedding": column}), tmp_path / "V.parquet")
    known = {"VIT": vit, "F": tmp_path / "F", "T": tmp_path / "T", "V.parquet": tmp_path / "V.parquet"}
    with pytest.raises(UserError, match=message):
        run(main, *[known.get(flag, flag) for flag in flags])
