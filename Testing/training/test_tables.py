"""`lvnet-train tables` prints the paper's numbers and ours, without inventing any."""

import json

import pytest
from lvnet_training import paper_tables
from lvnet_training.cli import main
from lvnet_training.paper import TABLE_2, TABLE_3
from lvnet_training.paper_tables import table_1, table_2, table_3


def row(table, name):
    return next(r for r in table.rows if r[0] == name)


def test_table_3_has_the_papers_numbers_beside_ours():
    table = table_3()
    assert [r[0] for r in table.rows] == ["U-Net", "CE-Net", "3D U-Net", "V-Net", "LV-Net"]
    vnet = row(table, "V-Net")
    assert vnet[1:4] == ("65,173,903", "65,173,903", "0")
    assert vnet[4:6] == ("516.12", "515.94")
    assert row(table, "LV-Net")[1:4] == ("1,659,282", "1,663,026", "+0.226 %")
    assert {len(r) for r in table.rows} == {len(table.head)}


def test_table_1_counts_the_modules_themselves():
    table = table_1()
    assert row(table, "total")[2:] == ("64,768", "64,768 (12.65%)", "k^3 C^2", "512,000", "512,000 (100 %)")
    for _, _, paper, ours, _, paper_vanilla, ours_vanilla in table.rows:
        assert ours.startswith(paper) and ours_vanilla.startswith(paper_vanilla)
    assert {len(r) for r in table.rows} == {len(table.head)}


def test_table_2_takes_the_files_of_both_evaluation_commands(tmp_path):
    case = {"dice": 0.9, "voe": 0.2, "rvd": 0.01, "assd_mm": 2.0, "mssd_mm": 20.0}
    worse = {**case, "dice": 0.8, "assd_mm": None, "assd_mm_reason": "nothing was found"}
    folders = tmp_path / "folders.json"
    folders.write_text(json.dumps({"preset": "lits", "cases": {"a": case, "b": worse}, "summary": {"dice": {}}}))
    training = tmp_path / "V-Net.json"
    training.write_text(json.dumps({"a": case}))
    table = table_2([f"lvnet={folders}", str(training)])
    assert row(table, "LV-Net")[1:4] == ("2", "0.9543", "0.8500")
    assert row(table, "LV-Net")[8:10] == ("1.8705", "2.0000")
    assert row(table, "V-Net")[1:4] == ("1", "0.9426", "0.9000")
    assert row(table, "U-Net")[1:] == ("-", "0.9399", "-", "0.1114", "-", "0.0322", "-", "5.7985", "-", "123.5763", "-")
    assert any("ASSD mm of LV-Net: mean without 1 undefined" in remark for remark in table.remarks)


def test_table_2_gives_a_row_of_its_own_to_a_run_that_the_paper_has_not(tmp_path):
    file = tmp_path / "eps6.json"
    file.write_text(json.dumps({"dice": 0.93, "voe": 0.1, "rvd": 0.0, "assd_mm": 1.0, "mssd_mm": 9.0}))
    assert row(table_2([str(file)]), "eps6")[1:4] == ("1", "-", "0.9300")


def test_what_was_not_run_is_a_dash_and_what_the_paper_prints_is_there():
    rows = table_2([]).rows
    assert {cell for r in rows for cell in r[3::2]} == {"-"}
    assert "-" not in {cell for r in rows for cell in r[2::2]}
    assert row(table_2([]), "LV-Net")[2::2] == ("0.9543", "0.0856", "0.0156", "1.8705", "29.4960")


def test_the_papers_shares_of_v_net_follow_from_its_table_3():
    light, heavy = TABLE_3["lvnet"], TABLE_3["vnet"]
    assert [round(100 * ours / theirs, 2) for ours, theirs in zip(light, heavy)] == [2.55, 11.25, 2.64]


def test_results_of_a_comparison_are_printed_where_the_repository_holds_them(tmp_path, capsys, monkeypatch):
    case = {"dice": 0.5, "voe": 0.2, "rvd": 0.01, "assd_mm": 2.0, "mssd_mm": 20.0}
    networks = {"vnet": {"title": "V-Net", "cases": {"a": case}}, "eps-1": {"title": "eps = 1", "cases": {"a": case}}}
    file = tmp_path / "comparison.json"
    monkeypatch.setattr(paper_tables, "RESULTS", file)
    assert main(["tables", "--table", "2"]) == 0
    assert "0.5000" not in capsys.readouterr().out
    file.write_text(json.dumps({"format": "lvnet-comparison", "networks": networks}))
    assert main(["tables", "--table", "2"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("0.5000") == 2 and "| eps = 1 " in printed
    # The paper's 25 numbers are printed in any case.
    numbers = [f"{value:.4f}" for row in TABLE_2.values() for value in row.values()]
    assert len(numbers) == 25 and all(number in printed for number in numbers)


@pytest.mark.parametrize("number", ["1", "2", "3"])
def test_every_table_prints(capsys, number):
    assert main(["tables", "--table", number]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) > 3 and len({line.count("|") for line in table}) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot read"), ("{", "cannot read"), ("{}", "contains no scores"), ("[1]", "contains no scores")],
)
def test_a_file_without_scores_is_refused_in_one_line(tmp_path, capsys, content, message):
    file = tmp_path / "scores.json"
    if content is not None:
        file.write_text(content)
    assert main(["tables", "--table", "2", str(file)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_files_for_another_table_and_two_of_one_name_are_refused(tmp_path, capsys):
    assert main(["tables", "--table", "3", "x.json"]) == 2
    file = tmp_path / "lvnet.json"
    file.write_text('{"a": {"dice": 1.0}}')
    assert main(["tables", "--table", "2", str(file), f"LV-Net={file}"]) == 2
    assert "two evaluations" in capsys.readouterr().err
