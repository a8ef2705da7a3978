//! Tables that are written into tests/README.md by the runs that they tell of.

/// Puts `text` between the marks `<!-- torture NAME -->` and `<!-- end NAME -->`.
#[track_caller]
pub(crate) fn write_between(name: &str, text: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/README.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (begin, end) = (format!("<!-- torture {name} -->\n"), format!("<!-- end {name} -->"));
    let (head, rest) = page.split_once(&begin).expect("tests/README.md has a mark");
    let (_, tail) = rest.split_once(&end).expect("tests/README.md has the end of it");
    std::fs::write(path, format!("{head}{begin}{text}{end}{tail}")).unwrap();
}
