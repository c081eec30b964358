//! Tables as the official CLI prints them: no lines, headings in capitals and in the middle of their
//! columns, two spaces before and between columns.

use crate::{Error, output};

/// How the cells of a column stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// At its left edge.
    Left,
    /// At its right edge.
    Right,
}

/// What stands before and between columns.
const GAP: usize = 2;
/// What a column is not made narrower than.
const NARROW: usize = 8;
/// What a column is wide enough with to tell what is in it.
const COMFORTABLE: usize = 36;
/// What stands for the rest of a cell.
const ELLIPSIS: &str = "...";

#[derive(Clone, Debug)]
struct Column {
    heading: String,
    align: Align,
}

/// A table. A cell may have several lines.
#[derive(Debug, Default)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    /// Headings of columns that are left out if the terminal is too narrow, the first one first.
    dispensable: Vec<&'static str>,
}

impl Table {
    /// A table with these headings, all columns aligned to the left.
    pub(crate) fn new<'a>(headings: impl IntoIterator<Item = &'a str>) -> Table {
        let column = |heading: &str| Column { heading: heading.to_owned(), align: Align::Left };
        Table {
            columns: headings.into_iter().map(column).collect(),
            rows: Vec::new(),
            dispensable: Vec::new(),
        }
    }

    /// Leaves these columns out, the first one first, where a terminal has no room for all.
    pub(crate) fn dispensable(mut self, headings: &[&'static str]) -> Table {
        self.dispensable = headings.to_vec();
        self
    }

    /// Aligns the column of that heading.
    pub(crate) fn align(mut self, heading: &str, align: Align) -> Table {
        if let Some(column) = self.columns.iter_mut().find(|column| column.heading == heading) {
            column.align = align;
        }
        self
    }

    /// Adds a row; cells in the order of the headings.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells: Vec<String> = cells.into_iter().map(|cell| printable(&cell)).collect();
        cells.resize(self.columns.len(), String::new());
        self.rows.push(cells);
    }

    /// Orders the rows by their first cells; those with equal ones stay in their order.
    pub(crate) fn sort(&mut self) {
        self.rows.sort_by(|one, other| one[0].cmp(&other[0]));
    }

    /// Prints it, within the width of the terminal if stdout is one.
    pub(crate) fn print(&self) -> Result<(), Error> {
        output::print(&self.render(output::width()))
    }

    /// Its text. Where `width` has no room for all, columns are left out that can be, and then
    /// shortened, the widest first.
    pub(crate) fn render(&self, width: Option<usize>) -> String {
        let Some(limit) = width else { return self.all(None) };
        let mut table =
            Table { columns: self.columns.clone(), rows: self.rows.clone(), dispensable: Vec::new() };
        for heading in &self.dispensable {
            let comfortable =
                table.widths(None).iter().map(|width| width.min(&COMFORTABLE) + GAP).sum::<usize>();
            if comfortable <= limit {
                break;
            }
            table.leave_out(heading);
        }
        table.all(width)
    }

    fn leave_out(&mut self, heading: &str) {
        if let Some(at) = self.columns.iter().position(|column| column.heading == heading) {
            self.columns.remove(at);
            for row in &mut self.rows {
                row.remove(at);
            }
        }
    }

    /// The text of all columns.
    fn all(&self, width: Option<usize>) -> String {
        let widths = self.widths(width);
        let mut text = String::new();
        let headings = self.columns.iter().zip(&widths).map(|(column, width)| {
            let heading = shortened(&column.heading, *width);
            let left = (width - columns_of(&heading)) / 2;
            format!("{:left$}{heading}", "")
        });
        line(&mut text, headings, &widths);
        for row in &self.rows {
            let lines = row.iter().map(|cell| cell.lines().count()).max().unwrap_or_default().max(1);
            for number in 0..lines {
                let cells = row.iter().zip(&self.columns).zip(&widths).map(|((cell, column), width)| {
                    let cell = shortened(cell.lines().nth(number).unwrap_or_default(), *width);
                    match column.align {
                        Align::Left => cell,
                        Align::Right => format!("{:1$}{cell}", "", width - columns_of(&cell)),
                    }
                });
                line(&mut text, cells, &widths);
            }
        }
        text
    }

    fn widths(&self, limit: Option<usize>) -> Vec<usize> {
        let cells = |at: usize| self.rows.iter().flat_map(move |row| row[at].lines()).map(columns_of).max();
        let heading = |at: usize| columns_of(&self.columns[at].heading);
        let mut widths: Vec<usize> =
            (0..self.columns.len()).map(|at| heading(at).max(cells(at).unwrap_or_default())).collect();
        let Some(limit) = limit else { return widths };
        loop {
            let total: usize = widths.iter().map(|width| width + GAP).sum();
            let widest = (0..widths.len()).max_by_key(|at| widths[*at]);
            let (Some(widest), true) = (widest, total > limit) else { return widths };
            let least = heading(widest).max(NARROW);
            if widths[widest] <= least {
                return widths;
            }
            // Down to the next widest at once would be faster; tables are small.
            widths[widest] -= 1;
        }
    }
}

/// Appends a line without spaces at its end.
fn line(text: &mut String, cells: impl Iterator<Item = String>, widths: &[usize]) {
    let start = text.len();
    for (cell, width) in cells.zip(widths) {
        text.push_str(&" ".repeat(GAP));
        text.push_str(&cell);
        text.push_str(&" ".repeat(width.saturating_sub(columns_of(&cell))));
    }
    text.truncate(start + text[start..].trim_end().len());
    text.push('\n');
}

/// Without what would move a terminal's cursor: names and commands are what others wrote.
fn printable(cell: &str) -> String {
    cell.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

fn columns_of(text: &str) -> usize {
    text.chars().count()
}

/// At most `width` characters, with an ellipsis for what is left out.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    if columns_of(text) <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(ELLIPSIS.len())).collect();
    format!("{kept}{}", &ELLIPSIS[..ELLIPSIS.len().min(width)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[&[&str]]) -> Table {
        let mut table = Table::new(["ID", "TASKS", "CMD"]).align("TASKS", Align::Right);
        for row in rows {
            table.row(row.iter().map(|cell| (*cell).to_owned()));
        }
        table
    }

    #[test]
    fn headings_stand_over_the_middle_of_their_columns() {
        let check = |rows: &[&[&str]], width, expected: &str| {
            assert_eq!(table(rows).render(width), expected);
        };
        check(&[], None, "  ID  TASKS  CMD\n");
        let rows: &[&[&str]] = &[&["/hello", "1/1", "sleep 1000"], &["/b", "10/10", ""]];
        check(
            rows,
            None,
            "    ID    TASKS     CMD\n\
             \u{20} /hello    1/1  sleep 1000\n\
             \u{20} /b      10/10\n",
        );
        check(
            &[&["/a", "1\n2", "x\u{1b}[2J"]],
            None,
            "  ID  TASKS   CMD\n\
             \u{20} /a      1  x [2J\n\
             \u{20}         2\n",
        );
    }

    #[test]
    fn what_is_too_wide_for_the_terminal_is_shortened() {
        let rows: &[&[&str]] = &[&["/hello", "1/1", "sleep 1000; echo this is a long command"]];
        let check = |width, expected: &str| {
            assert_eq!(table(rows).render(Some(width)).lines().nth(1).unwrap(), expected);
        };
        check(100, "  /hello    1/1  sleep 1000; echo this is a long command");
        check(30, "  /hello    1/1  sleep 1000...");
        check(10, "  /hello    1/1  sleep...");
    }

    #[test]
    fn columns_are_left_out_before_the_others_say_nothing() {
        let rows: &[&[&str]] = &[&["/hello.0123456789012345678901234567", "1/1", "sleep 1000"]];
        let check = |width, expected: &str| {
            let table = table(rows).dispensable(&["CMD", "TASKS"]);
            assert_eq!(table.render(width).lines().nth(1).unwrap(), expected);
        };
        check(None, "  /hello.0123456789012345678901234567    1/1  sleep 1000");
        check(Some(60), "  /hello.0123456789012345678901234567    1/1  sleep 1000");
        check(Some(50), "  /hello.0123456789012345678901234567    1/1");
        check(Some(30), "  /hello.012345678901234567...");
    }
}
