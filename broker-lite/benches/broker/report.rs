//! The table.

use super::{broker::Kind, load::Figures};

/// A column: its name, and what stands in it.
type Column = (&'static str, fn(&Figures) -> f64);

const COLUMNS: [Column; 6] = [
    ("produce MB/s", |figures| {
        figures.produce.megabytes_per_second
    }),
    ("CPU s/GB", |figures| figures.produce.cpu_per_gb),
    ("fetch MB/s", |figures| figures.fetch.megabytes_per_second),
    ("CPU s/GB", |figures| figures.fetch.cpu_per_gb),
    ("p99 ms", |figures| figures.late),
    ("peak MiB", |figures| figures.peak),
];

/// Medians and ratios.
pub fn print(codec: &str, records: u64, rows: &[(Kind, Vec<Figures>); 2]) {
    println!(
        "\n{records} records of 1000 bytes, {codec}, 8 partitions; p99 of acknowledgements at 10,000/s"
    );
    let heads = COLUMNS.map(|(name, _)| format!("{name:>14}"));
    println!("{:<12}{}", "", heads.concat());
    let medians = rows.each_ref().map(|(kind, all)| {
        let medians = COLUMNS.map(|(_, of)| median(all.iter().map(of).collect()));
        let cells = medians.map(|value| format!("{value:>14.2}"));
        println!("{:<12}{}", name(*kind), cells.concat());
        medians
    });
    let ratios: Vec<_> = medians[1].iter().zip(medians[0]).collect();
    let cells = ratios
        .iter()
        .map(|(lite, kafka)| format!("{:>14.2}", *lite / kafka));
    println!("{:<12}{}", "ratio", cells.collect::<String>());
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Kafka => "Kafka",
        Kind::Lite => "broker-lite",
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
