use crate::config::Config;
use crate::url::Url;

/// The proxy to ask for `url`, if one is set and the host is not excepted.
pub(crate) fn proxy_for<'a>(config: &'a Config, url: &Url) -> Option<&'a str> {
    let proxy = if url.is_https() { &config.https_proxy } else { &config.http_proxy };
    proxy.as_deref().filter(|_| !is_excepted(&config.no_proxy, url.host()))
}

/// Whether `no_proxy` names the host: itself or a domain that it belongs to. What is on this machine always is.
fn is_excepted(no_proxy: &str, host: &str) -> bool {
    let is_own = match host.parse::<std::net::IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    };
    let names = |entry: &str| {
        let entry = entry.trim().trim_start_matches("*.").trim_start_matches('.');
        let tail = host.len().checked_sub(entry.len()).filter(|_| !entry.is_empty());
        entry == "*"
            || tail.is_some_and(|tail| {
                host.is_char_boundary(tail)
                    && host[tail..].eq_ignore_ascii_case(entry)
                    && (tail == 0 || host[..tail].ends_with('.'))
            })
    };
    is_own || no_proxy.split(',').any(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_are_excepted_are_asked_directly() {
        let config = Config {
            http_proxy: Some("http://p:1".to_owned()),
            no_proxy: "intern, .example.com,10.1.2.3".to_owned(),
            ..Config::default()
        };
        let check = |url: &str, by_proxy: bool| {
            let found = proxy_for(&config, &url.parse().expect("it is right"));
            assert_eq!(found.is_some(), by_proxy, "{url}");
        };
        check("http://out/", true);
        check("https://out/", false);
        check("http://intern/", false);
        check("http://a.INTERN:80/", false);
        check("http://notintern/", true);
        check("http://example.com/", false);
        check("http://a.example.com/", false);
        check("http://10.1.2.3/", false);
        check("http://127.0.7.1/", false);
        check("http://localhost/", false);
        assert!(is_excepted("*", "anybody"));
    }
}
