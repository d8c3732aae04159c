//! Columns of text that fit a terminal.

use unicode_width::UnicodeWidthStr;

use super::text::fit;

const GAP: &str = "  ";

/// How a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Text, cut when the table is too wide.
    Text(&'static str),
    /// Words and names that are never cut.
    Name(&'static str),
    /// Numbers, on the right.
    Number(&'static str),
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Text(title) | Self::Name(title) | Self::Number(title) => title,
        }
    }
}

/// Rows under titles.
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self { columns: columns.into(), rows: Vec::new() }
    }

    /// A cell for each column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table's lines, titles first; no wider than `columns` as far as cutting texts can help.
    pub fn lines(&self, columns: Option<usize>) -> Vec<String> {
        let widths = self.widths(columns);
        let titles = self.columns.iter().map(|column| column.title().to_owned()).collect::<Vec<_>>();
        std::iter::once(&titles).chain(&self.rows).map(|cells| self.line(cells, &widths)).collect()
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, width), column) in cells.iter().zip(widths).zip(&self.columns) {
            let cell = fit(cell, *width);
            let padding = " ".repeat(width.saturating_sub(cell.width()));
            let parts = match column {
                Column::Number(_) => [&padding, &cell],
                Column::Text(_) | Column::Name(_) => [&cell, &padding],
            };
            line.extend([parts[0], parts[1], GAP]);
        }
        line.truncate(line.trim_end().len());
        line
    }

    fn widths(&self, columns: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = self.columns.iter().map(|column| column.title().width()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        let Some(columns) = columns else { return widths };
        let total = widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1);
        for _ in columns..total {
            self.narrow_the_widest_text(&mut widths);
        }
        widths
    }

    fn narrow_the_widest_text(&self, widths: &mut [usize]) {
        let texts = self.columns.iter().zip(widths).filter(|(column, _)| matches!(column, Column::Text(_)));
        if let Some((column, width)) = texts.max_by_key(|(_, width)| **width)
            && *width > column.title().width().max(8)
        {
            *width -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new([Column::Name("KEY"), Column::Number("EVENTS"), Column::Text("DOCUMENT")]);
        table.row(["o-1".to_owned(), "12".to_owned(), "a long text that goes on".to_owned()]);
        table.row(["order-22".to_owned(), "3".to_owned(), "short".to_owned()]);
        table
    }

    #[test]
    fn columns_line_up() {
        let expected = [
            "KEY       EVENTS  DOCUMENT",
            "o-1           12  a long text that goes on",
            "order-22       3  short",
        ];
        assert_eq!(table().lines(None), expected);
    }

    #[test]
    fn texts_are_cut_to_the_terminal_and_names_are_not() {
        assert_eq!(table().lines(Some(30))[1], "o-1           12  a long text…");
        assert_eq!(table().lines(Some(5))[2], "order-22       3  short");
    }
}
