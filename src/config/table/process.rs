//! HTTP and log.

use super::Group::Process;
use super::{Variable, variable};

/// In the order of the help.
pub(super) const VARIABLES: &[Variable] = &[
    variable(
        Process,
        "WALPOST_HTTP_ADDR",
        "127.0.0.1:9464",
        "0.0.0.0:9464",
        "Address of metrics, health and status page; `off` is none.",
    ),
    variable(Process, "WALPOST_HTTP_USERNAME", "", "ops", "User of the status page."),
    variable(Process, "WALPOST_HTTP_PASSWORD", "", "…", "Password of the status page.").secret(),
    variable(Process, "WALPOST_LOG", "info", "walpost=debug,info", "Log filter."),
    variable(
        Process,
        "WALPOST_LOG_FORMAT",
        "text on a terminal, else json",
        "json",
        "text or json.",
    )
    .described()
    .words(&["text", "json"]),
];
