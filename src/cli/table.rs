//! Columns for people.

/// Rows of cells as lines: columns two spaces apart; those whose cells all begin with a digit (the
/// title aside) are numbers and end on one side.
pub(super) fn lines(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column));
    let number = |column: usize| {
        let mut below = cells(column).skip(1).peekable();
        below.peek().is_some()
            && below.all(|cell| cell.starts_with(|c: char| c.is_ascii_digit() || c == '-'))
    };
    let layout: Vec<(usize, bool)> = (0..columns)
        .map(|column| {
            let width = cells(column).map(|cell| cell.chars().count()).max();
            (width.unwrap_or(0), number(column))
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::from(" ");
        for (cell, (width, right)) in row.iter().zip(&layout) {
            line.push(' ');
            line.push_str(&match right {
                true => format!("{cell:>width$} "),
                false => format!("{cell:<width$} "),
            });
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A count with its digits in groups: 1234567 is "1,234,567".
pub(super) fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of bytes, in powers of two: "1.5 MiB".
pub(super) fn size(bytes: i64) -> String {
    bytesize::ByteSize::b(bytes.max(0).cast_unsigned()).to_string()
}

/// A count with its noun: "1 broker", "2 brokers".
pub(super) fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let shown = [0, 7, 999, 1000, 1_234_567, -1000].map(count);
        assert_eq!(shown, ["0", "7", "999", "1,000", "1,234,567", "-1,000"]);
    }

    #[test]
    fn sizes_are_for_people() {
        let shown = [0, 1023, 3 << 19, 5 << 40].map(size);
        assert_eq!(shown, ["0 B", "1023 B", "1.5 MiB", "5.0 TiB"]);
    }

    #[test]
    fn words_begin_and_numbers_end_on_one_side() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let text = lines(&[
            row(["topic", "lag"]),
            row(["a", "1,000"]),
            row(["orders", "5"]),
        ]);
        assert_eq!(text, "  topic     lag\n  a       1,000\n  orders      5\n");
    }
}
