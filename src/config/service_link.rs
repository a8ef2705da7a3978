//! Variables that Kubernetes makes in every pod for each service of the namespace.
//!
//! A service named `walpost-metrics` gives `WALPOST_METRICS_SERVICE_HOST`,
//! `WALPOST_METRICS_PORT_9464_TCP_PROTO` and others, which look like mistyped variables of ours.
//! Source: Kubernetes, "Service", "Environment variables"; `envvars.FromServices` in
//! `pkg/kubelet/envvars/envvars.go`, which makes exactly the forms below.

use std::net::IpAddr;

/// Whether a variable has the name and the value of a service link. The value is looked at because
/// `WALPOST_HTTP_PORT=9464` is a mistake and no link.
pub(super) fn is_service_link(name: &str, value: &str) -> bool {
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    if name.ends_with("_SERVICE_HOST") {
        return value.parse::<IpAddr>().is_ok();
    }
    if name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return is_port(value);
    }
    if name.ends_with("_PORT") && !name.contains("_PORT_") {
        return is_address(value);
    }
    let Some((_, link)) = name.split_once("_PORT_") else { return false };
    let mut parts = link.split('_');
    let (number, protocol) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    if !is_port(number) || !matches!(protocol, "TCP" | "UDP" | "SCTP") {
        return false;
    }
    let expected = match parts.next() {
        None => is_address(value),
        Some("PROTO") => value.eq_ignore_ascii_case(protocol),
        Some("PORT") => is_port(value),
        Some("ADDR") => value.parse::<IpAddr>().is_ok(),
        Some(_) => false,
    };
    expected && parts.next().is_none()
}

/// `tcp://10.0.0.1:9464`; an IPv6 address stands in brackets.
fn is_address(value: &str) -> bool {
    let Some((protocol, rest)) = value.split_once("://") else { return false };
    let Some((host, port)) = rest.rsplit_once(':') else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    matches!(protocol, "tcp" | "udp" | "sctp")
        && host.parse::<IpAddr>().is_ok()
        && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, value: &str, expected: bool) {
        assert_eq!(is_service_link(name, value), expected, "{name}={value}");
    }

    #[test]
    fn a_link_has_the_form_of_its_name_and_of_its_value() {
        check("WALPOST_SERVICE_HOST", "10.0.0.1", true);
        check("WALPOST_SERVICE_HOST", "fd00::1", true);
        check("WALPOST_SERVICE_PORT", "9464", true);
        check("WALPOST_SERVICE_PORT_HTTP_METRICS", "9464", true);
        check("WALPOST_PORT", "tcp://10.0.0.1:9464", true);
        check("WALPOST_PORT", "tcp://[fd00::1]:9464", true);
        check("WALPOST_PORT_9464_TCP", "tcp://10.0.0.1:9464", true);
        check("WALPOST_PORT_9464_TCP_PROTO", "tcp", true);
        check("WALPOST_PORT_9464_TCP_PORT", "9464", true);
        check("WALPOST_PORT_9464_UDP_ADDR", "10.0.0.1", true);
        check("WALPOST_ORDERS_EU_SERVICE_HOST", "10.0.0.2", true);
        check("WALPOST_ORDERS_EU_PORT_80_TCP_ADDR", "10.0.0.2", true);
    }

    #[test]
    fn a_mistake_is_no_link() {
        check("WALPOST_HTTP_PORT", "9464", false);
        check("WALPOST_SERVICE_HOST", "db.example.com", false);
        check("WALPOST_PORT_9464_TCP_PROTO", "udp", false);
        check("WALPOST_PORT_X_TCP", "tcp://10.0.0.1:9464", false);
        check("WALPOST_PORT_9464_TCP_ADDR_X", "10.0.0.1", false);
        check("WALPOST_TOPICS", "tcp://10.0.0.1:9464", false);
    }
}
