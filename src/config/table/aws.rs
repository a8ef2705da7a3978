//! AWS's own variables, by the names that its SDKs have for them.

use super::Group::Aws;
use super::{Variable, variable};

/// In the order of the help.
pub(super) const VARIABLES: &[Variable] = &[
    variable(
        Aws,
        "AWS_REGION",
        "of the brokers' names",
        "eu-west-1",
        "Region of the cluster; also AWS_DEFAULT_REGION.",
    )
    .described(),
    variable(Aws, "AWS_DEFAULT_REGION", "", "eu-west-1", "Region, where AWS_REGION is not set."),
    variable(Aws, "AWS_ACCESS_KEY_ID", "", "AKIAIOSFODNN7EXAMPLE", "Access key."),
    variable(Aws, "AWS_SECRET_ACCESS_KEY", "", "…", "Its secret.").secret(),
    variable(Aws, "AWS_SESSION_TOKEN", "", "…", "Session token of a temporary key.").secret(),
    variable(
        Aws,
        "AWS_ROLE_ARN",
        "",
        "arn:aws:iam::123456789012:role/walpost",
        "Role to be by a web identity; EKS sets it (IRSA).",
    ),
    variable(
        Aws,
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "",
        "/var/run/secrets/eks.amazonaws.com/serviceaccount/token",
        "File of the web identity's token; EKS sets it (IRSA).",
    ),
    variable(Aws, "AWS_ROLE_SESSION_NAME", "walpost", "shop", "Name of the session as that role."),
    variable(
        Aws,
        "AWS_ENDPOINT_URL_STS",
        "of the region",
        "https://sts.eu-west-1.amazonaws.com",
        "Where STS gives the role's credentials.",
    )
    .described(),
    variable(
        Aws,
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "",
        "http://169.254.170.23/v1/credentials",
        "Endpoint of the container's credentials; EKS Pod Identity sets it.",
    ),
    variable(
        Aws,
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "",
        "/v2/credentials/1",
        "The same in ECS, which sets it.",
    ),
    variable(
        Aws,
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "",
        "…",
        "What that endpoint is asked with; EKS sets its file, which is read each time.",
    )
    .secret(),
    variable(
        Aws,
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        "http://169.254.169.254",
        "http://[fd00:ec2::254]",
        "The machine's metadata service, asked when nothing above is set.",
    ),
    variable(Aws, "AWS_EC2_METADATA_DISABLED", "false", "true", "true: the machine is not asked."),
];
