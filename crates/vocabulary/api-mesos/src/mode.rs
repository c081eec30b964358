/// The mode of a file as `ls -l` and the files API write it: `drwxr-xr-x`.
pub fn mode_text(mode: u32) -> String {
    let kind = match mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o020_000 => 'c',
        0o060_000 => 'b',
        0o010_000 => 'p',
        0o140_000 => 's',
        _ => '-',
    };
    let mut text = String::with_capacity(10);
    text.push(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_read_as_from_ls() {
        let check = |mode: u32, text: &str| assert_eq!(mode_text(mode), text);
        check(0o100_644, "-rw-r--r--");
        check(0o040_750, "drwxr-x---");
        check(0o040_755, "drwxr-xr-x");
        check(0o104_755, "-rwsr-xr-x");
        check(0o102_640, "-rw-r-S---");
        check(0o041_777, "drwxrwxrwt");
        check(0o041_776, "drwxrwxrwT");
        check(0o120_777, "lrwxrwxrwx");
    }
}
