//! The table of one workload: medians of the rounds, and how far they lie apart.

use super::{fetch::Contents, matrix::Subject, measure::Figures, workload::Workload};

/// One subject's rounds.
pub type Row = (Subject, Vec<Figures>);

/// Prints what was copied and what that cost each subject. `rows` have the same number of rounds.
pub fn print(workload: &Workload, contents: &Contents, rows: &[Row]) {
    let records = workload.records as f64;
    println!(
        "\n{workload}: {:.2} GB in {} batches of {:.0} bytes",
        contents.bytes as f64 / 1e9,
        contents.batches,
        contents.bytes as f64 / contents.batches as f64
    );
    println!(
        "{:<19} {:>8} {:>13} {:>7} {:>7} {:>7} {:>9} {:>9}",
        "", "CPU s/GB", "(spread)", "user", "sys", "MB/s", "batches/s", "peak MiB"
    );
    for (subject, rounds) in rows {
        let each = |of: fn(&Figures) -> f64| Spread::of(rounds.iter().map(of));
        let cpu = each(Figures::cpu_per_gb);
        // Of CPU time.
        let batches =
            each(Figures::records_per_cpu_second).median * contents.batches as f64 / records;
        println!(
            "{:<19} {:>8.2} {:>13} {:>7.2} {:>7.2} {:>7.0} {:>9.0} {:>9.0}",
            subject.name(),
            cpu.median,
            format!("{:.2}-{:.2}", cpu.least, cpu.most),
            each(Figures::user_per_gb).median,
            each(Figures::system_per_gb).median,
            each(Figures::megabytes_per_second).median,
            batches,
            each(Figures::peak_mib).most
        );
    }
    print_ratios(rows);
}

/// Of CPU time, each subject to the one before it, round by round: what disturbs one disturbs its neighbour.
fn print_ratios(rows: &[Row]) {
    for pair in rows.windows(2) {
        let [(below, fewer), (above, more)] = pair else {
            continue;
        };
        let rounds = more.iter().zip(fewer);
        let ratio = Spread::of(rounds.map(|(more, fewer)| more.cpu_per_gb() / fewer.cpu_per_gb()));
        println!(
            "CPU, {} / {}: {:.1} ({:.1}-{:.1})",
            above.name(),
            below.name(),
            ratio.median,
            ratio.least,
            ratio.most
        );
    }
}

struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        Self {
            least: values[0],
            median: values[values.len() / 2],
            most: values[values.len() - 1],
        }
    }
}
