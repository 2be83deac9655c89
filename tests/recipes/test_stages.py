"""Stages run once, continue after a crash, and run again when their options change."""

from tests.recipes.shell import bash

SCRIPT = """
option stage 0 "first stage"
option stop_stage 2 "last stage"
option data x "option of stage 0"
option size 1 "option of stage 1"
option fail "" "function that fails"
option force false "again"
parse_options "$@"
work() { echo "$1 $changed"; [[ $fail != "$1" ]]; echo "$1 ended" >>log; }
a() { work a; }
b() { work b; }
c() { work c; }
run_stage 0 first out/a a "$data" settings.yaml
run_stage 1 second out/b b "$size"
run_stage 2 third out/c c
"""


def run(folder, *args):
    done = bash(SCRIPT, *args, cwd=folder)
    return done.stdout.split("\n")[:-1], done


def test_a_recipe_runs_once(tmp_path):
    assert run(tmp_path)[0] == ["a false", "b false", "c false"]
    again, done = run(tmp_path)
    assert again == [] and done.stderr.count("is done: ") == 3


def test_after_a_crash_the_remaining_stages_run(tmp_path):
    started, done = run(tmp_path, "--fail", "b")
    assert done.returncode == 1 and started == ["a false", "b false"]
    assert (tmp_path / "out/a/.done-first").exists() and not (tmp_path / "out/b/.done-second").exists()
    assert run(tmp_path)[0] == ["b false", "c false"]


def test_a_changed_option_reruns_its_stage_and_later_ones(tmp_path):
    run(tmp_path)
    assert run(tmp_path, "--size", "2")[0] == ["b true", "c true"]
    assert run(tmp_path, "--size", "2")[0] == []
    assert run(tmp_path, "--data", "y", "--size", "2")[0] == ["a true", "b true", "c true"]


def test_options_changed_after_a_crash(tmp_path):
    run(tmp_path, "--size", "2", "--fail", "b")
    assert run(tmp_path, "--size", "3", "--fail", "b")[0] == ["b true"]
    assert run(tmp_path, "--size", "3")[0] == ["b false", "c false"]


def test_a_changed_file_reruns_the_stages_that_depend_on_it(tmp_path):
    (tmp_path / "settings.yaml").write_text("a: 1\n")
    run(tmp_path)
    (tmp_path / "settings.yaml").write_text("a: 2\n")
    assert run(tmp_path)[0] == ["a true", "b true", "c true"]


def test_only_the_stages_asked_for(tmp_path):
    assert run(tmp_path, "--stop-stage", "0")[0] == ["a false"]
    started, done = run(tmp_path, "--stage", "2")
    assert started == ["c false"]
    assert "warning: stage 1 (second) was not run with these options; --stage 1 runs it" in done.stderr
    assert run(tmp_path, "--stage", "1", "--stop-stage", "1")[0] == ["b false"]


def test_the_log_names_a_finished_stage_and_how_to_rerun_it(tmp_path):
    run(tmp_path)
    again, done = run(tmp_path, "--stage", "1", "--stop-stage", "1")
    assert again == [] and done.stderr.endswith(
        "stage 1 (second) is done: --stage 1 --stop-stage 1 --force true runs it again\n"
    )
    assert run(tmp_path, "--stage", "1", "--stop-stage", "1", "--force", "true")[0] == ["b true"]
    assert run(tmp_path, "--force", "true")[0] == ["a true", "b true", "c true"]
    assert run(tmp_path)[0] == []


def test_the_table_of_times_has_the_cpu_seconds_of_each_stage(tmp_path):
    """A stage that uses 0.3 s of CPU time has them in the table, whatever its wall time."""
    script = SCRIPT.replace("b() {", "b() { python3 -c 'import time\nwhile time.process_time() < 0.3: pass'; ")
    done = bash(script + "print_stage_times\n", "--stop-stage", "1", cwd=tmp_path)
    head, *rows = [line.split() for line in done.stdout.splitlines() if len(line.split()) > 2]
    assert head == ["stage", "seconds", "CPU", "s", "cores"], done.stderr
    assert [row[:2] for row in rows[:2]] == [["0", "first"], ["1", "second"]] and rows[2][0] == "all"
    first, second = (float(row[3]) for row in rows[:2])
    assert second >= 0.29 > first and float(rows[2][2]) >= second
    again = bash(script + "print_stage_times\n", "--stop-stage", "1", cwd=tmp_path)
    assert again.stdout == "", "stages that did not run are not in the table"
    assert not list(tmp_path.rglob(".times"))
