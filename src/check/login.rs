//! Who gives out tokens for Kafka.

use super::{Finding, Remedy};
use crate::kafka::login::{Granted, Issuer, Login, Trouble};
use crate::status::HaltCode;

const CHECK: &str = "kafka_login";

/// Clocks further apart are told, in seconds. A token that is made by a clock that is behind has a
/// part of its life behind it.
const CLOCKS_WARNED: u64 = 30;

/// AWS takes no signature that is older or newer than this, in seconds (AWS General Reference,
/// "Troubleshoot Signature Version 4 signing").
const CLOCKS_REFUSED: u64 = 300;

/// Asks for a token as the relay would. The last is whether there is one.
pub(super) async fn ask(login: &Login) -> (Vec<Finding>, bool) {
    match login.issuer().ask().await {
        Ok(granted) => (given(login.issuer(), &granted), true),
        Err(trouble) => (vec![none(login.issuer(), &trouble)], false),
    }
}

fn given(issuer: &Issuer, granted: &Granted) -> Vec<Finding> {
    let (by, seconds) = (&granted.by, granted.life.as_secs());
    let found = match issuer {
        Issuer::OAuth(_) => {
            format!("{by} gives a token for {}, for {seconds} s", granted.token.principal)
        }
        #[cfg(feature = "msk-iam")]
        Issuer::MskIam(options) => format!(
            "a token is signed for {} in {} with what {by} gives, for {seconds} s",
            granted.token.principal, options.region
        ),
    };
    let mut findings = vec![Finding::ok(CHECK, found)];
    findings.extend(clock(issuer, granted));
    findings
}

/// Clocks that are apart.
fn clock(issuer: &Issuer, granted: &Granted) -> Option<Finding> {
    let ahead = granted.clock_ahead.filter(|ahead| ahead.unsigned_abs() > CLOCKS_WARNED)?;
    let side = if ahead > 0 { "ahead of" } else { "behind" };
    let found = format!("our clock is {} s {side} that of {}", ahead.unsigned_abs(), granted.by);
    let remedy = Remedy::note("set the clock of this machine by NTP");
    let signs = !matches!(issuer, Issuer::OAuth(_));
    Some(if signs && ahead.unsigned_abs() > CLOCKS_REFUSED {
        let why = "AWS takes no signature whose time is more than five minutes off";
        Finding::problem(CHECK, found, why, remedy)
    } else {
        let why = "the brokers compare the times in a token with their own clocks";
        Finding::warning(CHECK, found, why, remedy)
    })
}

fn none(issuer: &Issuer, trouble: &Trouble) -> Finding {
    let remedy = Remedy::note(match (issuer, trouble.refused) {
        (Issuer::OAuth(_), true) => {
            "check KAFKA_SASL_OAUTHBEARER_CLIENT_ID and _CLIENT_SECRET, whether the secret has expired, and KAFKA_SASL_OAUTHBEARER_SCOPE"
        }
        (Issuer::OAuth(_), false) => {
            "check KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL, KAFKA_HTTPS_CA_LOCATION for its certificate, and that it can be reached from here"
        }
        #[cfg(feature = "msk-iam")]
        (Issuer::MskIam(_), true) => {
            "check the role and its trust policy: it must let this service account, task or machine be the role"
        }
        #[cfg(feature = "msk-iam")]
        (Issuer::MskIam(_), false) => {
            "give credentials in one of these ways: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a service account with a role (IRSA or Pod Identity), or a role of the machine"
        }
    });
    let why = "without a token no broker is spoken to, and the slot holds back the log meanwhile";
    let finding = Finding::problem(CHECK, trouble.message.clone(), why, remedy);
    if trouble.refused { finding.halts(HaltCode::Authentication) } else { finding }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::check::publication::tests::config;
    use crate::kafka::librdkafka::Token;
    use crate::secret::Secret;

    /// What is said of a clock that is so many seconds ahead, with this mechanism.
    #[track_caller]
    fn check(mechanism: &str, ahead: Option<i64>, expected: Option<(&str, &str)>) {
        let config = config(&[
            ("KAFKA_SECURITY_PROTOCOL", "sasl_ssl"),
            ("KAFKA_SASL_MECHANISM", mechanism),
            ("KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL", "https://idp/token"),
            ("KAFKA_SASL_OAUTHBEARER_CLIENT_ID", "walpost"),
            ("KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET", "s"),
            ("AWS_REGION", "eu-west-1"),
        ]);
        let login = config.kafka.login.expect("a login");
        let token = Token {
            value: Secret::new("t"),
            principal: "walpost".to_owned(),
            expires: 0,
            extensions: Vec::new(),
        };
        let life = Duration::from_secs(300);
        let granted = Granted { token, life, clock_ahead: ahead, by: "it".to_owned() };
        let findings = given(login.issuer(), &granted);
        let clock = findings.get(1).map(|finding| (format!("{:?}", finding.level), &finding.found));
        let clock = clock.as_ref().map(|(level, found)| (level.as_str(), found.as_str()));
        assert_eq!(clock, expected);
    }

    #[test]
    fn clocks_that_are_apart_are_told() {
        check("OAUTHBEARER", None, None);
        check("OAUTHBEARER", Some(-30), None);
        check("OAUTHBEARER", Some(31), Some(("Warning", "our clock is 31 s ahead of that of it")));
        check("OAUTHBEARER", Some(-400), Some(("Warning", "our clock is 400 s behind that of it")));
    }

    #[cfg(feature = "msk-iam")]
    #[test]
    fn a_clock_that_aws_would_not_take_is_a_problem() {
        check("AWS_MSK_IAM", Some(-60), Some(("Warning", "our clock is 60 s behind that of it")));
        check(
            "AWS_MSK_IAM",
            Some(301),
            Some(("Problem", "our clock is 301 s ahead of that of it")),
        );
    }
}
