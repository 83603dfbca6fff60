"""The synthetic export in seeds/: its report, its oddities, its formats and its generator."""

import io
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipedrive_funnel.sample import generate as sample
from tests.support.figures import FUNNEL
from tests.support.warehouse import PROJECT, sample_files

HEADERS = {
    "activity": "activity_id,type,assigned_to_user,deal_id,done,due_to",
    "activity_types": "id,name,active,type",
    "deal_changes": "deal_id,change_time,changed_field_key,new_value",
    "deals": "deal_id,title,pipeline_id,stage_id,status,value,currency,probability,"
    "expected_close_date,won_time,lost_time,close_time,org_id,is_deleted,is_archived,custom_fields",
    "fields": "ID,FIELD_KEY,NAME,FIELD_VALUE_OPTIONS",
    "pipelines": "pipeline_id,pipeline_name,order_nr,is_deleted",
    "pipeline_stages": "stage_id,pipeline_id,order_nr,deal_probability",
    "stages": "stage_id,stage_name",
    "users": "id,name,email,modified",
}


def expected_report() -> pd.DataFrame:
    """Return the known funnel as a table, a line a month and a column a step."""
    table = pd.read_csv(io.StringIO(FUNNEL), sep=" ", index_col="month", na_values=".")
    return table.fillna(0).astype(int)


def read(directory: Path) -> dict[str, pd.DataFrame]:
    """Read the files of a directory; every value stays text, an empty one stays empty."""
    return {
        name: pd.read_csv(directory / f"{name}.csv", dtype=str, keep_default_na=False)
        for name in HEADERS
    }


def times(column: pd.Series) -> pd.Series:
    """Parse a column of timestamps, with a blank or a T between date and time."""
    return pd.to_datetime(column.str.replace("T", " "), format="%Y-%m-%d %H:%M:%S")


def report(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Count deals a month and step, by the rule that the project's report follows."""
    log = tables["deal_changes"]
    entries = log[log["changed_field_key"] == "stage_id"]
    firsts = entries.groupby(["deal_id", "new_value"])["change_time"].min().reset_index()
    stages = pd.DataFrame({"month": firsts["change_time"].str[:7], "step": firsts["new_value"]})

    activity = tables["activity"]
    done = activity[activity["done"] == "True"]
    steps = done["type"].map({"meeting": "2.1", "sc_2": "3.1"})
    calls = pd.DataFrame({"month": done["due_to"].str[:7], "step": steps, "deal": done["deal_id"]})
    calls = calls.dropna(subset="step").drop_duplicates()

    counted = pd.concat([stages, calls])
    return pd.crosstab(counted["month"], counted["step"])


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    """Read the sample."""
    return read(sample_files())


@pytest.fixture(scope="module")
def log(tables) -> pd.DataFrame:
    """Return the change log with its times parsed."""
    return tables["deal_changes"].assign(time=lambda rows: times(rows["change_time"]))


@pytest.fixture(scope="module")
def entries(log) -> pd.DataFrame:
    """Return all stage entries, a deal's in order of time, with the stage entered before."""
    rows = log[log["changed_field_key"] == "stage_id"].astype({"new_value": int})
    rows = rows.rename(columns={"new_value": "stage"}).sort_values(["deal_id", "time", "stage"])
    return rows.assign(previous=rows.groupby("deal_id")["stage"].shift())


@pytest.fixture(scope="module")
def created(log) -> pd.Series:
    """Return each deal's creation time."""
    return log[log["changed_field_key"] == "add_time"].groupby("deal_id")["time"].min()


@pytest.fixture(scope="module")
def activity(tables, created) -> pd.DataFrame:
    """Return the activities with their times parsed and their deals' creation (NaT: unknown)."""
    return tables["activity"].assign(
        due=lambda rows: times(rows["due_to"]),
        created=lambda rows: rows["deal_id"].map(created),
    )


@pytest.fixture(scope="module")
def scaled(tmp_path_factory) -> Path:
    """Write three times the sample."""
    out = tmp_path_factory.mktemp("scaled")
    sample.main(["--out", str(out), "--scale", "3"])
    return out


# --- the files ------------------------------------------------------------------------------------


def test_a_changed_file_is_nobodys_sample(tmp_path):
    sample.write_sample(tmp_path)
    assert sample.is_sample(tmp_path)
    users = tmp_path / "users.csv"
    users.write_text(users.read_text().replace("\n1,", "\n1001,", 1))
    assert not sample.is_sample(tmp_path)


def test_committed_files_are_what_the_generator_writes(tmp_path):
    committed = [f"seeds/{name}.csv" for name in HEADERS]
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", *committed], cwd=PROJECT)
    if changed.returncode == 1:
        pytest.skip("seeds/ holds another export than the committed sample")
    sample.main(["--out", str(tmp_path)])
    assert sorted(file.stem for file in tmp_path.iterdir()) == sorted(HEADERS)
    for name in HEADERS:
        written = (tmp_path / f"{name}.csv").read_bytes()
        assert written == (PROJECT / "seeds" / f"{name}.csv").read_bytes(), name


@pytest.mark.parametrize("name", HEADERS)
def test_header_and_line_ends(name):
    content = (sample_files() / f"{name}.csv").read_bytes()
    assert content.startswith(HEADERS[name].encode() + b"\n")
    assert content.endswith(b"\n")
    assert b"\r" not in content


def test_formats_are_those_of_a_real_export(tables, log):
    second = r"\d{4}-\d\d-\d\d{}\d\d:\d\d:\d\d"
    is_creation = log["changed_field_key"] == "add_time"
    assert set(tables["activity"]["done"]) == {"True", "False"}
    assert tables["activity"]["due_to"].str.fullmatch(second.replace("{}", "T")).all()
    assert log["change_time"].str.fullmatch(second.replace("{}", " ")).all()
    assert log["new_value"][is_creation].str.fullmatch(second.replace("{}", "T")).all()
    assert log["new_value"][~is_creation].str.fullmatch(r"\d+").all()
    assert tables["users"]["modified"].str.fullmatch(second.replace("{}", " ") + r"\.\d{6}").all()


# --- the numbers ----------------------------------------------------------------------------------


def test_report(tables):
    pd.testing.assert_frame_equal(report(tables), expected_report(), check_names=False)


def test_rows(tables, entries, activity):
    assert {name: len(table) for name, table in tables.items()} == {
        "activity": 4_579,
        "activity_types": 4,
        "deal_changes": 15_301,
        "deals": 1_995,
        "fields": 4,
        "pipelines": 2,
        "pipeline_stages": 9,
        "stages": 9,
        "users": 1_787,
    }
    assert tables["deal_changes"]["changed_field_key"].value_counts().to_dict() == {
        "add_time": 2_000,
        "stage_id": 8_906,
        "user_id": 2_500,
        "lost_reason": 1_895,
    }
    assert tables["deal_changes"]["deal_id"].nunique() == 1_995
    assert len(entries.drop_duplicates(["deal_id", "stage"])) == 8_891
    done = activity[activity["done"] == "True"]["type"].value_counts().to_dict()
    assert done == {"meeting": 568, "sc_2": 560, "follow_up": 567, "after_close_call": 595}


# --- the oddities ---------------------------------------------------------------------------------


def test_repeated_entries_and_backward_moves(entries):
    assert entries.duplicated(["deal_id", "stage"]).sum() == 15
    assert (entries["stage"] < entries["previous"]).sum() == 8
    assert (entries["stage"] > entries["previous"] + 1).sum() > 2_000, "forward skips"


def test_deals_created_twice(log, created):
    rows = log[log["changed_field_key"] == "add_time"]
    second = rows[rows["deal_id"].duplicated()].set_index("deal_id")["time"]
    lag = second - created[second.index]
    assert len(lag) == lag.index.nunique() == 5
    assert lag.between("10min", "40h").all()


def test_changes_in_the_same_second(log):
    same = log[log.duplicated(["deal_id", "time"], keep=False)]
    pairs = same.groupby(["deal_id", "time"])["changed_field_key"].agg(",".join)
    expected = {"stage_id,stage_id": 2, "user_id,stage_id": 2}
    assert pairs.value_counts().to_dict() == expected


def test_shared_activity_ids_are_of_sales_calls_of_different_deals(activity):
    shared = activity[activity["activity_id"].duplicated(keep=False)]
    assert shared["activity_id"].nunique() == 11
    assert (shared.groupby("activity_id")["deal_id"].agg(["size", "nunique"]) == 2).all(axis=None)
    assert set(shared["type"]) == {"meeting", "sc_2"}
    assert set(shared["done"]) == {"True"}


def test_activities_of_unknown_deals(activity):
    assert activity["created"].isna().sum() == 40


def test_shared_names_and_addresses(tables):
    users = tables["users"]
    for column, count in (("name", 21), ("email", 4)):
        shared = users[column].value_counts()
        assert (shared == 2).sum() == count
        assert shared.max() == 2


# --- keys and references --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("activity", ["activity_id", "deal_id"]),
        ("activity_types", ["id"]),
        ("activity_types", ["type"]),
        ("deal_changes", ["deal_id", "change_time", "changed_field_key", "new_value"]),
        ("fields", ["FIELD_KEY"]),
        ("stages", ["stage_id"]),
        ("users", ["id"]),
    ],
)
def test_keys_are_unique_and_filled(tables, name, key):
    assert not tables[name].duplicated(key).any()
    assert (tables[name][key] != "").all(axis=None)


def test_no_orphans(tables):
    activity, log = tables["activity"], tables["deal_changes"]
    values = log.groupby("changed_field_key")["new_value"].agg(set)
    assert set(activity["assigned_to_user"]) <= set(tables["users"]["id"])
    assert values["user_id"] <= set(tables["users"]["id"])
    assert set(activity["type"]) == set(tables["activity_types"]["type"])
    assert values["stage_id"] == set(tables["stages"]["stage_id"])
    assert set(values.index) == set(tables["fields"]["FIELD_KEY"])


def test_field_options_name_the_stages_and_lost_reasons(tables):
    options = tables["fields"].set_index("FIELD_KEY")["FIELD_VALUE_OPTIONS"]
    stages = pd.read_json(io.StringIO(options["stage_id"]), dtype=str)
    assert stages.to_numpy().tolist() == tables["stages"].to_numpy().tolist()
    reasons = pd.read_json(io.StringIO(options["lost_reason"]), dtype=str)
    log = tables["deal_changes"]
    lost = log[log["changed_field_key"] == "lost_reason"]
    assert set(lost["new_value"]) == set(reasons["id"])


def test_addresses_are_of_reserved_domains(tables):
    domains = tables["users"]["email"].str.split("@").str[1]
    assert set(domains) == {"example.com", "example.org", "example.net"}


# --- plausibility ---------------------------------------------------------------------------------


def test_log_goes_deal_by_deal_in_time_order(log):
    blocks = (log["deal_id"] != log["deal_id"].shift()).sum()
    assert blocks == log["deal_id"].nunique()
    assert log.groupby("deal_id")["time"].agg(lambda time: time.is_monotonic_increasing).all()
    assert log["time"].min() >= pd.Timestamp("2024-01-01")


def test_add_time_is_the_instant_of_the_change(log):
    rows = log[log["changed_field_key"] == "add_time"]
    assert (times(rows["new_value"]) == rows["time"]).all()


def test_stage_1_follows_creation_within_2_to_83_days(entries, created):
    first = entries[entries["stage"] == 1].groupby("deal_id")["time"].min()
    lag = (first - created).dt.total_seconds() / 86_400
    assert len(lag) == len(created)
    assert lag.between(2, 83).all()
    assert 33 <= lag.median() <= 37


def test_gaps_between_stages_are_days_to_weeks(entries):
    gap = entries.groupby("deal_id")["time"].diff().dropna().dt.total_seconds() / 86_400
    assert (gap == 0).sum() == 2, "the stages entered in the same second"
    assert gap[gap > 0].between(1, 40).all()
    assert gap.nunique() > 6_000


def test_first_owner_comes_before_the_first_stage_and_handovers_change_it(log, entries):
    owners = log[log["changed_field_key"] == "user_id"]
    first_entry = entries.groupby("deal_id")["time"].min()
    assert (owners.groupby("deal_id")["time"].min() < first_entry).all()
    assert not owners.duplicated(["deal_id", "new_value"]).any()


def test_lost_reason_comes_last_and_is_no_flag_for_lost(log, entries):
    lost = log[log["changed_field_key"] == "lost_reason"].set_index("deal_id")["time"]
    last = entries.groupby("deal_id").last()
    assert lost.index.is_unique
    assert (lost > last["time"][lost.index]).all()
    assert (last["stage"][lost.index] == 9).any()


def test_activities_follow_the_creation_of_their_deal(activity):
    known = activity.dropna(subset="created")
    assert (known["due"] > known["created"]).all()
    assert activity["due"].max() < pd.Timestamp("2024-09-14")


def test_activities_belong_to_the_owner_of_that_time(activity, log):
    owners = log[log["changed_field_key"] == "user_id"].sort_values("time")
    owned = pd.merge_asof(
        activity.dropna(subset="created").sort_values("due"),
        owners[["deal_id", "time", "new_value"]],
        left_on="due",
        right_on="time",
        by="deal_id",
    )
    assert (owned["assigned_to_user"] == owned["new_value"]).all()


def test_done_sales_calls_are_one_a_deal_in_order_and_mostly_in_their_stage(activity, entries):
    done = activity[activity["done"] == "True"].set_index("deal_id")
    call_1, call_2 = (done[done["type"] == kind]["due"] for kind in ("meeting", "sc_2"))
    assert call_1.index.is_unique
    assert call_2.index.is_unique
    assert (call_2 - call_1).dropna().min() >= pd.Timedelta("1D")

    entered = entries[entries["stage"] == 1].groupby("deal_id")["time"].min()
    lag = (call_1 - entered).dropna()
    assert lag.between("0D", "21D").mean() > 0.9


# --- the generator --------------------------------------------------------------------------------


def test_scale_3_is_three_times_the_sample(scaled, tables):
    large = read(scaled)
    pd.testing.assert_frame_equal(report(large), 3 * expected_report(), check_names=False)
    assert large["deal_changes"]["deal_id"].nunique() == 3 * 1_995
    assert len(large["activity"]) == 3 * 4_579
    assert large["activity"]["activity_id"].duplicated().sum() == 3 * 11
    assert not large["activity"].duplicated(["activity_id", "deal_id"]).any()
    assert not large["deal_changes"].duplicated().any()
    moments = large["deal_changes"]["change_time"].nunique()
    assert moments > 2.9 * tables["deal_changes"]["change_time"].nunique(), "a copy, not new deals"


def test_deals_are_worth_something_and_end(tables, log, entries):
    """The list of deals agrees with the log, which does not say how a deal has ended."""
    deals = tables["deals"].astype({"deal_id": int}).set_index("deal_id")
    of_log = log.astype({"deal_id": int}).groupby("deal_id")
    assert {*deals.index} == {*of_log.groups}
    last = entries.astype({"deal_id": int}).groupby("deal_id")["stage"].last()
    assert (deals["stage_id"].astype(int) == last.reindex(deals.index)).all()
    assert (deals["pipeline_id"] == "1").all()

    closed = deals["status"] != "open"
    assert deals["status"].value_counts().to_dict() == {"won": 1_153, "lost": 742, "open": 100}
    last_change = of_log["time"].max().reindex(deals.index)
    assert (times(deals.loc[closed, "close_time"]) == last_change[closed]).all()
    assert (deals.loc[~closed, ["won_time", "lost_time", "close_time"]] == "").all(axis=None)
    for status, column in (("won", "won_time"), ("lost", "lost_time")):
        is_it = deals["status"] == status
        assert (deals.loc[is_it, column] == deals.loc[is_it, "close_time"]).all()
        assert (deals.loc[~is_it, column] == "").all()
    furthest = entries.astype({"deal_id": int}).groupby("deal_id")["stage"].max()
    won = (deals["status"] == "won").groupby(furthest).mean()
    assert won[[1, 5, 9]].is_monotonic_increasing  # who gets far is won

    values = deals.loc[deals["value"] != "", "value"].astype(float)
    assert len(values) == 1_995 - 20
    assert values.between(500, 40_000).all()
    assert 0.7 < (deals["currency"] == "EUR").mean() < 0.8
    assert {*deals["currency"]} == {"EUR", "USD"}


def test_scaled_files_begin_with_the_sample(scaled):
    for name in HEADERS:
        small = (sample_files() / f"{name}.csv").read_bytes()
        large = (scaled / f"{name}.csv").read_bytes()
        assert large.startswith(small)
        assert (large == small) == (name not in ("activity", "deal_changes", "deals")), name


@pytest.mark.parametrize("seed", range(3))
def test_every_seed_gives_the_report(tmp_path, seed):
    sample.main(["--out", str(tmp_path), "--seed", str(seed)])
    pd.testing.assert_frame_equal(report(read(tmp_path)), expected_report(), check_names=False)
    for name in ("activity", "deal_changes", "deals", "users"):
        written = (tmp_path / f"{name}.csv").read_bytes()
        assert written != (sample_files() / f"{name}.csv").read_bytes()


def test_memory_does_not_grow_with_the_scale(tmp_path):
    def peak(scale: int) -> int:
        tracemalloc.start()
        sample.write_sample(tmp_path, scale)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(4) < 1.5 * peak(1)


def test_assign_keeps_to_counts_and_earliest():
    january, february = sample.MONTHS[0], sample.MONTHS[1]
    earliest = np.array([january + 5, january + 5, february + 5])
    wish = np.array([january + 9, january, january])
    counts = np.array([2, 1] + [0] * 12)
    given = sample.assign(np.random.default_rng(0), counts, earliest, wish)
    assert given[:2].tolist() == [january + 9, january + 5]
    assert given[2] >= february + 5


@pytest.mark.parametrize(
    ("earliest", "until"),
    [(sample.MONTHS[1], sample.MONTHS[-1]), (sample.MONTHS[0], sample.MONTHS[0])],
)
def test_assign_refuses_what_cannot_be(earliest, until):
    rng, counts, times_ = np.random.default_rng(0), np.array([1] + [0] * 13), np.array([earliest])
    with pytest.raises(RuntimeError, match="needs 1 deals, but only 0"):
        sample.assign(rng, counts, times_, times_, until)


def test_check_report_refuses_another_report():
    deals = sample.make_deals(np.random.default_rng(0))
    log = sample.make_log(np.random.default_rng(0), deals)
    activities = sample.make_activities(np.random.default_rng(0), deals)
    sample.check_report(log, activities)
    with pytest.raises(RuntimeError, match="step 2.1"):
        sample.check_report(log, activities[activities["due"] >= sample.MONTHS[1]])
    with pytest.raises(RuntimeError, match="step 9"):
        sample.check_report(log[log[:, 3] != 9], activities)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scale", "0"], "a whole number from 1 to 2147"),
        (["--scale", "-3"], "a whole number from 1 to 2147"),
        (["--scale", "2148"], "a whole number from 1 to 2147"),
        (["--scale", "1.5"], "a whole number from 1 to 2147, got '1.5'"),
        (["--seed", "-1"], "a whole number from 0 up"),
        (["--sacle", "2"], "unrecognized arguments"),
    ],
)
def test_arguments_that_make_no_sense(tmp_path, capsys, arguments, message):
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as exit_:
        sample.main(["--out", str(out), *arguments])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_a_file_in_place_of_the_directory(tmp_path, capsys):
    (tmp_path / "taken").touch()
    with pytest.raises(SystemExit) as exit_:
        sample.main(["--out", str(tmp_path / "taken")])
    assert exit_.value.code == 2
    assert "cannot write to" in capsys.readouterr().err
