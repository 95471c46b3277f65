//! Lays out what people read: lines, fields, tables, by the columns of their terminal. A pipe gets everything in full on
//! lines that can be cut apart; must not know what it lays out.

use super::safe;

/// The least columns that are believed: below it a terminal says nothing useful about itself.
const MIN_COLUMNS: usize = 40;

/// The fewest columns that a table's cell is cut to.
const MIN_CELL: usize = 6;

/// Columns between two cells.
const GAP: usize = 2;

/// A page for people.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
    bold: bool,
    /// Columns of the terminal; none in a pipe or a file, where nothing is cut.
    columns: Option<usize>,
}

impl Page {
    /// A page without emphasis, as a file or a pipe gets it.
    pub fn plain() -> Self {
        Self::default()
    }

    /// A page for a terminal of so many columns.
    pub fn on_terminal(columns: usize) -> Self {
        Self { bold: true, columns: Some(columns.max(MIN_COLUMNS)), ..Self::default() }
    }

    /// What was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Columns of the terminal, if it goes to one.
    pub fn columns(&self) -> Option<usize> {
        self.columns
    }

    /// A line, broken at words where the terminal is narrower. Its own indentation is kept.
    pub fn line(&mut self, line: impl AsRef<str>) {
        let line = line.as_ref();
        let indent = line.len() - line.trim_start_matches(' ').len();
        for part in self.broken(line, indent) {
            self.raw(&part);
        }
    }

    /// A line as it is.
    pub fn raw(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// A line that stands out on a terminal; its words say the same without.
    pub fn strong(&mut self, line: impl AsRef<str>) {
        let line = line.as_ref();
        if !self.bold {
            return self.line(line);
        }
        for part in self.broken(line, 0) {
            self.raw(&format!("\u{1b}[1m{part}\u{1b}[0m"));
        }
    }

    /// An empty line, unless there is one already.
    pub fn gap(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// Names and values, the values below each other. Values hold no line ends; empty ones are left out.
    pub fn fields(&mut self, fields: &[(&str, String)]) {
        let shown = || fields.iter().filter(|(_, value)| !value.is_empty());
        let widest = shown().map(|(name, _)| safe::width(name)).max().unwrap_or(0);
        for (name, value) in shown() {
            let line = format!("  {}{}{value}", padded(name, widest), " ".repeat(GAP));
            for part in self.broken(&line, 2 + widest + GAP) {
                self.raw(&part);
            }
        }
    }

    /// A table with a heading; its cells hold no line ends. On a terminal that is too narrow the widest cells are cut.
    pub fn table(&mut self, heading: &[&str], rows: &[Vec<String>]) {
        let mut widest = widths(heading, rows);
        if let Some(columns) = self.columns {
            shrink(&mut widest, columns);
        }
        self.rows(heading, rows, &widest);
    }

    /// Writes a table, unless it does not fit the terminal uncut: then nothing is written, and the answer is `false`.
    pub fn table_if_it_fits(&mut self, heading: &[&str], rows: &[Vec<String>]) -> bool {
        let widest = widths(heading, rows);
        if self.columns.is_some_and(|columns| total(&widest) > columns) {
            return false;
        }
        self.rows(heading, rows, &widest);
        true
    }

    /// A table with lines of their own, indented, below each row.
    pub fn table_with_lines(&mut self, heading: &[&str], rows: &[Vec<String>], below: &[Vec<String>]) {
        let mut widest = widths(heading, rows);
        if let Some(columns) = self.columns {
            shrink(&mut widest, columns);
        }
        let indent = " ".repeat(widest.first().map_or(0, |first| first + GAP));
        self.row(&heading.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>(), &widest);
        for (row, below) in rows.iter().zip(below) {
            self.row(row, &widest);
            below.iter().for_each(|line| self.line(format!("{indent}{line}")));
        }
    }

    fn rows(&mut self, heading: &[&str], rows: &[Vec<String>], widest: &[usize]) {
        let heading: Vec<String> = heading.iter().map(|cell| (*cell).to_owned()).collect();
        std::iter::once(&heading).chain(rows).for_each(|row| self.row(row, widest));
    }

    fn row(&mut self, row: &[String], widest: &[usize]) {
        let cell = |(cell, widest): (&String, &usize)| padded(&cut(cell, *widest), *widest);
        let cells: Vec<String> = row.iter().zip(widest).map(cell).collect();
        self.raw(cells.join(&" ".repeat(GAP)).trim_end());
    }

    fn broken(&self, line: &str, indent: usize) -> Vec<String> {
        match self.columns {
            Some(columns) => broken(line, columns, indent),
            None => vec![line.to_owned()],
        }
    }
}

fn widths(heading: &[&str], rows: &[Vec<String>]) -> Vec<usize> {
    let of = |at: usize| rows.iter().filter_map(move |row| row.get(at)).map(|cell| safe::width(cell));
    heading.iter().enumerate().map(|(at, name)| of(at).max().unwrap_or(0).max(safe::width(name))).collect()
}

fn total(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

/// Takes from the widest until all fit, or none can give any more.
fn shrink(widths: &mut [usize], columns: usize) {
    while total(widths) > columns {
        match widths.iter_mut().max() {
            Some(widest) if *widest > MIN_CELL => *widest -= 1,
            _ => return,
        }
    }
}

/// A text of at most so many columns, with `…` where something is missing.
pub fn cut(text: &str, columns: usize) -> String {
    if safe::width(text) <= columns {
        return text.to_owned();
    }
    let mut shown = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += safe::width(c.encode_utf8(&mut [0; 4]));
        if used > columns {
            break;
        }
        shown.push(c);
    }
    shown.push('…');
    safe::closed(shown)
}

/// A text padded to so many columns.
pub fn padded(text: &str, columns: usize) -> String {
    let missing = columns.saturating_sub(safe::width(text));
    format!("{text}{}", " ".repeat(missing))
}

/// A line in parts of at most so many columns, broken between words where there are any; the later parts are indented.
pub fn broken(line: &str, columns: usize, indent: usize) -> Vec<String> {
    let room = columns.max(MIN_COLUMNS);
    let indent = indent.min(room / 2);
    if safe::width(line) <= room {
        return vec![line.to_owned()];
    }
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut used = 0;
    // Where the part can be broken last: bytes up to there, and bytes to leave out.
    let mut space = None;
    for c in line.chars() {
        let width = safe::width(c.encode_utf8(&mut [0; 4]));
        if used + width > room {
            if c == ' ' {
                // The last word fits to its end.
                space = Some(part.len());
            }
            let rest = match space.filter(|at| part[..*at].trim_start() != "") {
                Some(at) => part.split_off(at),
                None => String::new(),
            };
            parts.push(part.trim_end().to_owned());
            part = " ".repeat(indent) + rest.trim_start();
            used = safe::width(&part);
            space = None;
            if c == ' ' && used == indent {
                continue;
            }
        }
        part.push(c);
        used += width;
        // Wide characters (Chinese, Japanese) may be parted anywhere.
        if c == ' ' || width == 2 {
            space = Some(part.len());
        }
    }
    if !part.trim().is_empty() {
        parts.push(part.trim_end().to_owned());
    }
    safe::closed_each(&mut parts);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tables_are_aligned_by_columns_and_not_by_bytes() {
        let mut page = Page::plain();
        page.table(&["peer", "subject"], &[vec!["XA".into(), "服务".into()], vec!["XB.technical".into(), "x".into()]]);
        assert_eq!(page.text(), "peer          subject\nXA            服务\nXB.technical  x\n");
    }

    #[test]
    fn empty_fields_are_left_out() {
        let mut page = Page::plain();
        page.fields(&[("case", String::new()), ("label", "TLP:CLEAR".into())]);
        assert_eq!(page.text(), "  label  TLP:CLEAR\n");
    }

    #[test]
    fn a_narrow_terminal_cuts_the_widest_cells_and_a_pipe_cuts_nothing() {
        let rows = [vec!["a".repeat(10), "服".repeat(40)]];
        let mut page = Page::on_terminal(50);
        page.table(&["one", "two"], &rows);
        assert!(page.text().lines().all(|line| safe::width(line) <= 50), "{}", page.text());
        assert!(page.text().contains(&format!("{}  {}…", "a".repeat(10), "服".repeat(18))), "{}", page.text());
        assert!(!page.table_if_it_fits(&["one", "two"], &rows));
        let mut page = Page::plain();
        assert!(page.table_if_it_fits(&["one", "two"], &rows));
        assert!(page.text().contains(&"服".repeat(40)));
    }

    #[test]
    fn long_lines_are_broken_between_words_and_values_stay_below_each_other() {
        let mut page = Page::on_terminal(40);
        page.fields(&[("why", "one two three four five six seven eight nine".into())]);
        assert_eq!(page.text(), "  why  one two three four five six seven\n       eight nine\n");
        assert_eq!(broken(&"服".repeat(21), 40, 0), ["服".repeat(20), "服".into()]);
    }

    proptest! {
        #[test]
        fn no_part_is_wider_than_the_terminal_and_no_word_is_lost(line in "[a-z服نص ]{0,200}", columns in 40usize..130) {
            let parts = broken(&line, columns, 4);
            prop_assert!(parts.iter().all(|part| safe::width(part) <= columns), "{:?}", parts);
            let letters = |text: &str| text.chars().filter(|c| *c != ' ').collect::<String>();
            prop_assert_eq!(letters(&parts.concat()), letters(&line));
        }

        #[test]
        fn what_is_cut_fits(text in "[a-z服نص]{0,60}", columns in 6usize..40) {
            prop_assert!(safe::width(&cut(&safe::one_line(&text), columns)) <= columns);
        }
    }
}
