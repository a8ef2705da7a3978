//! AWS credentials: where they are, and getting them from there.
//!
//! The places are those of AWS's SDKs, in their order, but for the files of a home folder, which a
//! service has not: keys in variables, a web identity (EKS "IRSA"), a container's endpoint (EKS Pod
//! Identity, ECS), and the machine's own metadata service (IMDSv2).
//!
//! They are asked for anew for each token, every eleven minutes, so files and roles that change are taken.

mod answers;
mod fetch;

use std::path::PathBuf;

use jiff::Timestamp;

use super::super::{Kept, Trouble};
use crate::request::Url;
use crate::secret::Secret;

/// A set of credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Access key id; no secret.
    pub access_key_id: String,
    /// Secret access key.
    pub secret_access_key: Secret,
    /// Session token, of temporary ones.
    pub session_token: Option<Secret>,
    /// When they end, of temporary ones.
    pub expires: Option<Timestamp>,
}

/// Where credentials are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In variables.
    Variables(Credentials),
    /// Given by STS for a token in a file (`AssumeRoleWithWebIdentity`).
    WebIdentity {
        /// The role to be.
        role: String,
        /// What this session is called.
        session: String,
        /// The file of the token.
        token: PathBuf,
        /// STS; `None` is that of the region.
        endpoint: Option<Url>,
    },
    /// Given by an endpoint beside the container.
    Container {
        /// The endpoint.
        endpoint: Url,
        /// What it is asked with.
        authorization: Option<Kept>,
    },
    /// Given by the machine.
    Machine {
        /// The metadata service.
        endpoint: Url,
    },
}

/// Credentials, and what was learnt with them.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) credentials: Credentials,
    /// How many seconds our clock is ahead of theirs.
    pub(super) clock_ahead: Option<i64>,
    /// Where they are, in words.
    pub(super) by: String,
}

impl Place {
    /// Gets them.
    pub(super) async fn find(&self, region: &str) -> Result<Found, Trouble> {
        match self {
            Self::Variables(credentials) => Ok(Found {
                credentials: credentials.clone(),
                clock_ahead: None,
                by: "AWS_ACCESS_KEY_ID".to_owned(),
            }),
            Self::WebIdentity { role, session, token, endpoint } => {
                fetch::web_identity((role, session), token, endpoint.as_ref(), region).await
            }
            Self::Container { endpoint, authorization } => {
                fetch::container(endpoint, authorization.as_ref()).await
            }
            Self::Machine { endpoint } => fetch::machine(endpoint).await,
        }
    }
}
