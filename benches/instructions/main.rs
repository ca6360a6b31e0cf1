//! How many instructions a message costs on each part of its way, against budgets.
//!
//! ```text
//! cargo bench --package roomcast-benches --bench instructions
//! ```
//!
//! Valgrind counts the instructions of this program, which it runs as `instructions --play PLAY SIZE REPEATS`: once with
//! few repeats and once with many. What the second takes more is the repeats alone; start and set-up cancel out. Unlike
//! a time, the count is nearly the same on a busy machine, so it can fail a check. Without Valgrind nothing is checked,
//! unless `ROOMCAST_REQUIRE` names `valgrind`.

mod budgets;
mod plays;

use std::env;
use std::io;
use std::process::{Command, ExitCode, Stdio};

use budgets::{BUDGETS, Budget, Cost};
use plays::Play;

/// Names, separated by commas, of the tools whose absence is a failure.
const REQUIRE: &str = "ROOMCAST_REQUIRE";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [flag, play, size, repeats] = arguments.as_slice()
        && flag == "--play"
    {
        let number = |text: &String| text.parse().expect("a number");
        let play = Play::parse(play).expect("a play");
        play.run(number(size), number(repeats));
        return ExitCode::SUCCESS;
    }
    if !has_valgrind() {
        return without_valgrind();
    }
    check()
}

fn has_valgrind() -> bool {
    let version = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

fn without_valgrind() -> ExitCode {
    let required = env::var(REQUIRE).unwrap_or_default();
    if required.split(',').any(|tool| tool == "valgrind") {
        eprintln!("valgrind is missing, and {REQUIRE} names it");
        return ExitCode::FAILURE;
    }
    println!("skipped: valgrind is missing, so no instruction was counted");
    ExitCode::SUCCESS
}

/// Prints the table, and fails where a budget does not suffice.
fn check() -> ExitCode {
    println!("| what | instructions | budget |\n|---|--:|--:|");
    let mut is_within = true;
    for budget in &BUDGETS {
        let spent = match spend(budget) {
            Ok(spent) => spent,
            Err(error) => {
                eprintln!("{}: {error}", budget.what);
                return ExitCode::FAILURE;
            }
        };
        println!(
            "| {} | {spent:.0} | {} |",
            budget.what, budget.instructions_max
        );
        if spent > f64::from(budget.instructions_max) {
            eprintln!(
                "{}: {spent:.0} instructions are over the budget",
                budget.what
            );
            is_within = false;
        }
    }
    if is_within {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The instructions of one message, or of one member that one message goes to.
fn spend(budget: &Budget) -> io::Result<f64> {
    let (few, many) = budget.repeats;
    let per_repeat = |size: usize| -> io::Result<f64> {
        let (few_count, many_count) = (
            count(budget.play, size, few)?,
            count(budget.play, size, many)?,
        );
        Ok((many_count - few_count) as f64 / (many - few) as f64)
    };
    match budget.cost {
        Cost::PerMessage { size, messages } => Ok(per_repeat(size)? / messages as f64),
        Cost::PerSize { small, large } => {
            Ok((per_repeat(large)? - per_repeat(small)?) / (large - small) as f64)
        }
    }
}

/// The instructions of a whole run, as Valgrind counts them.
fn count(play: Play, size: usize, repeats: usize) -> io::Result<i64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args([
            "--play",
            play.name(),
            &size.to_string(),
            &repeats.to_string(),
        ])
        .stdin(Stdio::null())
        .output()?;
    let report = String::from_utf8_lossy(&output.stderr);
    let collected = report
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    match collected.and_then(|(_, count)| count.trim().parse().ok()) {
        Some(count) if output.status.success() => Ok(count),
        Some(_) | None => Err(io::Error::other(format!("valgrind says:\n{report}"))),
    }
}
