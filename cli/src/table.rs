//! Tables without borders: columns as wide as their widest cell, two spaces between, nothing wrapped.

use crate::output::{Paint, Style, visible};

/// A cell: a text, and what its colour says.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    text: String,
    paint: Paint,
}

impl Cell {
    /// A cell without colour.
    pub fn new(text: impl ToString) -> Self {
        Self::painted(Paint::None, text)
    }

    /// A cell whose colour means something.
    pub fn painted(paint: Paint, text: impl ToString) -> Self {
        Self { text: visible(&text.to_string()), paint }
    }

    /// The text, or `-` for nothing.
    pub fn optional(text: Option<impl ToString>) -> Self {
        text.map_or_else(|| Self::painted(Paint::Faint, "-"), Self::new)
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

/// A table to be printed.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these heads.
    pub fn new(columns: &[&str]) -> Self {
        Self { rows: vec![columns.iter().map(|head| Cell::painted(Paint::Faint, head)).collect()] }
    }

    /// Adds a row with a cell for each column.
    pub fn push(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.rows[0].len(), "a cell for each column");
        self.rows.push(cells);
    }

    /// The table as lines.
    pub fn render(&self, style: Style) -> String {
        let widths = self.widths();
        self.rows.iter().map(|row| line(row, &widths, style)).collect()
    }

    fn widths(&self) -> Vec<usize> {
        let columns = 0..self.rows[0].len();
        columns.map(|index| self.rows.iter().map(|row| row[index].width()).max().unwrap_or(0)).collect()
    }
}

fn line(row: &[Cell], widths: &[usize], style: Style) -> String {
    let mut line = String::new();
    for (index, (cell, width)) in row.iter().zip(widths).enumerate() {
        line.push_str(&style.paint(cell.paint, &cell.text));
        if index + 1 < row.len() {
            line.push_str(&" ".repeat(width - cell.width() + 2));
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Table {
        let mut table = Table::new(&["APP", "PHASE", "NOTE"]);
        table.push(vec![
            Cell::new("shop"),
            Cell::painted(Paint::Good, "settled"),
            Cell::optional(None::<&str>),
        ]);
        table.push(vec![Cell::new("a-longer-name"), Cell::new("new"), Cell::new("x")]);
        table
    }

    #[test]
    fn columns_line_up() {
        let wanted = "APP            PHASE    NOTE\nshop           settled  -\na-longer-name  new      x\n";
        assert_eq!(example().render(Style::Plain), wanted);
    }

    #[test]
    fn colour_does_not_move_columns() {
        let colored = example().render(Style::Colored);
        assert!(colored.contains("\x1b[32msettled\x1b[0m  \x1b[2m-"), "{colored:?}");
    }

    #[test]
    fn terminal_codes_are_shown_not_obeyed() {
        let mut table = Table::new(&["REASON"]);
        table.push(vec![Cell::new("bad\x1b[2Jnews\nand more")]);
        assert_eq!(table.render(Style::Plain), "REASON\nbad\\u{1b}[2Jnews\\nand more\n");
    }
}
