//! Names that several packages can provide (`awk`, `cc`), which maintainer scripts link to one of them.

use std::collections::BTreeMap;

/// Who wants a name: the path of the link, and what it leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Alternatives {
    links: BTreeMap<String, (i64, String)>,
}

impl Alternatives {
    /// Takes up what a maintainer script registers in so many words, by
    /// `update-alternatives --install LINK NAME PATH PRIORITY [--slave LINK NAME PATH]...`. What it computes is left
    /// out: the script is not run.
    pub(crate) fn read(&mut self, script: &str) {
        let script = script.replace("\\\n", " ");
        for line in script.lines().filter(|line| line.contains("update-alternatives")) {
            let words: Vec<&str> =
                line.split_whitespace().take_while(|word| !word.starts_with('#')).collect();
            let mut priority = 0;
            for (at, word) in words.iter().enumerate() {
                let [link, _, path] = words.get(at + 1..at + 4).unwrap_or_default() else { continue };
                match *word {
                    "--install" => {
                        priority = words.get(at + 4).and_then(|word| word.parse().ok()).unwrap_or_default();
                        self.add(priority, link, path);
                    }
                    "--slave" => self.add(priority, link, path),
                    _ => {}
                }
            }
        }
    }

    /// The first one with the highest priority has the name.
    fn add(&mut self, priority: i64, link: &str, path: &str) {
        let is_plain = |path: &str| {
            path.starts_with('/')
                && !path.contains("..")
                && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._+-".contains(&byte))
        };
        if is_plain(link)
            && is_plain(path)
            && self.links.get(link).is_none_or(|(highest, _)| *highest < priority)
        {
            self.links.insert(link.to_owned(), (priority, path.to_owned()));
        }
    }

    /// The links and what they lead to, as absolute paths.
    pub(crate) fn links(&self) -> impl Iterator<Item = (&str, &str)> {
        self.links.iter().map(|(link, (_, path))| (link.as_str(), path.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_scripts_say_in_so_many_words_is_taken_up() {
        let check = |scripts: &[&str], expected: &[(&str, &str)]| {
            let mut alternatives = Alternatives::default();
            scripts.iter().for_each(|script| alternatives.read(script));
            assert_eq!(alternatives.links().collect::<Vec<_>>(), expected, "{scripts:?}");
        };
        let mawk = "if true; then\n\tupdate-alternatives --install /usr/bin/awk awk /usr/bin/mawk 5 \\\n\
                    \t--slave /usr/bin/nawk nawk /usr/bin/mawk\nfi\n";
        let gawk = "update-alternatives --quiet --install /usr/bin/awk awk /usr/bin/gawk 10 #--slave /a b /c";
        check(&[mawk], &[("/usr/bin/awk", "/usr/bin/mawk"), ("/usr/bin/nawk", "/usr/bin/mawk")]);
        check(&[mawk, gawk], &[("/usr/bin/awk", "/usr/bin/gawk"), ("/usr/bin/nawk", "/usr/bin/mawk")]);
        check(&[gawk, mawk], &[("/usr/bin/awk", "/usr/bin/gawk"), ("/usr/bin/nawk", "/usr/bin/mawk")]);
        let other = "update-alternatives --install /usr/bin/awk awk /usr/bin/other 10";
        check(&[gawk, other], &[("/usr/bin/awk", "/usr/bin/gawk")]);
        check(&["update-alternatives --install $LINK x /usr/bin/x 1"], &[]);
        check(&["update-alternatives --install /usr/bin/x x \"/usr/bin/x\" 1"], &[]);
        check(
            &["update-alternatives --install /usr/bin/x x /../x 1", "update-alternatives --install /x"],
            &[],
        );
        check(&["echo --install /usr/bin/x x /usr/bin/y 1"], &[]);
    }
}
