//! The HTML of a mail, made from its text alone, so both say the same: inline style, no image, nothing remote.

/// A page with the text's blocks: fields as a table, what a machine printed as it is, the rest as paragraphs.
pub(super) fn page(title: &str, text: &str) -> String {
    let blocks: String = text.split("\n\n").map(|block| self::block(block.trim_matches('\n'))).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title></head>\n\
         <body style=\"font-family:sans-serif;font-size:14px;line-height:1.4\">\n{blocks}</body></html>\n",
        escape(title)
    )
}

fn block(block: &str) -> String {
    let lines: Vec<_> = block.lines().collect();
    if lines.is_empty() {
        String::new()
    } else if lines.iter().all(|line| line.starts_with("    ")) {
        let lines: Vec<_> = lines.iter().map(|line| &line[4..]).collect();
        format!("<pre style=\"background:#f4f4f4;padding:8px\">{}</pre>\n", escape(&lines.join("\n")))
    } else if lines.iter().all(|line| line.starts_with("  ") && line.contains(':')) {
        let rows: String = lines.iter().map(|line| row(line)).collect();
        format!("<table style=\"border-collapse:collapse\">\n{rows}</table>\n")
    } else {
        format!("<p>{}</p>\n", escape(&lines.join("\n")).replace('\n', "<br>\n"))
    }
}

fn row(line: &str) -> String {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    format!(
        "<tr><td style=\"padding-right:16px;color:#555\">{}</td><td>{}</td></tr>\n",
        escape(name.trim()),
        escape(value.trim())
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
