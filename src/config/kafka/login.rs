//! Where tokens come from: `KAFKA_SASL_OAUTHBEARER_*`, and AWS's own variables.

use super::super::reader::Reader;
use super::Properties;
use crate::kafka::login::oauth;
use crate::kafka::login::{Issuer, Kept, Login};
use crate::request::{Url, UrlFault};

#[cfg(feature = "msk-iam")]
mod aws;

const ENDPOINT: (&str, &str) =
    ("KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL", "sasl.oauthbearer.token.endpoint.url");
const CLIENT: (&str, &str) = ("KAFKA_SASL_OAUTHBEARER_CLIENT_ID", "sasl.oauthbearer.client.id");
const SECRET: (&str, &str) =
    ("KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET", "sasl.oauthbearer.client.secret");
const SCOPE: (&str, &str) = ("KAFKA_SASL_OAUTHBEARER_SCOPE", "sasl.oauthbearer.scope");
const EXTENSIONS: (&str, &str) =
    ("KAFKA_SASL_OAUTHBEARER_EXTENSIONS", "sasl.oauthbearer.extensions");
const CA: (&str, &str) = ("KAFKA_HTTPS_CA_LOCATION", "https.ca.location");

/// Variables with librdkafka's names for what walpost does itself, since librdkafka is built without
/// an HTTP client here.
pub(super) const NAMED: [(&str, &str); 6] = [ENDPOINT, CLIENT, SECRET, SCOPE, EXTENSIONS, CA];

/// Whether a property is taken here, and not given to librdkafka.
pub(super) fn is_ours(property: &str) -> bool {
    NAMED.iter().any(|(_, name)| *name == property)
}

/// Takes the properties of tokens out of all, and makes of them what asks for tokens. What is missing
/// or of no use is noted.
pub(super) fn read(
    reader: &mut Reader<'_>,
    properties: &mut Properties,
    servers: Option<&str>,
) -> Option<Login> {
    let ours: Properties = {
        let names: Vec<_> = properties.keys().filter(|name| is_ours(name)).cloned().collect();
        names.into_iter().filter_map(|name| properties.remove_entry(&name)).collect()
    };
    let mechanism = properties.get("sasl.mechanism").map(|(_, mechanism)| mechanism.expose());
    if mechanism != Some("OAUTHBEARER")
        && let Some((variable, _)) = ours.values().next()
    {
        reader.warn(format!("{variable} has no use: KAFKA_SASL_MECHANISM is not OAUTHBEARER"));
    }
    let issuer = match mechanism {
        Some("OAUTHBEARER") => Issuer::OAuth(Box::new(oauth(reader, &ours)?)),
        #[cfg(feature = "msk-iam")]
        Some(crate::kafka::client::AWS_MSK_IAM) => {
            Issuer::MskIam(Box::new(aws::read(reader, servers.unwrap_or_default())?))
        }
        Some(_) | None => return None,
    };
    // Only the region of a cluster is read from its address.
    let _ = servers;
    Some(Login::new(issuer))
}

fn oauth(reader: &mut Reader<'_>, ours: &Properties) -> Option<oauth::Options> {
    let get = |(_, property): (&str, &str)| ours.get(property);
    for name in [ENDPOINT, CLIENT, SECRET] {
        if get(name).is_none() && !reader.has_problem(name.0) {
            reader.problem(name.0, None, "is required with KAFKA_SASL_MECHANISM=OAUTHBEARER");
        }
    }
    let extensions = match get(EXTENSIONS) {
        Some((variable, text)) => {
            let parsed = extensions(text.expose());
            reader.accept(variable, text.expose(), parsed)?
        }
        None => Vec::new(),
    };
    let (variable, text) = get(ENDPOINT)?;
    let endpoint = reader.accept(variable, text.expose(), url(text.expose()))?;
    let (secret_variable, secret) = get(SECRET)?;
    let client_secret = match reader.file_of(secret_variable) {
        Some(path) => Kept::File(path),
        None => Kept::Here(secret.clone()),
    };
    if endpoint.is_in_the_clear() {
        let ends = "can be read on the way; use https";
        reader.warn(format!("{variable} is http: {secret_variable} {ends}"));
    }
    let plain = |name| get(name).map(|(_, text)| text.expose().to_owned());
    if let Some((variable, _)) = get(CA)
        && !endpoint.https()
    {
        reader.warn(format!("{variable} has no use: {} is http", ENDPOINT.0));
    }
    Some(oauth::Options {
        endpoint,
        client_id: plain(CLIENT)?,
        client_secret,
        scope: plain(SCOPE),
        extensions,
        ca: plain(CA).map(Into::into),
    })
}

/// Takes a URL apart.
fn url(text: &str) -> Result<Url, String> {
    Url::parse(text).map_err(|fault| match fault {
        UrlFault::User => "has a user in it; give it as KAFKA_SASL_OAUTHBEARER_CLIENT_ID and \
                           KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET"
            .to_owned(),
        UrlFault::Form(_) => "expected https://host/path".to_owned(),
    })
}

/// `name=value`, or several with commas between; what is allowed in them is of RFC 7628, section 3.1.
fn extensions(text: &str) -> Result<Vec<(String, String)>, String> {
    const EXPECTED: &str =
        "expected name=value, or several with commas between; names of letters only";
    text.split(',')
        .map(|pair| {
            let (name, value) = pair.trim().split_once('=').ok_or(EXPECTED)?;
            let letters = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphabetic());
            let printed = value.chars().all(|c| c == ' ' || c.is_ascii_graphic());
            match letters && printed && name != "auth" {
                true => Ok((name.to_owned(), value.to_owned())),
                false => Err(EXPECTED.to_owned()),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::Needs;
    use super::super::super::env::Variables;
    use super::super::super::reader::Reader;
    use super::super::read;
    use super::*;

    const USUAL: [(&str, &str); 6] = [
        ("KAFKA_BOOTSTRAP_SERVERS", "k:9092"),
        ("KAFKA_SECURITY_PROTOCOL", "sasl_ssl"),
        ("KAFKA_SASL_MECHANISM", "OAUTHBEARER"),
        ("KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL", "https://idp/token"),
        ("KAFKA_SASL_OAUTHBEARER_CLIENT_ID", "walpost"),
        ("KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET", "s"),
    ];

    /// What comes of the usual variables, less some and with more: options, or what is refused.
    fn found(
        without: &[&str],
        more: &[(&str, &str)],
    ) -> Result<(Option<Login>, Vec<String>), Vec<String>> {
        let variables: Variables = USUAL
            .iter()
            .filter(|(name, _)| !without.contains(name))
            .chain(more)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let mut reader = Reader::new(&variables);
        let options = read(&mut reader, Needs::Both);
        let ours = options.properties.keys().any(|property| is_ours(property));
        assert!(!ours, "librdkafka would refuse them: {:?}", options.properties);
        let said = reader.finish().map_err(|invalid| {
            let said =
                |p: &super::super::super::invalid::Problem| format!("{}: {}", p.variable, p.reason);
            invalid.problems.iter().map(said).collect::<Vec<_>>()
        });
        said.map(|(_, warnings)| (options.login, warnings))
    }

    #[track_caller]
    fn check(without: &[&str], more: &[(&str, &str)], expected: &str) {
        let said = found(without, more).expect_err("refused").join("\n");
        assert_eq!(said, expected);
    }

    #[test]
    fn a_client_of_a_token_endpoint_is_given_whole() {
        let extensions =
            ("KAFKA_SASL_OAUTHBEARER_EXTENSIONS", "logicalCluster=lkc-1,identityPoolId=pool-1");
        let (login, warnings) = found(&[], &[extensions]).expect("right");
        let login = login.expect("a login");
        let Issuer::OAuth(options) = login.issuer() else { panic!("{login:?}") };
        assert_eq!(options.endpoint.as_str(), "https://idp/token");
        assert_eq!(options.extensions[1], ("identityPoolId".to_owned(), "pool-1".to_owned()));
        assert_eq!(warnings, [""; 0]);
        let required = "is required with KAFKA_SASL_MECHANISM=OAUTHBEARER";
        for name in USUAL.map(|(name, _)| name).iter().skip(3) {
            check(&[name], &[], &format!("{name}: {required}"));
        }
        let other = [
            ("KAFKA_SASL_MECHANISM", "PLAIN"),
            ("KAFKA_SASL_USERNAME", "u"),
            ("KAFKA_SASL_PASSWORD", "p"),
        ];
        let (login, warnings) = found(&["KAFKA_SASL_MECHANISM"], &other).expect("right");
        assert_eq!(login, None);
        assert!(warnings.join(" ").contains("CLIENT_ID has no use"), "{warnings:?}");
        for wrong in ["auth=x", "a1=x", "x", "=x", "a=ü"] {
            check(
                &[],
                &[("KAFKA_SASL_OAUTHBEARER_EXTENSIONS", wrong)],
                "KAFKA_SASL_OAUTHBEARER_EXTENSIONS: expected name=value, or several with commas \
                 between; names of letters only",
            );
        }
    }

    #[test]
    fn a_property_of_librdkafkas_may_stand_for_the_variable() {
        let property = ("KAFKA_PROP_SASL_OAUTHBEARER_CLIENT_ID", "walpost");
        let (login, _) = found(&["KAFKA_SASL_OAUTHBEARER_CLIENT_ID"], &[property]).expect("right");
        assert!(login.is_some());
        check(
            &[],
            &[("KAFKA_PROP_SASL_OAUTHBEARER_METHOD", "oidc")],
            "KAFKA_PROP_SASL_OAUTHBEARER_METHOD: may not be set: walpost asks for tokens itself; see \
             KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL",
        );
    }

    #[test]
    fn a_secret_in_the_clear_is_warned_of() {
        let endpoint = "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL";
        let (_, warnings) = found(&[endpoint], &[(endpoint, "http://idp/token")]).expect("right");
        assert!(warnings.join(" ").contains("can be read on the way"), "{warnings:?}");
        let (_, warnings) =
            found(&[endpoint], &[(endpoint, "http://127.0.0.1:1/token")]).expect("right");
        assert_eq!(warnings, [""; 0]);
    }

    #[test]
    fn a_secret_in_a_file_is_kept_there() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "first\n").expect("written");
        let path = file.path().to_str().expect("text");
        let secret = ("KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET_FILE", path);
        let (login, _) =
            found(&["KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET"], &[secret]).expect("right");
        let login = login.expect("a login");
        let Issuer::OAuth(options) = login.issuer() else { panic!("{login:?}") };
        assert_eq!(options.client_secret.read().expect("readable").expose(), "first");
        std::fs::write(file.path(), "second\n").expect("written");
        assert_eq!(options.client_secret.read().expect("readable").expose(), "second");
    }
}
