"""Every filter and switch of the page against the marts, on any snapshot with deals."""

from __future__ import annotations

import typing as t

import pandas as pd
import pytest
from conftest import Open
from streamlit.testing.v1 import AppTest

from data import latest
from filters import HIDE_OWNER_NAMES
from tabs.funnel import DAYS_TO_LAST_STAGE, days_to_reach
from tabs.outcomes import UNKNOWN
from tabs.owners import MEASURES
from tabs.quality import CATALOG_URL

Rows = t.Callable[[str], pd.DataFrame]

TABS = (
    *("Funnel", "Won and lost", "Pipeline", "Months", "Where it sticks", "Owners", "Deals"),
    "Data quality",
)
COUNTINGS = {
    "at least this far": "reached_at_least_deals_count",
    "any order": "reached_deals_count",
    "in order": "reached_in_order_deals_count",
}


def table(page: AppTest, column: str) -> pd.DataFrame:
    """Return the only table of the page that has a column."""
    (found,) = [frame.value for frame in page.dataframe if column in frame.value.columns]
    return found


def months_to_choose(rows: Rows) -> pd.Series:
    """Return the months of the report, and those in which deals were closed."""
    outcomes = rows("rep_deal_outcomes_monthly").query("counted_by == 'closing'")
    return pd.concat([rows("rep_sales_funnel_trends")["month"], outcomes["month"]])


def listed(page: AppTest) -> int:
    """Return how many deals the page says that it lists."""
    counts = [text.value.split(" deals")[0] for text in page.markdown if " deals" in text.value]
    numbers = [int(count.replace(",", "")) for count in counts if count.replace(",", "").isdigit()]
    nothing = [text for text in page.info if text.value == "No deal meets these filters."]
    assert len(numbers) + len(nothing) == 1, (counts, nothing)
    return numbers[0] if numbers else 0


@pytest.mark.parametrize("tab", TABS)
def test_a_tab_opens_by_its_address(open_page: Open, tab: str) -> None:
    page = open_page(tab=tab)
    assert [text.value for text in page.subheader] == [tab]
    assert page.dataframe or page.table or page.info


def test_an_address_that_makes_no_sense_shows_the_page(open_page: Open) -> None:
    page = open_page(tab="No such", owner="x", counting="y", created_from="never")
    assert page.title[0].value == "Sales funnel"


# --- the funnel -----------------------------------------------------------------------------------


@pytest.mark.parametrize("counting", COUNTINGS)
def test_the_funnel_has_the_numbers_of_the_cohorts(
    open_page: Open, rows: Rows, counting: str
) -> None:
    cohorts = rows("rep_funnel_cohorts")
    expected = cohorts.groupby("funnel_step")[COUNTINGS[counting]].sum()
    shown = table(open_page(counting=counting), "of the stage before")
    assert [*shown["deals"]] == [*expected]
    created = cohorts.groupby("cohort_month")["cohort_deals_count"].first().sum()
    assert [*shown["of all"]] == pytest.approx([100 * deals / created for deals in expected])


def test_at_least_this_far_falls_from_step_to_step(open_page: Open) -> None:
    deals = [*table(open_page(), "of the stage before")["deals"]]
    assert deals == sorted(deals, reverse=True)
    assert deals[0] > 0


@pytest.mark.parametrize("counting", COUNTINGS)
def test_a_step_lists_exactly_the_deals_that_it_counts(open_page: Open, counting: str) -> None:
    shown = table(open_page(counting=counting), "of the stage before")
    for name, deals in zip(shown["name"], shown["deals"], strict=True):
        assert listed(open_page(counting=counting, step=name)) == deals, name


def test_a_step_lists_deals_of_the_chosen_months(open_page: Open, rows: Rows) -> None:
    cohorts = rows("rep_funnel_cohorts")
    month = cohorts["cohort_month"].max()
    address = {"created_from": f"{month:%b %Y}", "created_until": f"{month:%b %Y}"}
    expected = cohorts[cohorts["cohort_month"] == month].sort_values("funnel_step")
    shown = table(open_page(**address), "of the stage before")
    assert [*shown["deals"]] == [*expected["reached_at_least_deals_count"]]
    step = shown["name"][0]
    assert listed(open_page(**address, step=step)) == shown["deals"][0]


@pytest.mark.parametrize("until", [None, 1])
def test_cards_are_of_the_last_month_chosen_that_is_over(
    open_page: Open, rows: Rows, until: int | None
) -> None:
    last_change = rows("fct_deals")["last_changed_at"].max()
    trends = rows("rep_sales_funnel_trends")
    over = trends[trends["month"] < last_change.to_period("M").to_timestamp()]
    address = {}
    if until is not None and len(over):  # the second month of the report, or its only one
        months = sorted(over["month"].unique())
        chosen = months[min(until, len(months) - 1)]
        address, over = {"until": f"{chosen:%b %Y}"}, over[over["month"] <= chosen]
    page = open_page(**address)
    if over.empty:
        assert not page.metric
        return
    month = over["month"].max()
    expected = over[over["month"] == month].set_index("kpi_name")["deals_count"]
    cards = {card.label: card.value for card in page.metric}
    created = rows("rep_funnel_cohorts")
    created = created[created["cohort_month"] == month]["cohort_deals_count"]
    assert cards.pop("New deals") == f"{created.iloc[0] if len(created) else 0:,}"
    days = cards.pop(DAYS_TO_LAST_STAGE, None)
    assert cards == {name: f"{expected[name]:,}" for name in cards}
    last_stage = rows("dim_funnel_steps").query("source == 'stage'").iloc[-1]
    if days is None:  # a funnel of one stage
        assert not cards
        return
    assert last_stage["kpi_name"] in cards
    steps = rows("fct_deal_funnel_steps").query("kpi_name == @last_stage.kpi_name")
    steps = steps[steps["reached_at"].dt.to_period("M").dt.to_timestamp() == month]
    half = steps["seconds_to_reach"].median() / 86_400
    assert days == ("–" if pd.isna(half) else f"{half:,.0f}")


def test_days_to_a_step_are_medians_of_months(rows: Rows) -> None:
    steps = rows("fct_deal_funnel_steps").dropna(subset="seconds_to_reach")
    months = steps["reached_at"].dt.to_period("M").dt.to_timestamp()
    for number, found in steps.groupby("funnel_step"):
        shown = days_to_reach(latest(), number, str(months.max())).set_index("month")["figure"]
        expected = found.groupby(months)["seconds_to_reach"].median() / 86_400
        assert [*shown.index] == [*expected.index]
        assert [*shown] == pytest.approx([*expected])


# --- months ---------------------------------------------------------------------------------------


def test_months_have_the_numbers_of_the_report(open_page: Open, rows: Rows) -> None:
    trends = rows("rep_sales_funnel_trends")
    first = trends["month"].min()
    page = open_page(**{"tab": "Months", "from": f"{first:%b %Y}", "until": f"{first:%b %Y}"})
    shown = page.dataframe[0].value
    assert [*shown["month"]] == [f"{first:%b %Y}"]
    expected = trends[trends["month"] == first].set_index("kpi_name")["deals_count"]
    steps = [column for column in shown.columns if column != "month"]
    assert steps
    assert {step: shown[step][0] for step in steps} == {step: expected[step] for step in steps}


def test_quarters_are_sums_of_months(open_page: Open, rows: Rows) -> None:
    trends = rows("rep_sales_funnel_trends")
    (shown,) = [
        frame.value
        for frame in open_page(tab="Months").dataframe
        if "Step" in frame.value.columns and "Came to it" not in frame.value.columns
    ]
    shown = shown.set_index("Step")
    trends = trends.assign(
        quarter=trends["month"].dt.strftime("%Y Q") + trends["month"].dt.quarter.astype(str)
    )
    begins = trends["month"].min().to_period("Q").to_timestamp()
    for (step, quarter), months in trends.groupby(["kpi_name", "quarter"]):
        is_covered = trends["month"].min() == begins or months["month"].dt.to_period("Q").iloc[
            0
        ] > trends["month"].min().to_period("Q")
        value = shown.loc[step, quarter]
        assert (value == months["deals_count"].sum()) if is_covered else pd.isna(value)
    assert len(shown) == trends["kpi_name"].nunique()


def test_cohorts_have_the_shares_of_the_mart(open_page: Open, rows: Rows) -> None:
    shown = open_page(tab="Months").dataframe[-1].value.set_index("month")
    for row in rows("rep_funnel_cohorts").itertuples():
        share = round(100 * float(row.share_of_cohort_at_least))
        assert shown.loc[f"{row.cohort_month:%b %Y}", row.kpi_name] == pytest.approx(share, abs=1)


def test_all_cohorts_have_the_numbers_of_the_mart(open_page: Open, rows: Rows) -> None:
    shown = table(open_page(tab="Months"), "Came to it").set_index("Step")
    expected = rows("rep_funnel_all_cohorts").set_index("kpi_name")
    assert {*shown.index} == {*expected.index}
    for step, row in expected.iterrows():
        assert shown.loc[step, "Came to it"] == row["reached_deals_count"]
        for title, column in {
            "Of all, %": "share_of_created",
            "It or further, %": "share_of_created_at_least",
            **{f"In {days} days, %": f"share_within_{days}_days" for days in (30, 60, 90)},
        }.items():
            share, found = row[column], shown.loc[step, title]
            assert pd.isna(found) if pd.isna(share) else abs(found - 100 * float(share)) <= 0.501


# --- won and lost, and what is open ---------------------------------------------------------------


def has_status(rows: Rows) -> bool:
    return bool(rows("fct_deals")["status"].notna().any())


@pytest.mark.parametrize("tab", ["Won and lost", "Pipeline", "Owners"])
def test_without_status_a_tab_says_why_it_is_empty(open_page: Open, rows: Rows, tab: str) -> None:
    said = [text.value for text in open_page(tab=tab).info]
    assert (UNKNOWN in said) is not has_status(rows)


def test_won_and_lost_deals_are_those_of_the_mart(open_page: Open, rows: Rows) -> None:
    if not has_status(rows):
        return
    page = open_page(tab="Won and lost")
    outcomes = rows("rep_deal_outcomes_monthly")
    outcomes["value"] = outcomes["won_value"].astype(float)
    currency = outcomes[outcomes["counted_by"] == "creation"]
    currency = currency.groupby("currency")["deals_count"].sum().sort_index()
    currency = currency.sort_values(ascending=False, kind="stable").index[0]
    closed = outcomes[outcomes["counted_by"] == "closing"]
    shown = table(page, "win rate").set_index("month")
    assert len(shown) == closed["month"].nunique()
    for month, found in closed.groupby("month"):
        row = shown.loc[f"{month:%b %Y}"]
        won, lost = found["won_deals_count"].sum(), found["lost_deals_count"].sum()
        assert (row["won"], row["lost"]) == (won, lost)
        assert row["win rate"] == (f"{100 * won / (won + lost):.0f} %" if won + lost else "–")
        values = found.loc[found["currency"] == currency, "value"]
        value = row[f"value won, {currency}"]
        assert (
            pd.isna(value) if values.isna().all() else value == pytest.approx(values.sum(), abs=1)
        )
    created = outcomes[outcomes["counted_by"] == "creation"]
    shown = table(page, "open").set_index("month")
    for month, found in created.groupby("month"):
        counts = found[["won_deals_count", "lost_deals_count", "open_deals_count"]].sum()
        assert [*shown.loc[f"{month:%b %Y}", ["won", "lost", "open"]]] == [*counts]


def test_a_card_of_outcomes_is_of_the_last_month_that_is_over(open_page: Open, rows: Rows) -> None:
    deals = rows("fct_deals")
    closed = deals["won_at"].fillna(deals["lost_at"])
    months = closed.dt.to_period("M").dt.to_timestamp()
    over = months[months < deals["last_changed_at"].max().to_period("M").to_timestamp()]
    cards = {card.label: card.value for card in open_page(tab="Won and lost").metric}
    if over.empty:
        assert not cards
        return
    won = deals[(months == over.max()) & (deals["status"] == "won")]
    assert cards["Deals won"] == f"{len(won):,}"
    days = won["days_to_close"].astype(float).median()
    assert cards["Days to win"] == ("–" if pd.isna(days) else f"{days:.0f}")


def test_open_deals_are_in_stages_and_in_the_forecast(open_page: Open, rows: Rows) -> None:
    if not has_status(rows):
        return
    report, deals = rows("rep_pipeline_monthly"), rows("fct_deals")
    page = open_page(tab="Pipeline")
    now = report[~report["is_month_over"]]
    if len(now):
        assert table(page, "Open deals")["Open deals"].sum() == now["deals_count"].sum()
    dated = deals[(deals["status"] == "open") & deals["expected_close_date"].notna()]
    if len(dated):
        assert table(page, "overdue")["deals"].sum() == len(dated)


def test_a_pipeline_is_alone(open_page: Open, rows: Rows) -> None:
    deals = rows("fct_deals")
    pipelines = deals["pipeline_id"].dropna().unique()
    choices = [box for box in open_page(tab="Deals").selectbox if box.key == "pipeline"]
    assert len(choices) == (len(pipelines) > 1)
    if choices:
        names = choices[0].options[1:]
        assert len(names) == len(pipelines)
        counts = sorted(listed(open_page(tab="Deals", pipeline=name)) for name in names)
        assert counts == sorted(deals["pipeline_id"].value_counts())
        open_page(tab="Won and lost", pipeline=names[0])
        open_page(tab="Pipeline", pipeline=names[-1])


# --- where it sticks ------------------------------------------------------------------------------


def test_stages_say_who_left_and_who_is_there(open_page: Open, rows: Rows) -> None:
    shown = table(open_page(tab="Where it sticks"), "Left it").set_index("Stage")
    entries = rows("fct_stage_entries")
    months = months_to_choose(rows)
    exits = entries["stage_exit_timestamp"].dt.to_period("M").dt.to_timestamp()
    named = entries.assign(
        stage=entries["stage_name"].fillna("Stage " + entries["stage_id"].astype(str))
    )
    left = named[exits.between(months.min(), months.max())].groupby("stage")["seconds_in_stage"]
    there = named[named["stage_exit_timestamp"].isna()].groupby("stage").size()
    came = named.groupby("stage").size()
    assert {*shown.index} == {*came.index}
    for stage, row in shown.iterrows():
        spans = left.get_group(stage) if stage in left.groups else pd.Series(dtype=float)
        assert row["Left it"] == len(spans)
        assert row["There now"] == there.get(stage, 0)
        of_all = 100 * there.get(stage, 0) / came[stage]
        assert row["Of all that came, %"] == pytest.approx(of_all, abs=0.501)
        if len(spans):
            for title, part in (("Half after days", 0.5), ("Nine in ten after days", 0.9)):
                assert row[title] == pytest.approx(spans.quantile(part) / 86_400, abs=0.051)


# --- who, and which deals -------------------------------------------------------------------------


def name_of(owner: int, page: AppTest, rows: Rows) -> str:
    """Return the name under which the page lets an owner be chosen."""
    users = rows("dim_users").set_index("user_id")["user_name"]
    found = users.get(owner)
    name = found if isinstance(found, str) else f"User {owner}"
    (shown,) = {name, f"{name} ({owner})"} & {*page.selectbox(key="owner").options}
    return shown


def test_an_owner_is_alone(open_page: Open, rows: Rows) -> None:
    deals, report = rows("fct_deals"), rows("rep_owner_performance_monthly")
    owner = int(report.loc[report["user_id"] >= 0, "user_id"].mode()[0])
    name = name_of(owner, open_page(), rows)
    page = open_page(tab="Deals", owner=name)
    assert listed(page) == (deals["owner_user_id"] == owner).sum()
    page = open_page(tab="Owners", owner=name)
    shown = table(page, "Entries into stages")
    events = report[report["user_id"] == owner].groupby("measure")["events_count"].sum()
    assert len(shown) == 1
    for measure, title in MEASURES.items():
        assert shown[title].iloc[0] == events.get(measure, 0)


def test_changes_of_owner_are_counted(open_page: Open, rows: Rows) -> None:
    owners = rows("dim_deal_owner_history").groupby("deal_id")["user_id"].nunique()
    deals = rows("fct_deals")
    said = [
        text.value for text in open_page(tab="Owners").markdown if "changed owner" in text.value
    ]
    assert len(said) == 1
    assert f"{(owners > 1).sum():,} of {len(deals):,} deals" in said[0]
    assert f"{deals['owner_user_id'].nunique():,} people own a deal now" in said[0]


def test_activities_are_done_planned_or_overdue(open_page: Open, rows: Rows) -> None:
    activities = rows("fct_deal_activities")
    due = activities[activities["due_timestamp"].notna()]
    months = months_to_choose(rows)
    due = due[
        due["due_timestamp"].dt.to_period("M").dt.to_timestamp().between(months.min(), months.max())
    ]
    shown = table(open_page(tab="Owners"), "% done").set_index("activity")
    (as_of,) = rows("rep_owner_performance_monthly")["as_of"].unique()
    label = due["activity_type_name"].fillna(due["activity_type_key"]).fillna("unknown")
    for name, found in due.groupby(label):
        assert shown.loc[name, "done"] == found["is_completed"].sum()
        waiting = found.loc[~found["is_completed"], "due_timestamp"]
        assert shown.loc[name, "overdue"] == (waiting < as_of).sum()
        assert shown.loc[name, "planned"] == (waiting >= as_of).sum()
    assert len(shown) == label.nunique()


def test_owners_have_what_they_won_and_what_is_open(open_page: Open, rows: Rows) -> None:
    if not has_status(rows):
        shown = table(open_page(tab="Owners"), "Activities overdue")
        assert not {"Won", "Lost", "Win rate, %", "Open now"} & {*shown.columns}
        return
    deals, history = rows("fct_deals"), rows("dim_deal_owner_history")
    deals["value"] = deals["value"].astype(float)
    deals["closed_at"] = deals["won_at"].fillna(deals["lost_at"])
    then = deals[deals["closed_at"].notna()].merge(history, how="left", on="deal_id")
    owned = then["closed_at"].ge(then["valid_from"]) & ~then["closed_at"].ge(then["valid_to"])
    for owner in map(int, then.loc[owned, "user_id"].value_counts().index[:3]):
        now = deals[(deals["owner_user_id"] == owner) & (deals["status"] == "open")]
        closed = then[owned & (then["user_id"] == owner)]
        won, lost = (closed[closed["status"] == status] for status in ("won", "lost"))
        page = open_page(tab="Owners", owner=name_of(owner, open_page(), rows))
        row = table(page, "Open now").iloc[0]
        assert [*row[["Won", "Lost", "Open now"]]] == [len(won), len(lost), len(now)]
        rate = 100 * len(won) / (len(won) + len(lost))
        assert row["Win rate, %"] == pytest.approx(rate, abs=0.501)
        (currency,) = {column[-3:] for column in row.index if column.startswith("Value won")}
        for title, found in (("won", won), ("open", now)):
            value = found.loc[found["currency"] == currency, "value"]
            shown = row[f"Value {title}, {currency}"]
            assert pd.isna(shown) if value.isna().all() else abs(shown - value.sum()) < 1


def test_names_of_owners_can_be_hidden(
    open_page: Open, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {*rows("dim_users")["user_name"].dropna()}
    shown = {*table(open_page(tab="Owners"), "Owner")["Owner"]}
    assert shown & names
    monkeypatch.setenv(HIDE_OWNER_NAMES, "true")
    for tab in ("Deals", "Owners"):
        page = open_page(tab=tab)
        assert not {*table(page, "Owner")["Owner"].dropna()} & names
        assert not {*page.selectbox(key="owner").options} & names


def test_the_search_finds_a_deal_by_its_number(open_page: Open, rows: Rows) -> None:
    deals = rows("fct_deals")
    assert listed(open_page(tab="Deals")) == len(deals)
    number = str(deals["deal_id"].max())
    expected = deals[["deal_id", "current_stage", "lost_reason"]].fillna("").astype(str)
    assert listed(open_page(tab="Deals", search=number)) == sum(
        any(number in text for text in row) for row in expected.itertuples(index=False)
    )
    page = open_page(tab="Deals", search="no such deal'; DROP VIEW fct_deals")
    assert listed(page) == 0
    assert listed(open_page(tab="Deals")) == len(deals)


def test_the_history_of_a_deal_has_all_that_happened(rows: Rows) -> None:
    """In a browser a chosen row opens it, which `make test-page` does."""
    deal = int(rows("fct_stage_entries")["deal_id"].mode()[0])

    def one_deal(deal: int) -> None:
        from data import latest
        from tabs.deals import history

        history(latest(), deal)

    page = AppTest.from_function(one_deal, default_timeout=60, kwargs={"deal": deal}).run()
    assert not page.exception, page.exception
    shown = page.dataframe[0].value
    sources = (
        *("fct_stage_entries", "fct_deal_activities", "dim_deal_owner_history"),
        "fct_deal_status_history",
    )
    assert len(shown) == sum((rows(mart)["deal_id"] == deal).sum() for mart in sources)
    assert shown["When"].dropna().is_monotonic_increasing


def test_deals_of_a_stage_are_listed(open_page: Open, rows: Rows) -> None:
    stages = rows("fct_deals")["current_stage"].dropna()
    stage = stages.mode()[0]
    page = open_page(tab="Where it sticks", stage=stage)
    assert listed(page) == (stages == stage).sum()


# --- data quality ---------------------------------------------------------------------------------


def test_warnings_come_first_and_the_badge_counts_them(open_page: Open, rows: Rows) -> None:
    report = rows("rep_data_quality")
    found = report[report["rows_count"] > 0].set_index("check_name")["severity"]
    warnings = {*found[found == "warning"].index}
    page = open_page(tab="Data quality")
    assert any(f"{len(warnings)} data warnings" in text.value for text in page.markdown)
    first, second = [frame.value for frame in page.table]
    assert {*first.index} == warnings
    assert {*second.index} == {*found.index} - warnings


def test_the_rows_of_a_check_are_shown(open_page: Open, rows: Rows) -> None:
    findings = rows("fct_data_quality_findings")
    check = findings["check_name"].mode()[0]
    shown = table(open_page(tab="Data quality", check=check), "Row")
    expected = sorted(findings[findings["check_name"] == check]["finding"])[:500]
    assert [*shown["Row"]] == expected


def test_a_check_leads_to_its_table_in_the_catalog(
    open_page: Open, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = rows("rep_data_quality")
    found = report[(report["rows_count"] > 0) & report["checked_table"].notna()]
    check, table_name = found.iloc[0][["check_name", "checked_table"]]
    link = f"[{table_name} in the catalog](https://catalog.example/#/model/model.pipedrive_funnel."

    def links() -> list[str]:
        page = open_page(tab="Data quality", check=check)
        return [text.value for text in page.markdown if "in the catalog" in text.value]

    monkeypatch.delenv(CATALOG_URL, raising=False)
    assert links() == []
    monkeypatch.setenv(CATALOG_URL, "https://catalog.example/")
    assert links() == [f"{link}{table_name})"]
